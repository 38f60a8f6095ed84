"""What asking an agent elsewhere costs the asking process: our client and the A2A SDK's, same server, same messages.

`python -m benchmarks.remote_agents [--messages 300]`; CPU ms per streamed answer of three chunks, one at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable

from tests.agents.remote.peers import CARD, sdk_agent

from ngx_agents.agents.remote.card import read_card
from ngx_agents.agents.remote.client import A2AClient, Place
from ngx_agents.agents.remote.hearing import Hearing
from ngx_agents.agents.remote.http import ForeignHttp

TEXT = "the weather please"
ROUNDS = 3
TRAIL = "depth=1, calls=127, ms=10000"


async def ours(url: str, messages: int) -> float:
    async with ForeignHttp([url], headers={}, max_bytes=2**20, limit=4) as http:
        client = A2AClient(http)
        fetched = await client.card(url + CARD, etag=None)
        card = read_card(fetched.raw or b"", agent_id="weather", allowed=(), may_ask=http.may_ask)

        async def one(number: int) -> str:
            hearing = Hearing()
            async for event in client.send(
                card, TEXT, message_id=f"m{number}", place=Place(), timeout_s=10.0, trail=TRAIL
            ):
                hearing.take(event)
            return hearing.text

        return await _cpu_ms(one, messages)


async def the_sdks(url: str, messages: int) -> float:
    from a2a.client import ClientConfig, create_client
    from a2a.helpers.proto_helpers import new_text_message
    from a2a.types import Role, SendMessageRequest

    client = await create_client(url, client_config=ClientConfig(streaming=True))

    async def one(_: int) -> str:
        said = []
        message = new_text_message(TEXT, role=Role.ROLE_USER)
        async for event in client.send_message(SendMessageRequest(message=message)):
            if event.HasField("artifact_update"):
                said += [part.text for part in event.artifact_update.artifact.parts]
        return "".join(said)

    try:
        return await _cpu_ms(one, messages)
    finally:
        await client.close()


async def _cpu_ms(one: Callable[[int], Awaitable[str]], messages: int) -> float:
    for number in range(10):
        assert await one(number) == "Rain until noon. Then it clears up. Wind from the west."
    before = time.process_time()
    for number in range(messages):
        await one(10 + number)
    return (time.process_time() - before) * 1000 / messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300)
    messages: int = parser.parse_args().messages
    os.environ["OTEL_INSTRUMENTATION_A2A_SDK_ENABLED"] = "false"
    rounds = []
    with sdk_agent() as url:
        for _ in range(ROUNDS):
            mine, theirs = asyncio.run(ours(url, messages)), asyncio.run(the_sdks(url, messages))
            rounds.append({"ours_cpu_ms": round(mine, 3), "sdk_cpu_ms": round(theirs, 3)})
    print(json.dumps({"messages": messages, "rounds": rounds}))


if __name__ == "__main__":
    main()
