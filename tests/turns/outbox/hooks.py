"""A web server that is posted to: it notes what came, and answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Answer = Callable[[int], web.Response]


class Hooks:
    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], bytes]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.answer: Answer = lambda number: web.Response()
        self.delay_s = 0.0
        self.url = ""
        self.changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self.came.append((dict(request.headers), await request.read()))
            number = len(self.came)
            async with self.changed:
                self.changed.notify_all()
            await asyncio.sleep(self.delay_s)
            return self.answer(number)
        finally:
            self.in_flight -= 1

    @property
    def contents(self) -> list[bytes]:
        return [content for _, content in self.came]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: len(self.came) >= count)


@asynccontextmanager
async def hooks() -> AsyncIterator[Hooks]:
    made = Hooks()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()
