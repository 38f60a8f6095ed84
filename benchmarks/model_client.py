"""`model_client`: what a call of VertexAIClient costs beside a bare pyreqwest and beside Google's own SDK.

CPU of this process, all threads; the emulator is another process. The three take turns in one run, so that what else
the machine does hits them alike. Bodies are of 4 KB; 16 callers at once. Everything of the client is on: cache look-up,
joining, breaker, governor, retries, metrics. Also by itself: `python -m benchmarks.model_client [--quick]`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import Any, Self

import msgspec
import uvloop
from google import genai
from google.genai import types
from pyreqwest.client import ClientBuilder

from benchmarks.effort import QUICK, Effort
from benchmarks.processes import BenchmarkError, emulator
from benchmarks.report import Line, Outcome, save, table
from ngx_agents.clock import SystemClock
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import Content, ModelRequest, StreamEnd, Text
from ngx_agents.vertex.scope import CacheRule, Public
from ngx_agents.vertex.settings import VertexSettings

MODEL = "gemini-3.8-flash"
SYSTEM = "You are a calm coach who answers briefly and never diagnoses. " * 60
RULE = CacheRule(scope=Public(), is_repeatable=True)
WIDTH = 16
WARM_UP_S = 4.0
UNARY_US, STREAM_MS, SHORT_RATIO, LONG_RATIO = 70.0, 0.6, 20.0, 60.0
PATH = f"/v1/projects/p/locations/global/publishers/google/models/{MODEL}"
Do = Callable[[int], Awaitable[None]]


def model_client(effort: Effort) -> Outcome:
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as the server does, for all who are compared
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measured(effort))


async def _measured(effort: Effort) -> Outcome:
    with emulator(chunks=100) as model:
        async with _contestants(model.url) as who:
            found = await _by_turns(who, rounds=effort.pairs, times=effort.count(1600))
            rss_kb = await _flat(who["ours, cache off"], effort.count(100_000))
    return Outcome(name="model_client", lines=[*_lines(found), rss_kb], data=found)


@asynccontextmanager
async def _contestants(url: str) -> AsyncIterator[dict[str, Do]]:
    settings = VertexSettings(base_url=url, project="p", model=MODEL)
    async with VertexAIClient(settings=settings, max_cache_size=1000) as client, _Bare(url) as bare:
        ours, google = _Ours(client), _Google(url)
        yield {
            "ours": partial(ours.ask, rule=RULE),
            "ours, cache off": ours.ask,
            "ours, 20 messages": partial(ours.ask, messages=20),
            "ours, hit": ours.hit,
            "ours, stream": ours.stream,
            "bare": bare.ask,
            "bare, stream": bare.stream,
            "google-genai": google.ask,
            "google-genai, 20 messages": partial(google.ask, messages=20),
            "google-genai, stream": google.stream,
        }


class _Ours:
    def __init__(self, client: VertexAIClient) -> None:
        self._client = client

    async def ask(self, number: int, *, messages: int = 1, rule: CacheRule | None = None) -> None:
        await self._client.generate(_request(number, messages, rule))

    async def hit(self, _: int) -> None:
        await self.ask(0, rule=RULE)

    async def stream(self, number: int) -> None:
        async for event in self._client.stream(_request(number, 1, None)):
            if isinstance(event, StreamEnd) and not event.reply.text:
                raise BenchmarkError("an empty answer")


class _Bare:
    """pyreqwest and msgspec, and nothing that a server needs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = ClientBuilder().no_proxy().http1_only().build()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, number: int) -> None:
        body = msgspec.json.encode(_bare_body(number))
        sent = self._client.post(f"{self._url}{PATH}:generateContent").body_bytes(body).build()
        msgspec.json.decode((await (await sent.send()).bytes()).to_bytes())

    async def stream(self, number: int) -> None:
        body = msgspec.json.encode(_bare_body(number))
        post = self._client.post(f"{self._url}{PATH}:streamGenerateContent?alt=sse").body_bytes(body)
        rest = b""
        async with post.streamed_read_buffer_limit(0).build_streamed() as answer:
            while (chunk := await answer.body_reader.read_chunk()) is not None:
                *frames, rest = (rest + chunk.to_bytes()).split(b"\r\n\r\n")
                for frame in frames:
                    msgspec.json.decode(frame[6:])


class _Google:
    def __init__(self, url: str) -> None:
        options = types.HttpOptions(base_url=url)
        self._models = genai.Client(vertexai=True, api_key="any", http_options=options).aio.models
        self._config = types.GenerateContentConfig(system_instruction=SYSTEM)

    async def ask(self, number: int, *, messages: int = 1) -> None:
        asked = _for_google(number, messages)
        await self._models.generate_content(model=MODEL, contents=asked, config=self._config)

    async def stream(self, number: int) -> None:
        asked = _for_google(number, 1)
        async for _ in await self._models.generate_content_stream(model=MODEL, contents=asked, config=self._config):
            pass


async def _warm_up(do: Do, number: int) -> int:
    """Until the governor, which lets load only grow so fast, has seen the load that comes; the next number."""
    until_s = time.monotonic() + WARM_UP_S
    while time.monotonic() < until_s:
        await _at_once(do, 10 * WIDTH, first=number)
        number += 10 * WIDTH
    return number


async def _by_turns(who: dict[str, Do], *, rounds: int, times: int) -> dict[str, list[float]]:
    """CPU per call in µs, by contestant and round."""
    found: dict[str, list[float]] = {name: [] for name in who}
    number = 0
    for round_number in range(rounds + 1):
        for name, do in who.items():
            count = _count(name, times)
            if name.startswith("ours"):
                number = await _warm_up(do, number)
            began_s = time.process_time()
            await _at_once(do, count, first=number)
            number += count
            if round_number:  # the first warms up
                found[name].append((time.process_time() - began_s) / count * 1e6)
    return found


async def _at_once(do: Do, count: int, *, first: int = 0) -> None:
    """`WIDTH` callers, each with its next call as soon as the one before is answered."""
    numbers = iter(range(first, first + count))

    async def caller() -> None:
        for number in numbers:
            await do(number)

    async with asyncio.TaskGroup() as callers:
        for _ in range(WIDTH):
            callers.create_task(caller())


def _count(name: str, times: int) -> int:
    share = 20 if "google" in name or "stream" in name else 1
    return max(WIDTH, times // share)


async def _flat(do: Do, times: int) -> Line:
    """How much the process grew over `times` calls, after as many as a tenth of them."""
    await _at_once(do, times // 10)
    before_kb = _rss_kb()
    await _at_once(do, times)
    return Line(what=f"growth over {times} calls", measured=(_rss_kb() - before_kb) / 1024, unit="MiB", budget=5.0)


def _lines(found: dict[str, list[float]]) -> list[Line]:
    def line(name: str, *, unit: str = "µs", budget: float | None = None) -> Line:
        values = [value / (1000 if unit == "ms" else 1) for value in found[name]]
        return Line(
            what=name, measured=median(values), unit=unit, budget=budget, note=f"{min(values):.3g} to {max(values):.3g}"
        )

    def ratio(what: str, above: str, below: str, least: float | None = None) -> Line:
        ratios = [a / b for a, b in zip(found[above], found[below], strict=True)]
        wanted = f", wanted: ≥ {least:.0f}, {'holds' if median(ratios) >= least else 'does not hold'}" if least else ""
        return Line(
            what=what, measured=median(ratios), unit="×", note=f"{min(ratios):.3g} to {max(ratios):.3g}{wanted}"
        )

    return [
        line("ours", budget=UNARY_US),
        line("ours, cache off"),
        line("bare"),
        ratio("ours / bare", "ours", "bare"),
        line("ours, hit", budget=30.0),
        line("ours, stream", unit="ms", budget=STREAM_MS),
        line("bare, stream", unit="ms"),
        ratio("ours / bare, stream", "ours, stream", "bare, stream"),
        line("google-genai"),
        ratio("google-genai / ours", "google-genai", "ours", SHORT_RATIO),
        ratio("google-genai / ours, cache off", "google-genai", "ours, cache off", SHORT_RATIO),
        ratio("google-genai / ours, 20 messages", "google-genai, 20 messages", "ours, 20 messages", LONG_RATIO),
        ratio("google-genai / ours, stream", "google-genai, stream", "ours, stream"),
    ]


def _request(number: int, messages: int, rule: CacheRule | None) -> ModelRequest:
    *earlier, last = _texts(number, messages)
    return ModelRequest(
        system=SYSTEM,
        contents=(*_said(tuple(earlier)), Content(role="user", parts=(Text(text=last),))),
        deadline_s=time.monotonic() + 60,
        cache=rule,
    )


_kept: dict[tuple[str, ...], tuple[Content, ...]] = {}


def _said(texts: tuple[str, ...]) -> tuple[Content, ...]:
    """Earlier messages are objects that live as long as their conversation."""
    if texts not in _kept:
        _kept[texts] = tuple(
            Content(role="user" if place % 2 == 0 else "model", parts=(Text(text=text),))
            for place, text in enumerate(texts)
        )
    return _kept[texts]


def _texts(number: int, messages: int) -> list[str]:
    earlier = [f"Message {place}: I slept seven hours and walked to work." for place in range(messages - 1)]
    return [*earlier, f"How can I sleep better, question {number}?"]


def _for_google(number: int, messages: int) -> Any:
    return [
        types.Content(role="user" if place % 2 == 0 else "model", parts=[types.Part(text=text)])
        for place, text in enumerate(_texts(number, messages))
    ]


def _bare_body(number: int) -> dict[str, object]:
    contents = [{"role": "user", "parts": [{"text": text}]} for text in _texts(number, 1)]
    return {"contents": contents, "systemInstruction": {"role": "user", "parts": [{"text": SYSTEM}]}}


def _rss_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    outcome = model_client(QUICK if "--quick" in sys.argv else Effort())
    save(outcome, SystemClock())
    print(table([outcome]))
