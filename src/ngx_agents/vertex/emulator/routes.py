"""Which call a path means: Vertex, by project or express, v1 and v1beta1; or the OpenAI-compatible one."""

from __future__ import annotations

import re

from ngx_agents.vertex.emulator.writers import OpenAICall, Surface, VertexCall, VertexCount

_VERTEX = re.compile(
    r"/(?:v1|v1beta1)/(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/models|models|endpoints)/"
    r"(?P<model>[^/:]+):(?P<call>generateContent|streamGenerateContent|countTokens)"
)


def surface_of(path: str, query: bytes) -> Surface | None:
    """The surface that a POST to `path` speaks; None when there is none."""
    if path == "/v1/chat/completions":
        return OpenAICall()
    match = _VERTEX.fullmatch(path)
    if match is None:
        return None
    model, call = match["model"], match["call"]
    if call == "countTokens":
        return VertexCount(model)
    return VertexCall(model, streams=call == "streamGenerateContent", events=b"alt=sse" in query)
