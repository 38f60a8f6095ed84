"""States in and out of their stored form, across releases and through damage."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.errors import ConfigError, InvalidRequest, StateCorrupt, StateTooLarge
from ngx_agents.state.codec import FORMAT, HEADER_BYTES, Codec

JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=30,
)


class Now(msgspec.Struct):
    goal: str
    weeks: int = 0


class Later(msgspec.Struct):
    """What the next release would write: one field more."""

    goal: str
    weeks: int = 0
    mood: str = "fine"


# written by this format; a reader that cannot read them any more breaks every stored conversation
WRITTEN_PLAIN = bytes.fromhex("0110") + bytes.fromhex("82a4676f616ca3352e30a57765656b730c")
WRITTEN_ZSTD = bytes.fromhex("0111") + zstandard.ZstdCompressor(level=1).compress(
    msgspec.msgpack.encode({"goal": "a" * 5000, "weeks": 3})
)


@given(JSON_LIKE)
def test_what_was_encoded_comes_back(value: Any) -> None:
    codec = Codec(object, threshold_bytes=64)
    assert codec.decode(codec.encode(value)) == value


def test_it_compresses_from_the_threshold_on_and_keeps_the_smaller() -> None:
    codec = Codec(str, threshold_bytes=1024)
    assert codec.encode("x" * 1000)[1] & 0x0F == 0
    packed = codec.encode("x" * 5000)
    assert packed[1] & 0x0F == 1
    assert len(packed) < 100
    noise = "".join(chr(0x4E00 + (i * 7919) % 20000) for i in range(400))
    assert len(codec.encode(noise)) <= len(msgspec.msgpack.encode(noise)) + HEADER_BYTES


def test_switched_off_it_never_compresses() -> None:
    assert Codec(str, is_compressed=False).encode("x" * 50_000)[1] & 0x0F == 0


def test_states_written_earlier_are_read() -> None:
    codec = Codec(Now)
    assert codec.decode(WRITTEN_PLAIN) == Now(goal="5.0", weeks=12)
    assert codec.decode(WRITTEN_ZSTD) == Now(goal="a" * 5000, weeks=3)


def test_a_state_of_the_next_release_is_read_when_it_only_adds_fields() -> None:
    newer = bytes((FORMAT + 1, FORMAT << 4)) + msgspec.msgpack.encode(Later(goal="5 km", weeks=8))
    assert Codec(Now).decode(newer) == Now(goal="5 km", weeks=8)


def test_a_state_that_needs_a_newer_reader_is_refused() -> None:
    newer = bytes((FORMAT + 2, (FORMAT + 1) << 4)) + msgspec.msgpack.encode(Now(goal="x"))
    with pytest.raises(StateCorrupt, match="format"):
        Codec(Now).decode(newer)


def test_a_state_over_the_bound_is_refused_with_its_size() -> None:
    codec = Codec(bytes, max_bytes=1000)
    assert codec.decode(codec.encode(b"a" * 990)) == b"a" * 990
    with pytest.raises(StateTooLarge) as raised:
        codec.encode(b"a" * 1001)
    assert raised.value.limit_bytes == 1000
    assert raised.value.size_bytes > 1000


def test_a_small_packet_that_unpacks_to_more_than_the_bound_is_refused() -> None:
    bomb = bytes((FORMAT, FORMAT << 4 | 1)) + zstandard.ZstdCompressor().compress(b"\xc6" + b"0" * 50_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(StateCorrupt):
        Codec(bytes, max_bytes=1_000_000).decode(bomb)


def test_what_cannot_be_stored_is_the_callers_error() -> None:
    codec = Codec(object)
    with pytest.raises(InvalidRequest):
        codec.encode({"x": object()})
    with pytest.raises(InvalidRequest):
        codec.encode({"x": 2**70})


@given(st.binary(max_size=200))
def test_foreign_bytes_are_one_typed_error(data: bytes) -> None:
    codec = Codec(Now)
    try:
        codec.decode(data)
    except StateCorrupt:
        return
    assert codec.encode(codec.decode(data))


@given(st.integers(0, 400), st.booleans())
def test_torn_states_are_never_half_read(cut: int, is_compressed: bool) -> None:
    codec = Codec(Now, is_compressed=is_compressed, threshold_bytes=10)
    stored = codec.encode(Now(goal="correr diez kilómetros " * 20, weeks=5))
    if cut < len(stored):
        with pytest.raises(StateCorrupt):
            codec.decode(stored[:cut])


def test_bounds_without_sense_are_refused() -> None:
    with pytest.raises(ConfigError):
        Codec(str, max_bytes=0)
    with pytest.raises(ConfigError):
        Codec(str, threshold_bytes=-1)
