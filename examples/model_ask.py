"""One question, one answer, and where it came from.

    ngx emulator --port 8089 &
    NGX_VERTEX_BASE_URL=http://127.0.0.1:8089 NGX_VERTEX_PROJECT=demo python examples/model_ask.py

With a Google account: `gcloud auth application-default login`, `GOOGLE_CLOUD_PROJECT=…` instead of both variables.
"""

import asyncio
import time

from ngx_agents import VertexAIClient
from ngx_agents.vertex.content import Content, ModelRequest, Text
from ngx_agents.vertex.scope import CacheRule, Public


async def main() -> None:
    question = Content(role="user", parts=(Text(text="What does the thyroid gland do?"),))
    async with VertexAIClient(cache_enabled=True, cache_ttl=3600, max_retries=5) as client:
        for _ in range(2):
            request = ModelRequest(
                system="Answer in two sentences.",
                contents=(question,),
                deadline_s=time.monotonic() + 30,
                cache=CacheRule(scope=Public(), is_repeatable=True),  # nothing of anybody is in it: all may share it
            )
            reply = await client.generate(request)
            print(reply.text)
            print(f"-- {reply.source}, rung {reply.rung}, {reply.model} in {reply.location}, {reply.age_s:.1f} s old")


asyncio.run(main())
