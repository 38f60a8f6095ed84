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

from ngx_agents.a2a.mailbox import STANDING_S, STANDING_WAIT_S

MAX_ATTEMPTS = 3
MAX_PARCEL_BYTES = 2**20
LOOK_AGAIN_S = 2.0
FrameKind = Literal["piece", "done", "error"]


class Fault(msgspec.Struct, array_like=True, frozen=True):
    """One of our errors, by the name of its class."""

    name: str
    message: str
    fields: dict[str, str | int | float | bool | None] = {}


class Parcel(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A message between processes. `id` is the agent's name, a colon and the message's id; `remaining_s` counts from
    when it was posted; the carrier fills in `reply_to` and `posted_at_s` (Unix seconds)."""

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
    posted_at_s: float = 0.0


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


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a parcel has waited and may wait at most; less, when its queue has not been empty for long (CoDel)."""

    waited_s: float
    max_wait_s: float


def patience_left_s(patience: Patience, *, standing_s: float) -> float:
    """How long a waiting parcel may still wait, as a mailbox would have it; 0 or less: no longer. `standing_s` is how
    long its queue has not been empty."""
    usual_s = patience.max_wait_s - patience.waited_s
    shortened_s = max(STANDING_S - standing_s, min(patience.max_wait_s, STANDING_WAIT_S) - patience.waited_s)
    return min(usual_s, shortened_s)


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
        """A full queue gives up the newest waiting parcel of the least urgent class for a more urgent one, and tells
        its caller. Raises AgentBusy (full of what is as urgent), AgentAbsent (no process serves it),
        SharedUnavailable, InvalidRequest (size)."""
        ...

    async def reply(self, delivery: Delivery, frame: Frame) -> None:
        """Sends a part of the reply; one that is not a piece is the last. Raises SharedUnavailable."""
        ...

    async def cancel(self, parcel_id: str, *, patience: Patience | None = None) -> float:
        """0.0 when a parcel of ours still waited and was withdrawn; if not, its holder is told to stop.

        With `patience` it is withdrawn only when it has waited too long, or when its holder has fallen silent and
        nobody has taken it over; nobody is told, and the answer is in how many seconds another look is worth it.
        Best effort: raises nothing of the carrier's."""
        ...
