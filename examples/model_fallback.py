"""Data that must stay in Europe, a model that fails, and what answers instead.

ngx emulator --port 8089 &
curl -d '[{"kind": "status", "status": 503, "model": "gemini-3.5-flash", "times": null}]' http://127.0.0.1:8089/_control
python examples/model_fallback.py http://127.0.0.1:8089
"""

import asyncio
import sys
import time

from ngx_agents import VertexAIClient
from ngx_agents.errors import ModelError
from ngx_agents.vertex.content import Content, ModelRequest, Text, ToolDeclaration
from ngx_agents.vertex.embedding import EmbedRequest
from ngx_agents.vertex.settings import VertexSettings

WEIGHT = ToolDeclaration(
    name="log_weight",
    description="Logs the weight of the user in kilograms",
    parameters={"type": "object", "properties": {"kg": {"type": "number"}}, "required": ["kg"]},
)


async def main(base_url: str) -> None:
    settings = VertexSettings(
        base_url=base_url,
        project="demo",
        location="eu",
        residency="eu",  # a location outside of it is refused when the client starts
        model="gemini-3.5-flash",
        fallback_locations=("europe-west1",),
        fallback_models=("gemini-3.1-flash-lite",),
    )
    async with VertexAIClient(settings=settings, retry_delay=0.1, circuit_breaker_threshold=5) as client:
        said = Content(role="user", parts=(Text(text="I weigh 81.2 kg today"),))
        request = ModelRequest(system="", contents=(said,), tools=(WEIGHT,), deadline_s=time.monotonic() + 20)
        try:
            reply = await client.generate(request)
        except ModelError as error:
            print(f"nothing in Europe answers: {error.code}, {error}")
            return
        print(f"rung {reply.rung}: {reply.calls or reply.text} ({reply.location}, degraded: {reply.is_degraded})")
        vectors = await client.embed(
            EmbedRequest(texts=("sleep", "dormir"), model="gemini-embedding-001", deadline_s=time.monotonic() + 20)
        )
        print(f"{len(vectors.vectors)} vectors of {len(vectors.vectors[0])} numbers")


asyncio.run(main(sys.argv[1]))
