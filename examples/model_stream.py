"""A streamed answer that survives a broken connection: what was said is withdrawn, and said anew.

    ngx emulator --port 8089 --chunk-gap-ms 30 &
    curl -d '[{"kind": "cut", "at_chunk": 20}]' http://127.0.0.1:8089/_control
    NGX_VERTEX_BASE_URL=http://127.0.0.1:8089 NGX_VERTEX_PROJECT=demo python examples/model_stream.py

`on_cut="continue"` goes on from the very character instead, `"stop"` ends with the error.
"""

import asyncio
import time

from ngx_agents import VertexAIClient
from ngx_agents.vertex.content import Content, ModelRequest, StreamEnd, Text, TextChunk, TextReset


async def main() -> None:
    request = ModelRequest(
        system="",
        contents=(Content(role="user", parts=(Text(text="How can I sleep better?"),)),),
        deadline_s=time.monotonic() + 60,
        on_cut="restart",
    )
    async with VertexAIClient() as client:
        async for event in client.stream(request):
            match event:
                case TextChunk(text):
                    print(text, end="", flush=True)
                case TextReset(reason):
                    print(f"\n-- {reason}: withdrawn, beginning anew --\n")
                case StreamEnd(reply):
                    print(f"\n-- {reply.usage.output_tokens} tokens in {reply.attempts} calls")


asyncio.run(main())
