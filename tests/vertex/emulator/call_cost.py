"""What a call costs the emulator, without a server: `python -m tests.vertex.emulator.call_cost` prints microseconds.

A script, not a test: nothing here is asserted. Each figure is the best of several rounds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from ngx_agents.vertex.emulator import EmulatorSettings, create_app
from tests.vertex.emulator.wire import body, path

BODY = json.dumps(
    body(systemInstruction={"role": "user", "parts": [{"text": "Be kind."}]}, generationConfig={"temperature": 0.2})
).encode()
HEADERS = [(b"host", b"x"), (b"content-type", b"application/json"), (b"authorization", b"Bearer t")]
ROUNDS = 5


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": BODY, "more_body": False}


async def send(message: dict[str, Any]) -> None:
    pass


async def main() -> None:
    app = create_app(EmulatorSettings(chunks=100))
    for call, query, calls in (("generateContent", b"", 5000), ("streamGenerateContent", b"alt=sse", 500)):
        scope = {"type": "http", "method": "POST", "path": path(call), "query_string": query, "headers": HEADERS}
        rounds: list[float] = []
        for _ in range(ROUNDS):
            started_s = time.process_time()
            for _ in range(calls):
                await app(dict(scope), receive, send)
            rounds.append((time.process_time() - started_s) / calls * 1e6)
        sys.stdout.write(f"{call:24} {min(rounds):6.1f} us\n")


if __name__ == "__main__":
    asyncio.run(main())
