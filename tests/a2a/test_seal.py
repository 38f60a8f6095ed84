"""What lies in a stream is believed only from a process that has the house's key, and only there."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.a2a.seal import CONTEXT, MAC_BYTES, MAX_PLACES, Seal
from ngx_agents.errors import ConfigError

OLD, NEW, FOREIGN = b"o" * 32, b"n" * 100, b"f" * 32
STREAM = "ngx:a2a:{nutrition}:q1"


def test_without_a_key_nothing_begins() -> None:
    with pytest.raises(ConfigError):
        Seal([])


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=64))
def test_what_was_closed_is_opened_and_anything_else_is_not(content: bytes, noise: bytes) -> None:
    seal = Seal([NEW, OLD])
    stored = seal.closed(STREAM, "p", content)
    assert seal.opened(STREAM, "p", stored) == content
    for forged in (stored + noise, stored[:-1], noise, noise + content, content, b"", stored[MAC_BYTES:]):
        assert seal.opened(STREAM, "p", forged) is None
    assert seal.opened("ngx:a2a:{nutrition}:q0", "p", stored) is None, "another class"
    assert seal.opened("ngx:a2a:{training}:q1", "p", stored) is None, "another agent"
    assert seal.opened(STREAM, "f", stored) is None, "another use"
    assert Seal([FOREIGN]).opened(STREAM, "p", stored) is None


@given(st.binary(max_size=200))
def test_it_is_the_hmac_of_the_standard(content: bytes) -> None:
    key = hmac.digest(NEW, CONTEXT, "sha256")
    expected = hmac.digest(key, f"{STREAM}\0p\0".encode() + content, "sha256")
    assert Seal([NEW]).closed(STREAM, "p", content) == expected + content


def test_every_bit_counts() -> None:
    seal = Seal([NEW])
    stored = seal.closed(STREAM, "p", b"ten of us")
    for at in range(len(stored) * 8):
        altered = bytearray(stored)
        altered[at // 8] ^= 1 << at % 8
        assert seal.opened(STREAM, "p", bytes(altered)) is None


def test_a_key_changes_without_a_message_lost() -> None:
    before, between, after = Seal([OLD]), Seal([NEW, OLD]), Seal([NEW])
    assert between.opened(STREAM, "p", before.closed(STREAM, "p", b"x")) == b"x"
    assert after.opened(STREAM, "p", between.closed(STREAM, "p", b"x")) == b"x"
    assert after.opened(STREAM, "p", before.closed(STREAM, "p", b"x")) is None


def test_what_is_kept_for_streams_is_bounded() -> None:
    seal = Seal([NEW])
    for number in range(MAX_PLACES + 10):
        seal.closed(f"stream {number}", "p", b"x")
    assert len(seal._begun) == MAX_PLACES
    assert seal.opened("stream 0", "p", seal.closed("stream 0", "p", b"x")) == b"x"
