"""Everything that shapes an answer is in its key: every field of a request is found by introspection and changed."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from ngx_agents.errors import ConfigError, ModelRequestError
from ngx_agents.vertex.cache.key import BARRING_FIELDS, UNHASHED_FIELDS, UNHASHED_MEMBERS, KeyMaker, location_class_of
from ngx_agents.vertex.content import Content, Media, ModelRequest, Text, ToolCall, ToolDeclaration, ToolResult
from ngx_agents.vertex.controls import SafetySetting, Thinking
from ngx_agents.vertex.dialects.openai import OpenAIDialect
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.scope import CacheRule, Cohort, Public, User
from tests.vertex.cache.making import MODEL, PUBLIC, SECRET, HandClock, cache_of, key_for

OLD_MODEL = "gemini-2.5-flash"  # is told a budget where newer ones are told a level
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20
OTHERS = {"Media.mime_type": "image/jpeg", "ModelRequest.tool_choice": "any", "CacheRule.scope": Cohort("elsewhere")}


def contents() -> tuple[Content, ...]:
    asked = (
        Text(text="Look at this", thought=False),
        Media(mime_type="image/png", data=PNG),
        Media(mime_type="image/png", uri="https://example.org/picture.png"),
    )
    thought = (
        Text(text="The user wants", thought=True, signature="c2lnbg=="),
        Text(text="Logged", signature="bW9yZQ=="),
        ToolCall(name="log", arguments={"kg": 71}, id="call-1", signature="Y2FsbA=="),
    )
    return (
        Content(role="user", parts=asked),
        Content(role="model", parts=thought, model=MODEL),
        Content(role="model", parts=thought, model=OLD_MODEL),
        Content(role="user", parts=(ToolResult(name="log", response={"ok": True}, id="call-1"),)),
    )


def rule(scope: Public | Cohort | User) -> CacheRule:
    return CacheRule(scope=scope, query_class="document", version="7", ttl_s=60.0, is_repeatable=True)


def inventory() -> list[ModelRequest]:
    """Requests in which, taken together, every field of every record is set to something else than its default."""
    full = ModelRequest(
        system="Be kind",
        contents=contents(),
        tools=(ToolDeclaration(name="log", description="logs", parameters={"type": "object"}),),
        deadline_s=5.0,
        model=MODEL,
        temperature=0.5,
        max_output_tokens=100,
        cache=rule(User("user-1")),
        urgency=2,
        on_cut="stop",
        is_simple=True,
        is_red_flag=True,
        response_schema={"type": "object"},
        tool_choice=("log",),
        thinking=Thinking(level="low", budget_tokens=512, include=True),
        safety=(SafetySetting("harassment", "only_high"),),
        top_p=0.5,
        top_k=20,
        seed=7,
        stop_sequences=("END",),
        labels={"team": "coach"},
        residency="eu",
        prefix_scope=Cohort("tenant-1"),
        only_kept=True,
        by_sentence=True,
    )
    older = replace(full, model=OLD_MODEL, contents=contents(), cache=rule(Cohort("tenant-1")))
    lean = ModelRequest(system="", contents=contents()[:1], deadline_s=1.0, cache=rule(Public()))
    free = replace(lean, tools=full.tools, cache=rule(User("user-1")))
    return [full, older, lean, free]


def struct_types(of: Any, seen: set[type]) -> set[type]:
    """All records that a value of this type can hold."""
    if isinstance(of, type) and issubclass(of, msgspec.Struct) and of not in seen:
        seen.add(of)
        for hint in typing.get_type_hints(of).values():
            struct_types(hint, seen)
    for inner in get_args(of):
        struct_types(inner, seen)
    return seen


def name_of(record: msgspec.Struct, field: str) -> str:
    return f"{type(record).__name__}.{field}"


def records_in(value: Any) -> Iterator[msgspec.Struct]:
    if isinstance(value, msgspec.Struct):
        yield value
        for field in fields(value):
            yield from records_in(getattr(value, field.name))
    elif isinstance(value, tuple):
        for inner in value:
            yield from records_in(inner)


def other(name: str, value: Any, hint: Any) -> Any:
    """Another value of the same type."""
    if name in OTHERS:
        return OTHERS[name]
    choices = [choice for choice in get_args(hint) if isinstance(choice, str)] if get_origin(hint) is Literal else []
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str | bytes):
        return value + (b"x" if isinstance(value, bytes) else "x")
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, dict):
        return {**value, "added": "x"}
    return value[:-1]


def literal_in(hint: Any) -> Any:
    """The Literal of an optional field, or the hint itself."""
    for inner in (hint, *get_args(hint)):
        if get_origin(inner) is Literal:
            return inner
    return hint


def changed(record: Any) -> Iterator[tuple[str, Any]]:
    """(`Type.field`, the record with just this field of it, or of a record within, changed)."""
    if isinstance(record, tuple):
        for index, inner in enumerate(record):
            for name, made in changed(inner):
                yield name, (*record[:index], made, *record[index + 1 :])
        return
    if not isinstance(record, msgspec.Struct):
        return
    hints = typing.get_type_hints(type(record))
    for field in fields(record):
        value = getattr(record, field.name)
        name = name_of(record, field.name)
        for inner_name, made in changed(value):
            yield inner_name, fresh(record, field.name, made)
            yield name, fresh(record, field.name, made)
        if value not in (None, ()) and not isinstance(value, msgspec.Struct):
            yield name, fresh(record, field.name, other(name, value, literal_in(hints[field.name])))


def fresh(record: Any, field: str, value: Any) -> Any:
    """Contents remember their bytes, so a changed one is made anew."""
    made = replace(record, **{field: value})
    if isinstance(made, Content) and field != "wire":
        made.wire = {}
    return made


def digest_of(request: ModelRequest, dialect: Any) -> tuple[bytes, bytes]:
    """(key, body)."""
    model = request.model or MODEL
    body = dialect.encode(request, model=model, streams=False)
    place = location_class_of("europe-west1", request.residency or "any")
    key = cache_of(HandClock()).key(body, model=model, location_class=place, rule=request.cache, labels=request.labels)
    return key.digest, body


ALL_FIELDS = sorted(
    f"{kind.__name__}.{field.name}" for kind in struct_types(ModelRequest, set()) for field in fields(kind)
)


def test_inventory_sets_every_field_of_every_record() -> None:
    set_fields = {
        name_of(record, field.name)
        for record in records_in(tuple(inventory()))
        for field in fields(record)
        if getattr(record, field.name) != field.default or field.name == "wire"
    }
    missing = set(ALL_FIELDS) - set_fields - {"Text.thought"}
    assert not missing, f"set these in the inventory, so that the cache key is proved to hold them: {missing}"


def test_lists_of_exceptions_name_fields_that_exist() -> None:
    assert set(UNHASHED_FIELDS) | BARRING_FIELDS <= set(ALL_FIELDS)
    assert not set(UNHASHED_FIELDS) & BARRING_FIELDS


@pytest.mark.parametrize("field", ALL_FIELDS)
def test_changing_a_field_changes_the_key_unless_it_is_listed(field: str) -> None:
    dialect = VertexDialect("global")
    moved = seen = 0
    for request in inventory():
        digest, _ = digest_of(request, dialect)
        for name, made in changed(request):
            if name != field:
                continue
            try:
                changed_digest, _ = digest_of(made, dialect)
            except ModelRequestError:
                continue  # this change makes no request at all
            seen += 1
            moved += changed_digest != digest
    assert seen, f"{field} was never changed"
    if field in UNHASHED_FIELDS:
        assert moved == 0
    elif field not in BARRING_FIELDS:
        assert moved > 0, f"{field} is neither in the key nor in UNHASHED_FIELDS"


@pytest.mark.parametrize("dialect", [VertexDialect("global"), OpenAIDialect()], ids=["vertex", "openai"])
def test_bodies_that_differ_have_keys_that_differ(dialect: Any) -> None:
    requests = [replace(request, contents=contents()[::3], safety=(), thinking=None) for request in inventory()]
    for request in requests:
        digest, body = digest_of(replace(request, labels=None), dialect)
        for name, made in changed(replace(request, labels=None)):
            try:
                changed_digest, changed_body = digest_of(made, dialect)
            except ModelRequestError:
                continue
            if changed_body != body:
                assert changed_digest != digest, name


def test_what_bars_a_request_leaves_it_without_a_rule() -> None:
    cache = cache_of(HandClock())
    full = replace(inventory()[0], is_red_flag=False)
    assert cache.rule_of(full) is full.cache
    for field in BARRING_FIELDS:
        assert cache.rule_of(replace(full, **{field.partition(".")[2]: True})) is None


def test_model_and_location_are_in_the_key() -> None:
    cache = cache_of(HandClock())
    digests = {
        cache.key(b"{}", model=model, location_class=place, rule=PUBLIC).digest
        for model in ("a", "b", "")
        for place in ("global", "eu", "us", "local", "europe-west1")
    }
    assert len(digests) == 15


def test_labels_at_the_end_of_the_body_do_not_change_the_key() -> None:
    cache = cache_of(HandClock())
    plain = cache.key(b'{"contents":[]}', model="m", location_class="eu", rule=PUBLIC)
    labelled = cache.key(
        b'{"contents":[],"labels":{"team":"x"}}', model="m", location_class="eu", rule=PUBLIC, labels={"team": "x"}
    )
    assert plain == labelled
    assert set(UNHASHED_MEMBERS) == {"labels"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"contents":[],"generationConfig":{"schema":{"a":1,"labels":{"team":"x"}}}}',
        b'{"contents":[{"text":",\\"labels\\":{\\"team\\":\\"x\\"}}"}]}',
        b'{"contents":[],"labels":{"team":"y"}}',
        b'{"contents":[],"labels":{"team":"x"},"cachedContent":"c"}',
    ],
)
def test_what_only_looks_like_the_labels_is_hashed(body: bytes) -> None:
    cache = cache_of(HandClock())
    with_labels = cache.key(body, model="m", location_class="eu", rule=PUBLIC, labels={"team": "x"})
    assert with_labels == cache.key(body, model="m", location_class="eu", rule=PUBLIC)
    assert with_labels != cache.key(b'{"contents":[]}', model="m", location_class="eu", rule=PUBLIC)


scopes = st.one_of(
    st.builds(Public), st.builds(Cohort, id=st.text(max_size=3)), st.builds(User, id=st.text(max_size=3))
)
rules = st.builds(
    CacheRule,
    scope=scopes,
    query_class=st.sampled_from(["general", "document"]),
    version=st.text(max_size=3),
    ttl_s=st.sampled_from([None, 0.0, 1.0]),
    is_repeatable=st.booleans(),
)
questions = st.tuples(
    st.binary(max_size=8), st.text(max_size=3), st.sampled_from(["global", "eu", "us", "local"]), rules
)


@given(one=questions, another=questions)
def test_keys_are_equal_exactly_when_all_that_was_asked_is(one: Any, another: Any) -> None:
    cache = cache_of(HandClock())
    first, second = (
        cache.key(body, model=model, location_class=place, rule=its) for body, model, place, its in (one, another)
    )
    assert (first == second) == (one == another)
    assert (hash(first) == hash(second)) or one != another


def test_scopes_of_the_same_name_are_not_the_same() -> None:
    cache = cache_of(HandClock())
    keys = {key_for(cache, rule=CacheRule(scope=scope)) for scope in (Public(), Cohort(""), Cohort("a"), User("a"))}
    assert len(keys) == 4


def test_user_is_held_as_a_keyed_hash_and_nothing_is_shown() -> None:
    cache = cache_of(HandClock())
    user_id = "maria-garcia-1987"
    key = key_for(cache, rule=CacheRule(scope=User(user_id)))
    assert key.group is not None
    assert user_id not in key.group
    other_secret = key_for(cache_of(HandClock(), secrets=[b"f" * 16]), rule=CacheRule(scope=User(user_id)))
    assert key.group != other_secret.group
    assert key != other_secret
    for shown in (repr(key), str(key), f"{key}", repr(KeyMaker([SECRET]))):
        assert key.digest.hex() not in shown
        assert key.group not in shown
        assert user_id not in shown
        assert SECRET.decode() not in shown


def test_first_secret_signs_and_the_others_are_known() -> None:
    old, new = KeyMaker([b"o" * 16]), KeyMaker([b"n" * 16, b"o" * 16])
    assert new.group("u") != old.group("u")
    assert new.groups("u") == [new.group("u"), old.group("u")]
    assert new.is_signed(b"d", b"payload", old.sign(b"d", b"payload"))
    assert not old.is_signed(b"d", b"payload", new.sign(b"d", b"payload"))


@pytest.mark.parametrize("secrets", [[], [b"short"], [b"l" * 16, b""]])
def test_secret_that_is_none_is_a_config_error(secrets: list[bytes]) -> None:
    with pytest.raises(ConfigError, match="secret"):
        KeyMaker(secrets)


def test_rule_that_is_no_text_is_the_callers_error() -> None:
    cache = cache_of(HandClock())
    for bad in (CacheRule(scope=Cohort("\ud800")), CacheRule(scope=Public(), version="\ud800")):
        with pytest.raises(ModelRequestError):
            key_for(cache, rule=bad)
    assert key_for(cache, rule=CacheRule(scope=User("\ud800"))).group
