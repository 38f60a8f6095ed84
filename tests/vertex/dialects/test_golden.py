"""The bytes of plain requests, as they were before requests could say more: kept answers are keyed by them."""

from __future__ import annotations

import pytest

from ngx_agents.vertex.content import Content, ModelRequest, Text, ToolCall, ToolDeclaration, ToolResult
from ngx_agents.vertex.dialects.dialect import Dialect
from ngx_agents.vertex.dialects.openai import OpenAIDialect
from ngx_agents.vertex.dialects.vertex import VertexDialect

TOOL = ToolDeclaration(
    name="log_weight",
    description="Registra el peso",
    parameters={"type": "object", "properties": {"kg": {"type": "number"}}},
)
CALLS = (
    Text(text="Lo apunto\u2028"),
    ToolCall(name="log_weight", arguments={"kg": 80.5}),
    ToolCall(name="log_weight", arguments={"kg": 81}, id="7"),
)
RESULTS = (
    ToolResult(name="log_weight", response={"ok": True}),
    ToolResult(name="log_weight", response={"ok": False}, id="7"),
)
VERTEX_SHORT = '{"contents":[{"role":"user","parts":[{"text":"hola"}]}]}'
OPENAI_SHORT = '{"model":"m","messages":[{"role":"user","content":"hola"}]}'
VERTEX_LONG = (
    '{"contents":[{"role":"user","parts":[{"text":"¿Peso?"}]},{"role":"model","parts":[{"text":"Lo a'
    'punto\u2028"},{"functionCall":{"name":"log_weight","args":{"kg":80.5}},"thoughtSignature":"skip_thou'
    'ght_signature_validator"},{"functionCall":{"name":"log_weight","args":{"kg":81},"id":"7"}}]},{"'
    'role":"user","parts":[{"functionResponse":{"name":"log_weight","response":{"ok":true}}},{"funct'
    'ionResponse":{"name":"log_weight","response":{"ok":false},"id":"7"}}]},{"role":"model","parts":'
    '[{"text":""}]}],"systemInstruction":{"role":"user","parts":[{"text":"Sé amable"}]},"tools":[{"f'
    'unctionDeclarations":[{"name":"log_weight","description":"Registra el peso","parametersJsonSche'
    'ma":{"type":"object","properties":{"kg":{"type":"number"}}}}]}],"generationConfig":{"temperatur'
    'e":0.0,"maxOutputTokens":9}}'
)
OPENAI_LONG = (
    '{"model":"m","messages":[{"role":"system","content":"Sé amable"},{"role":"user","content":"¿Pes'
    'o?"},{"role":"assistant","content":"Lo apunto\u2028","tool_calls":[{"id":"call_log_weight_0","type":'
    '"function","function":{"name":"log_weight","arguments":"{\\"kg\\":80.5}"}},{"id":"7","type":"func'
    'tion","function":{"name":"log_weight","arguments":"{\\"kg\\":81}"}}]},{"role":"tool","content":"{'
    '\\"ok\\":true}","tool_call_id":"call_log_weight_0"},{"role":"tool","content":"{\\"ok\\":false}","to'
    'ol_call_id":"7"},{"role":"assistant","content":""}],"tools":[{"type":"function","function":{"na'
    'me":"log_weight","description":"Registra el peso","parameters":{"type":"object","properties":{"'
    'kg":{"type":"number"}}}}}],"temperature":0.0,"max_tokens":9}'
)
STREAMED = ',"stream":true,"stream_options":{"include_usage":true}}'


def short() -> ModelRequest:
    return ModelRequest(system="", contents=(Content(role="user", parts=(Text(text="hola"),)),), deadline_s=1.0)


def long() -> ModelRequest:
    contents = (
        Content(role="user", parts=(Text(text="¿Peso?"),)),
        Content(role="model", parts=CALLS),
        Content(role="user", parts=RESULTS),
        Content(role="model", parts=()),
    )
    return ModelRequest(
        system="Sé amable",
        contents=contents,
        tools=(TOOL,),
        deadline_s=1.0,
        temperature=0.0,
        max_output_tokens=9,
    )


@pytest.mark.parametrize(
    ("dialect", "request_", "expected"),
    [
        (VertexDialect("global"), short(), VERTEX_SHORT),
        (OpenAIDialect(), short(), OPENAI_SHORT),
        (VertexDialect("global"), long(), VERTEX_LONG),
        (OpenAIDialect(), long(), OPENAI_LONG),
    ],
    ids=["vertex-short", "openai-short", "vertex-long", "openai-long"],
)
def test_plain_requests_keep_their_bytes(dialect: Dialect, request_: ModelRequest, expected: str) -> None:
    assert dialect.encode(request_, model="m", streams=False).decode() == expected


@pytest.mark.parametrize(("request_", "expected"), [(short(), OPENAI_SHORT), (long(), OPENAI_LONG)])
def test_streamed_requests_add_only_that_they_are_streamed(request_: ModelRequest, expected: str) -> None:
    body = OpenAIDialect().encode(request_, model="m", streams=True).decode()
    assert body == expected.removesuffix("}") + STREAMED
    assert VertexDialect("global").encode(request_, model="m", streams=True) == VertexDialect("global").encode(
        request_, model="m", streams=False
    )
