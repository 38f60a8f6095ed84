"""What is never stored."""

from __future__ import annotations

from typing import Any

import pytest

from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.rules import CacheRules, ClassRule
from ngx_agents.vertex.content import Media, ModelReply, ModelRequest, Text, ToolCall
from ngx_agents.vertex.scope import CacheRule, Cohort, Public, User
from tests.vertex.cache.making import MODEL, PUBLIC, HandClock, answer, cache_of, question

REPEATABLE = CacheRule(scope=Public(), is_repeatable=True)


async def refusal_of(
    reply: ModelReply,
    *,
    rule: CacheRule = PUBLIC,
    request: ModelRequest | None = None,
    chunks: tuple[str, ...] = (),
    rules: CacheRules | None = None,
    model: str = MODEL,
    location_class: str = "global",
) -> str | None:
    """The reason counted; None when it was stored, and then it is found again."""
    metrics = Metrics()
    cache = cache_of(HandClock(), metrics=metrics, rules=rules)
    key = cache.key(b"{}", model=model, location_class=location_class, rule=rule)
    is_kept = await cache.keep(key, rule, request or question(rule), reply, chunks)
    assert (await cache.find(key) is not None) is is_kept
    counted = metrics.counter("ngx_answer_cache_refused_total", "", "reason").cells()
    reasons = [values[0] for values, cell in counted if cell.value]
    assert len(reasons) == (0 if is_kept else 1)
    return reasons[0] if reasons else None


async def test_plain_answer_is_stored() -> None:
    assert await refusal_of(answer("a", "b"), chunks=("a", "b")) is None
    assert await refusal_of(answer(Text(text="hm", thought=True, signature="s"), "b")) is None


@pytest.mark.parametrize(
    ("reason", "reply"),
    [
        ("tool_call", answer("I log it", ToolCall(name="log", arguments={}))),
        ("media", answer("Look", Media(mime_type="image/png", data=b"x"))),
        ("unfinished", answer("a", finish_reason="max_tokens")),
        ("unfinished", answer("a", finish_reason="safety")),
        ("unfinished", answer("a", finish_reason="other")),
        ("unfinished", answer("a", finish_reason="malformed_call")),
        ("empty", answer()),
        ("empty", answer("")),
        ("empty", answer(" \n")),
        ("empty", answer(Text(text="I think", thought=True))),
        ("fallback", answer("a", source="local")),
        ("fallback", answer("a", source="cache")),
        ("fallback", answer("a", source="stale")),
        ("fallback", answer("a", rung="sibling")),
        ("fallback", answer("a", rung="location")),
        ("fallback", answer("a", rung="local")),
        ("fallback", answer("a", rung="one never heard of")),
        ("fallback", answer("a", model="gemini-3.8-flash-lite")),
        ("fallback", answer("a", model="gemini-3.8")),
        ("fallback", answer("a", location="eu")),
        ("grounded", answer("a", is_grounded=True)),
        ("grounded", answer("a", has_citations=True)),
    ],
    ids=str,
)
async def test_such_a_reply_is_refused(reason: str, reply: ModelReply) -> None:
    assert await refusal_of(reply) == reason


@pytest.mark.parametrize("chunks", [("a",), ("a", "b", "c"), ("b", "a"), ("ab", "ab")])
async def test_pieces_that_do_not_make_the_answer_are_refused(chunks: tuple[str, ...]) -> None:
    assert await refusal_of(answer("ab"), chunks=chunks) == "torn"


@pytest.mark.parametrize(
    ("temperature", "rule", "reason"),
    [
        (0.0, PUBLIC, None),
        (0.1, PUBLIC, "sampled"),
        (None, PUBLIC, "sampled"),
        (1.0, REPEATABLE, None),
        (None, REPEATABLE, None),
    ],
)
async def test_sampled_answers_are_kept_only_when_declared(
    temperature: float | None, rule: CacheRule, reason: str | None
) -> None:
    assert await refusal_of(answer("a"), rule=rule, request=question(rule, temperature=temperature)) == reason


async def test_red_flags_and_answers_without_a_rule_are_refused() -> None:
    assert await refusal_of(answer("a"), request=question(is_red_flag=True)) == "red_flag"
    assert await refusal_of(answer("a"), request=question(None)) == "no_rule"


@pytest.mark.parametrize("query_class", ["time", "news", "weather"])
async def test_what_depends_on_the_time_is_refused_when_off_and_for_users(query_class: Any) -> None:
    on = CacheRules(changed={query_class: ClassRule(ttl_s=60)})
    for scope, rules, reason in (
        (Public(), None, "class_off"),
        (User("u"), on, "class_off"),
        (Cohort("c"), on, "class_off"),
        (Public(), on, None),
    ):
        rule = CacheRule(scope=scope, query_class=query_class)
        assert await refusal_of(answer("a"), rule=rule, rules=rules) == reason


async def test_no_life_is_not_stored() -> None:
    assert await refusal_of(answer("a"), rule=CacheRule(scope=Public(), ttl_s=0)) == "class_off"


async def test_answer_too_large_for_any_tier_is_refused() -> None:
    assert await refusal_of(answer("x" * 2**21)) == "too_large"


@pytest.mark.parametrize(
    ("asked", "answered", "is_same"),
    [
        ("gemini-3.8-flash", "gemini-3.8-flash-001", True),
        ("publishers/google/models/gemini-3.8-flash", "gemini-3.8-flash", True),
        ("llama3.2", "llama3.2:latest", True),
        ("gpt-5", "gpt-5-2026-08-06", True),
        ("claude-9", "claude-9@20260101", True),
        ("gemini-3.8-flash", "gemini-3.8-flash-latest", True),
        ("gpt-5", "gpt-5-mini", False),
        ("gemini-3", "gemini-3.8-flash", False),
        ("gemini-3.8-flash", "", False),
    ],
)
async def test_version_of_the_model_asked_for_is_that_model(asked: str, answered: str, is_same: bool) -> None:
    assert (await refusal_of(answer("a", model=answered), model=asked) is None) is is_same


@pytest.mark.parametrize(
    ("location_class", "location", "is_there"),
    [
        ("eu", "eu", True),
        ("eu", "europe-west1", True),
        ("eu", "us-east1", False),
        ("eu", "global", False),
        ("us", "us-east1", True),
        ("us", "eu", False),
        ("local", "", True),
        ("global", "global", True),
        ("europe-west1", "europe-west4", False),
    ],
)
async def test_answer_made_outside_of_the_keys_place_is_refused(
    location_class: str, location: str, is_there: bool
) -> None:
    assert (await refusal_of(answer("a", location=location), location_class=location_class) is None) is is_there
