from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.errors import ModelProtocolError, ModelRequestError
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.dialects.vertex_caches import decode_kept, decode_page, encode_prefix, encode_ttl, expires_at_s
from ngx_agents.vertex.dialects.vertex_wire import CachedContentReply
from tests.vertex.conftest import WEIGHT_TOOL, ask

FIELDS = {"model_path": "projects/p/models/m", "display_name": "ngx-1"}


def test_prefix_holds_what_the_request_then_leaves_out() -> None:
    request = ask(system="s", tools=(WEIGHT_TOOL,), tool_choice="any", temperature=0.0)
    whole = json.loads(VertexDialect("global").encode(request, model="m", streams=False))
    assert json.loads(encode_prefix(request, **FIELDS, ttl_s=600)) == {
        "model": "projects/p/models/m",
        "displayName": "ngx-1",
        "ttl": "600s",
        "systemInstruction": whole["systemInstruction"],
        "tools": whole["tools"],
        "toolConfig": whole["toolConfig"],
    }


def test_prefix_leaves_out_what_is_not_there() -> None:
    assert json.loads(encode_prefix(ask(system="s"), **FIELDS, ttl_s=1)).keys() == {
        "model",
        "displayName",
        "ttl",
        "systemInstruction",
    }


def test_prefix_with_a_choice_that_cannot_be_met_is_refused() -> None:
    with pytest.raises(ModelRequestError):
        encode_prefix(ask(system="s", tool_choice="any"), **FIELDS, ttl_s=1)


def test_renewal_says_the_time_only() -> None:
    assert json.loads(encode_ttl(1200)) == {"ttl": "1200s"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T08:00:00Z", 1795507200.0),
        ("2026-11-24T08:00:00.123456789Z", 1795507200.123456),
        ("2026-11-24T09:00:00+01:00", 1795507200.0),
        ("", None),
        (None, None),
        ("soon", None),
    ],
)
def test_end_is_read_as_far_as_it_can_be(text: str | None, expected: float | None) -> None:
    found = expires_at_s(CachedContentReply(name="n", expire_time=text))
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-3))


def test_list_without_entries_is_empty() -> None:
    assert decode_page(b"{}") == []


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"name": ""}', b'{"name": "a/"}', b'{"name": 7}', b"<html>", b"[" * 99_999]
)
def test_answer_without_a_name_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ModelProtocolError):
        decode_kept(body)


@given(body=st.binary(max_size=30))
def test_nonsense_is_a_protocol_error_or_a_list(body: bytes) -> None:
    with suppress(ModelProtocolError):
        assert all(isinstance(kept, CachedContentReply) for kept in decode_page(body))
