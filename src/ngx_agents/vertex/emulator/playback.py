"""Plays an answer on the wire: delays, pieces, and what a scripted fault does to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from ngx_agents.vertex.emulator.exchange import Exchange
from ngx_agents.vertex.emulator.faults import Fault
from ngx_agents.vertex.emulator.fields import names
from ngx_agents.vertex.emulator.prompt import Answer
from ngx_agents.vertex.emulator.refusal import TABLE, Refusal, named, usual
from ngx_agents.vertex.emulator.target import Target
from ngx_agents.vertex.emulator.writers import Surface

CONTENT_KINDS = names(
    "blocked_prompt empty_stop thought_only malformed_call safety unknown_finish no_finish usage_last line_separator"
)
LINE_SEPARATOR = "\u2028"


def _spoiled(answer: Answer) -> dict[str, dict[str, object]]:
    """What each fault of content changes in an answer."""
    silent: dict[str, object] = {"pieces": (), "calls": ()}
    text = "".join(answer.pieces)
    half = answer.pieces[: len(answer.pieces) // 2] or (text[: len(text) // 2],)
    separated = tuple(piece.replace(" ", LINE_SEPARATOR) for piece in answer.pieces)
    return {
        "blocked_prompt": {**silent, "blocked": True},
        "empty_stop": {**silent, "output_tokens": 0},
        "thought_only": {**silent, "thought": answer.thought or "…", "output_tokens": 0},
        "malformed_call": {**silent, "finish": "MALFORMED_FUNCTION_CALL"},
        "safety": {"pieces": half, "finish": "SAFETY"},
        "unknown_finish": {"finish": "UNHEARD_OF"},
        "no_finish": {"finish": ""},
        "usage_last": {"usage_apart": True},
        "line_separator": {"pieces": separated},
    }


def spoil(answer: Answer, fault: Fault | None) -> Answer:
    """The answer as a fault of content leaves it."""
    if fault is None or fault.kind not in CONTENT_KINDS:
        return answer
    return msgspec.structs.replace(answer, **_spoiled(answer).get(fault.kind, {}))


def refusal_of(fault: Fault, target: Target) -> Refusal:
    """The error that a fault of kind status, refusal or error_in_stream stands for."""
    facts = {**target.facts(), "cache": target.cache or "1234567890", "tokens": 1024, "minimum": 4096}
    if fault.kind == "refusal" or fault.name in TABLE:
        return named(str(fault.name), **facts)
    return usual(fault.status or 503, fault.message, **facts)


class Playback:
    """One stream being sent, with `gap_s()` before each frame but the first."""

    def __init__(self, exchange: Exchange, errors: Surface, fault: Fault | None, target: Target) -> None:
        self._exchange = exchange
        self._surface = errors
        self._fault = fault
        self._target = target

    async def play(self, frames: list[bytes], gap_s: Callable[[], float] | None) -> str:
        """How the stream ended: done, left by its reader, or broken by the fault."""
        exchange, fault = self._exchange, self._fault
        await exchange.start_stream(self._surface.content_type)
        if fault is not None and fault.kind == "byte_split":
            return await self._split(b"".join(frames), fault.size_bytes)
        if fault is None and gap_s is None:
            if not await exchange.write_all(frames):
                return "left"
            await exchange.finish()
            return "done"
        for number, frame in enumerate(frames):
            if number and gap_s is not None:
                await asyncio.sleep(gap_s())
            if fault is not None and number == fault.at_chunk and (end := await self._misbehave(fault)):
                return end
            if exchange.is_gone:
                return "left"
            await exchange.write(frame)
        await exchange.finish()
        return "done"

    async def _misbehave(self, fault: Fault) -> str | None:
        """How the fault ended the stream; None when it goes on."""
        match fault.kind:
            case "cut":
                await self._exchange.cut()
                return "broken"
            case "reset_in_stream":
                await self._exchange.reset()
                return "broken"
            case "error_in_stream":
                await self._exchange.write(self._surface.error_in_stream(refusal_of(fault, self._target)))
                await self._exchange.finish()
                return "broken"
            case "stall_gap":
                return None if await self._exchange.wait(fault.delay_ms / 1000) else "left"
            case _:
                return None

    async def _split(self, data: bytes, size_bytes: int) -> str:
        for start in range(0, len(data), size_bytes):
            await self._exchange.write(data[start : start + size_bytes])
            await asyncio.sleep(0)
            if self._exchange.is_gone:
                return "left"
        await self._exchange.finish()
        return "done"
