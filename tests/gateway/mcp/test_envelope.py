"""Reading MCP messages: for any bytes and headers a call, nothing, or a refusal that is JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.gateway.mcp.envelope import Call, Refused, read_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
METHODS = st.sampled_from(["ping", "initialize", "server/discover", "tools/call", "tools/list", "x"])
MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0")},
    optional={"id": JSON, "method": METHODS | JSON, "params": st.dictionaries(st.just("_meta"), JSON) | JSON},
)
HEADERS = st.dictionaries(
    st.sampled_from([b"mcp-protocol-version", b"mcp-method", b"mcp-name"]),
    st.sampled_from([b"2026-07-28", b"2025-06-18", b"ping", b"=?base64?cGluZw==?=", b"=?base64?%%?=", b"\xff"]),
)


@given(st.binary(max_size=60) | (MESSAGES | JSON).map(lambda value: json.dumps(value).encode()), HEADERS)
def test_whatever_comes_is_a_call_or_nothing_or_a_refusal(raw, headers):
    try:
        read = read_message(raw, headers)
    except Refused as refused:
        body, code, status = json.loads(refused.body()), refused.rpc_code, refused.status
    else:
        assert read is None or isinstance(read, Call)
        return
    assert body["error"]["code"] == code
    assert status in (200, 400, 404)
