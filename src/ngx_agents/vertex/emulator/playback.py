"""Plays an answer on the wire: delays, pieces, and what a scripted fault does to them."""

from __future__ import annotations

import asyncio

import msgspec

from ngx_agents.vertex.emulator.exchange import Exchange
from ngx_agents.vertex.emulator.faults import Fault
from ngx_agents.vertex.emulator.prompt import Answer
from ngx_agents.vertex.emulator.writers import Surface

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
    if fault is None:
        return answer
    return msgspec.structs.replace(answer, **_spoiled(answer).get(fault.kind, {}))


class Playback:
    """One stream being sent, with `gap_s` before each frame but the first."""

    def __init__(self, exchange: Exchange, surface: Surface, fault: Fault | None, gap_s: float) -> None:
        self._exchange = exchange
        self._surface = surface
        self._fault = fault
        self._gap_s = gap_s

    async def play(self, frames: list[bytes]) -> bool:
        """Whether the client stayed to the end (a cut by script counts as staying)."""
        await self._exchange.start_stream(self._surface.content_type)
        fault = self._fault
        if fault is not None and fault.kind == "byte_split":
            return await self._split(b"".join(frames), fault.size_bytes)
        for number, frame in enumerate(frames):
            if number and self._gap_s:
                await asyncio.sleep(self._gap_s)
            if fault is not None and number == fault.at_chunk and not await self._misbehave(fault):
                return not self._exchange.is_gone or fault.kind == "cut"
            if self._exchange.is_gone:
                return False
            await self._exchange.write(frame)
        await self._exchange.finish()
        return True

    async def _misbehave(self, fault: Fault) -> bool:
        """Whether the stream goes on."""
        match fault.kind:
            case "cut":
                await self._exchange.cut()
                return False
            case "error_in_stream":
                await self._exchange.write(self._surface.error_in_stream(fault.status or 503, fault.message))
                await self._exchange.finish()
                return False
            case "stall_gap":
                return await self._exchange.wait(fault.delay_ms / 1000)
            case _:
                return True

    async def _split(self, data: bytes, size_bytes: int) -> bool:
        for start in range(0, len(data), size_bytes):
            await self._exchange.write(data[start : start + size_bytes])
            await asyncio.sleep(0)
            if self._exchange.is_gone:
                return False
        await self._exchange.finish()
        return True
