"""The seam over which messages reach agents in other processes.

Contract, for every implementation (proved by `tests/a2a/carrier_conformance.py`):
- A parcel that `post` accepted is delivered at least once to one of the processes that `serve` its agent, or its
  caller's time runs out. Volatile by design: what is lost with the carrier itself, the journal re-drives.
- A delivery is held by whoever got it, for as long as that process lives, until its last frame was replied: that
  acknowledges it. When the holder dies it is delivered again, with `attempt` one higher; after `MAX_ATTEMPTS` it is a
  dead letter and its caller is told.
- Frames arrive at most once each, in order within an attempt; several attempts may answer: the receiver takes one.
- Producers: any number of tasks of one loop. The receiver's methods are called in that loop and do not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

MAX_ATTEMPTS = 3
MAX_PARCEL_BYTES = 2**20
FrameKind = Literal["piece", "done", "error"]


class Fault(msgspec.Struct, array_like=True, frozen=True):
    """One of our errors, by the name of its class."""

    name: str
    message: str
    fields: dict[str, str | int | float | bool | None] = {}


class Parcel(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A message between processes. `id` is the agent's name, a colon and the message's id; `remaining_s` counts from
    when it was posted; the carrier fills in `reply_to`."""

    id: str
    agent: str
    turn_class: int
    depth: int
    remaining_s: float
    payload: msgspec.Raw
    reply_to: str = ""
    wants_reply: bool = True
    wants_pieces: bool = False
    traceparent: str | None = None
    tokens_left: int | None = None
    cost_usd_left: float | None = None
    calls_left: int = 0


class Frame(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A part of a reply; `seq` counts from 0 within an attempt. The last one tells what was spent."""

    id: str
    kind: FrameKind
    attempt: int
    seq: int
    payload: msgspec.Raw = msgspec.Raw(b"\xc0")
    fault: Fault | None = None
    tokens_spent: int = 0
    cost_usd_spent: float = 0.0
    calls_made: int = 0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel that has come. `receipt` is the carrier's own; `age_s` is since it was posted. `is_mute`: its end is
    to be acknowledged, not told."""

    parcel: Parcel
    receipt: str
    attempt: int
    age_s: float
    is_mute: bool = False


class Receiver(Protocol):
    """The process's end of the carrier."""

    def deliver(self, delivery: Delivery) -> None: ...

    def replied(self, frame: Frame) -> None: ...

    def cancelled(self, parcel_id: str) -> None:
        """Nobody waits for it any more, or another process has it now."""
        ...


class Room:
    """How many more parcels an agent takes; `changed` is set whenever that may have grown."""

    def __init__(self, count: Callable[[], int]) -> None:
        self.count = count
        self.changed = asyncio.Event()
        self.is_open = True  # False: the agent takes nothing any more

    async def free(self) -> int:
        """Waits until there is some."""
        while (free := self.count()) <= 0:
            self.changed.clear()
            await self.changed.wait()
        return free


class Carrier(Protocol):
    async def open(self, receiver: Receiver, *, capacity: int) -> None:
        """Starts. `capacity` is how many parcels may lie unfinished for one agent. Raises ConfigError."""
        ...

    async def close(self) -> None:
        """Takes no more; what is held and was not answered is free for others at once."""
        ...

    async def serve(self, agent: str, room: Room) -> None:
        """Takes parcels for `agent` from now on, the most urgent first, while there is room."""
        ...

    async def post(self, parcel: Parcel) -> None:
        """Raises AgentBusy (full), AgentAbsent (no process serves it), SharedUnavailable, InvalidRequest (size)."""
        ...

    async def reply(self, delivery: Delivery, frame: Frame) -> None:
        """Sends a part of the reply; one that is not a piece is the last. Raises SharedUnavailable."""
        ...

    async def cancel(self, parcel_id: str, *, only_waiting: bool = False) -> bool:
        """Whether a parcel of ours still waited and was withdrawn; if not, its holder is told, unless `only_waiting`.
        With that, one whose holder has fallen silent, and that nobody has taken over, counts as waiting.
        Best effort: raises nothing of the carrier's."""
        ...
