"""What is stored is what was said, and what was not stored here is not an entry."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ngx_agents.vertex.cache.entry import FORMAT, MAX_AHEAD_S, Entry, decode, encode, entry_of
from ngx_agents.vertex.cache.kept import Kept
from ngx_agents.vertex.cache.key import KeyMaker
from ngx_agents.vertex.cache.rules import ClassRule
from ngx_agents.vertex.content import Content, ModalityTokens, ModelReply, Text, Usage
from tests.vertex.cache.making import MODEL, SECRET, HandClock, answer, cache_of, key_for

MAKER = KeyMaker([SECRET])
KEY = key_for(cache_of(HandClock()))
LIFE = ClassRule(ttl_s=60, stale_while_revalidate_s=5, stale_if_error_s=100)
NOW_S = 1_800_000_000.0


def entry(text: str = "Hola, ¿qué tal?", chunks: tuple[str, ...] = ()) -> Entry:
    return entry_of(answer(text), chunks, LIFE, now_s=NOW_S)


def forged(payload: bytes) -> bytes:
    """Bytes that only a holder of the secret can have made."""
    return FORMAT + MAKER.sign(KEY.digest, payload) + payload


def changed(**fields: Any) -> bytes:
    return forged(msgspec.msgpack.encode(replace(entry(), **fields)))


def test_everything_a_reply_says_comes_back() -> None:
    thought = Text(text="hm", thought=True, signature="dGhvdWdodA==")
    reply = answer(
        thought,
        Text(text="Hola, "),
        Text(text="¿qué tal? 😀", signature="c2lnbg=="),
        usage=Usage(
            input_tokens=7, output_tokens=9, thought_tokens=2, cached_tokens=1, tool_tokens=3,
            input_details=(ModalityTokens("text", 7),), output_details=(ModalityTokens("text", 9),),
        ),
    )  # fmt: skip
    chunks = ("Hola, ¿q", "", "ué", " tal? 😀")
    made = decode(encode(entry_of(reply, chunks, LIFE, now_s=NOW_S), KEY, MAKER), KEY, MAKER, now_s=NOW_S)
    assert made is not None
    clock = HandClock()
    kept = Kept(made, clock.monotonic_s(), clock)
    again = kept.reply()
    expected = replace(reply, source="cache", rung="cache", attempts=0)
    assert again == expected
    assert again.content is not reply.content
    assert kept.chunks == chunks
    assert "".join(kept.chunks) == again.text


def test_no_field_of_a_reply_is_forgotten() -> None:
    """What is not stored is said anew by the cache, or keeps the reply from being stored."""
    said_anew = {"content", "source", "rung", "age_s", "attempts"}
    barring = {"is_grounded", "has_citations", "is_degraded"}
    stored = {field.name for field in msgspec.structs.fields(Entry)}
    of_reply = {field.name for field in msgspec.structs.fields(ModelReply)}
    of_content = {field.name for field in msgspec.structs.fields(Content)}
    assert of_reply - said_anew - barring <= stored
    assert of_content == {"role", "parts", "wire", "model"}


def test_answer_that_came_whole_is_one_chunk() -> None:
    clock = HandClock()
    assert Kept(entry("ab"), 0.0, clock).chunks == ("ab",)


@pytest.mark.parametrize(
    ("age_s", "is_fresh", "may_revalidate", "may_serve_on_error", "source"),
    [
        (0, True, False, True, "cache"),
        (59.9, True, False, True, "cache"),
        (60, False, True, True, "stale"),
        (65, False, False, True, "stale"),
        (159.9, False, False, True, "stale"),
        (160, False, False, False, "stale"),
    ],
)
def test_age_decides_what_an_answer_may_be_used_for(
    age_s: float, is_fresh: bool, may_revalidate: bool, may_serve_on_error: bool, source: str
) -> None:
    clock = HandClock()
    kept = Kept(entry(), clock.monotonic_s(), clock)
    clock.passed_s += age_s
    assert (kept.is_fresh, kept.may_revalidate, kept.may_serve_on_error) == (
        is_fresh, may_revalidate, may_serve_on_error,
    )  # fmt: skip
    reply = kept.reply()
    assert (reply.source, reply.rung) == (source, source)
    assert reply.age_s == pytest.approx(age_s)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        FORMAT,
        b"\x00" * 100,
        b"\x02" + encode(entry(), KEY, MAKER)[1:],
        encode(entry(), KEY, MAKER)[:-1],
        encode(entry(), KEY, MAKER) + b"\x00",
        b'{"parts":[]}',
        forged(b""),
        forged(msgspec.msgpack.encode([])),
        forged(msgspec.msgpack.encode({"parts": 1})),
        forged(b"\x91" * 100_000),
        FORMAT + b"\x00" * 2**21,
    ],
    ids=range(12),
)
def test_bytes_that_are_no_entry_are_none(value: bytes) -> None:
    assert decode(value, KEY, MAKER, now_s=NOW_S) is None


@pytest.mark.parametrize(
    "value",
    [
        changed(ttl_s=math.nan),
        changed(ttl_s=math.inf),
        changed(ttl_s=1e12),
        changed(stale_if_error_s=1e12),
        changed(stale_while_revalidate_s=-1.0),
        changed(written_at_s=NOW_S + MAX_AHEAD_S + 1),
        changed(written_at_s=math.nan),
        changed(cuts=(-1, 16)),
        changed(cuts=(3,)),
    ],
)
def test_entry_that_makes_no_sense_is_none_even_when_signed(value: bytes) -> None:
    assert decode(changed(), KEY, MAKER, now_s=NOW_S) is not None
    assert decode(value, KEY, MAKER, now_s=NOW_S) is None


def test_entry_under_another_key_is_none() -> None:
    other = key_for(cache_of(HandClock()), b'{"contents":[1]}')
    value = encode(entry(), KEY, MAKER)
    assert decode(value, KEY, MAKER, now_s=NOW_S) == entry()
    assert decode(value, other, MAKER, now_s=NOW_S) is None


def test_entry_signed_with_a_former_secret_is_read_and_with_a_foreign_one_not() -> None:
    value = encode(entry(), KEY, MAKER)
    assert decode(value, KEY, KeyMaker([b"n" * 16, SECRET]), now_s=NOW_S) == entry()
    assert decode(value, KEY, KeyMaker([b"n" * 16]), now_s=NOW_S) is None


@given(flipped=st.integers(min_value=0), bit=st.integers(0, 7))
def test_any_flipped_bit_makes_it_none(flipped: int, bit: int) -> None:
    value = bytearray(encode(entry(), KEY, MAKER))
    value[flipped % len(value)] ^= 1 << bit
    assert decode(bytes(value), KEY, MAKER, now_s=NOW_S) is None


@given(value=st.binary(max_size=200))
def test_arbitrary_bytes_are_none(value: bytes) -> None:
    assert decode(value, KEY, MAKER, now_s=NOW_S) is None
    assert decode(FORMAT + value, KEY, MAKER, now_s=NOW_S) is None


@given(pieces=st.lists(st.text(max_size=10), min_size=1, max_size=10))
def test_chunks_come_back_as_they_came(pieces: list[str]) -> None:
    text = "".join(pieces)
    made = decode(
        encode(entry_of(answer(text, model=MODEL), pieces, LIFE, now_s=NOW_S), KEY, MAKER), KEY, MAKER, now_s=NOW_S
    )
    assert made is not None
    assert list(Kept(made, 0.0, HandClock()).chunks) == pieces
