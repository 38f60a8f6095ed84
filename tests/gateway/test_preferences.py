"""`Prefer` as RFC 7240 has it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.gateway.preferences import MAX_WAIT_S, NONE, Preferences, preferences_of


@pytest.mark.parametrize(
    ("fields", "is_async", "wait_s"),
    [
        ([], False, 0),
        (["respond-async"], True, 0),
        (["Respond-ASYNC, wait=10"], True, 10),
        (["respond-async; foo=bar ; baz, wait = 10"], True, 10),
        (["wait=10", "respond-async"], True, 10),
        (['handling="a, respond-async"'], False, 0),
        (['foo="a\\", x", respond-async, wait="7"'], True, 7),
        (["norespond-asyncs"], False, 0),
        (["respond-async=no"], False, 0),
        (['respond-async=""'], True, 0),
        (["wait=5, wait=50"], False, 5),
        (["respond-async, wait=99999999999999999999"], True, MAX_WAIT_S),
        (["respond-async, wait=-1"], True, 0),
        (["respond-async, wait=1.5"], True, 0),
        (["respond-async, wait=٣"], True, 0),
        ([",,;;==,respond-async,"], True, 0),
        (['"respond-async"'], False, 0),
    ],
)
def test_a_preference_is_understood_or_ignored(fields: list[str], is_async: bool, wait_s: int) -> None:
    headers = [(b"prefer", field.encode("utf-8")) for field in fields]
    assert preferences_of(headers) == Preferences(is_async=is_async, wait_s=wait_s)


@given(st.lists(st.tuples(st.sampled_from([b"prefer", b"accept"]), st.binary(max_size=300)), max_size=5))
def test_whatever_is_sent_is_read_without_harm(headers: list[tuple[bytes, bytes]]) -> None:
    assert 0 <= preferences_of(headers).wait_s <= MAX_WAIT_S


@pytest.mark.parametrize("field", ["a=" + " " * 31_000 + "x y", '"' + '\\"' * 15_000, "respond-async, " * 2_000])
def test_a_field_without_end_is_not_understood_and_costs_little(field: str) -> None:
    began_s = time.process_time()
    assert preferences_of([(b"prefer", field.encode())]) == NONE
    assert time.process_time() - began_s < 0.1
