"""The event stream of one turn in memory: what was said so far, and who is listening.

The turn's runner produces; any number of subscriptions consume, each at its own pace, without a task or queue of its
own: a subscription is a place in the list of frames. The frames are bounded; a listener that falls behind the oldest
kept one is told `text.reset` and gets the text so far as one delta. Deltas that come within a few milliseconds leave
as one event, the first one at once. Frames are encoded when somebody listens, not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ngx_agents.state.model import Artifact
from ngx_agents.turns.events import ELSEWHERE, HEARTBEAT, artifact_data, frame, parse_event_id

GATHER_S = 0.004


NO_EPOCH = -1  # of events that are told without an id


class _Event:
    __slots__ = ("bytes", "data", "epoch", "name", "sequence")

    def __init__(self, epoch: int, sequence: int, name: str, data: Any) -> None:
        self.epoch = epoch
        self.sequence = sequence
        self.name = name
        self.data = data
        self.bytes: bytes | None = None

    def encoded(self) -> bytes:
        if self.bytes is None:
            event_id = None if self.epoch == NO_EPOCH else f"{self.epoch}-{self.sequence}"
            self.bytes = frame(self.name, self.data, event_id)
        return self.bytes


class TurnStream:
    """`held_events` is how many frames are kept for those who come late or come back."""

    __slots__ = (
        "_dropped", "_events", "_flush_timer", "_gathered", "_gathering_agent", "_held_events", "_last_flush_s",
        "_listeners", "_loop", "_text", "artifacts", "closed", "epoch", "is_abandoned", "sequence",
    )  # fmt: skip

    def __init__(self, held_events: int) -> None:
        self.epoch = 0
        self.sequence = 0
        self.closed = False
        self.is_abandoned = False
        self.artifacts: list[Artifact] = []
        self._held_events = held_events
        self._events: list[_Event] = []
        self._dropped = 0
        self._text: list[tuple[str, str]] = []
        self._gathered: list[str] = []
        self._gathering_agent = ""
        self._flush_timer: asyncio.TimerHandle | None = None
        self._last_flush_s = 0.0
        self._listeners: list[Subscription] = []
        self._loop = asyncio.get_running_loop()

    @property
    def text(self) -> str:
        """All text that stands: what a reset withdrew is gone."""
        return "".join(text for text, _ in self._text) + "".join(self._gathered)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def start_epoch(self, epoch: int) -> None:
        """A grant begins; what an earlier grant said is withdrawn for those who heard it."""
        withdrawn = self._text or self._gathered
        self.epoch = epoch
        if withdrawn:
            self.reset("retaken")

    def publish(self, name: str, data: Any) -> None:
        self._flush()
        self._append(name, data)
        self._wake()

    def say(self, text: str, agent: str) -> None:
        """A piece of the answer. Empty pieces are not events."""
        if not text:
            return
        if agent != self._gathering_agent:
            self._flush()
            self._gathering_agent = agent
        self._gathered.append(text)
        if self._flush_timer is None:
            wait_s = self._last_flush_s + GATHER_S - self._loop.time()
            if wait_s <= 0:
                self._flush()
                self._wake()
            else:
                self._flush_timer = self._loop.call_later(wait_s, self._flush_late)

    def ask(self, text: str, agent: str, *, outcome: str) -> None:
        """What the answer says in place of an answer: marked, so that listeners need not take it for one."""
        self._flush()
        self.mirror((self.epoch, self.sequence + 1), "text.delta", {"text": text, "agent": agent, "outcome": outcome})

    def reset(self, reason: str) -> None:
        """Withdraws all text so far."""
        self._gathered.clear()
        self._text.clear()
        self.publish("text.reset", {"reason": reason})

    def add_artifact(self, artifact: Artifact) -> None:
        self.artifacts.append(artifact)
        self.publish("artifact", artifact_data(artifact))

    @property
    def last_id(self) -> str | None:
        """The id of the last event that has one, None before the first grant's."""
        return f"{self.epoch}-{self.sequence}" if self.epoch else None

    def place(self, epoch: int, sequence: int) -> None:
        """The next event gets this id."""
        self.epoch, self.sequence = epoch, sequence - 1

    def mirror(self, event_id: tuple[int, int] | None, name: str, data: Any) -> None:
        """An event of the same turn on another instance, under the id that it has there."""
        if name == "text.reset":
            self._text.clear()
        elif name == "text.delta":
            self._text.append((data["text"], data["agent"] or ""))
        elif name == "artifact":
            self.artifacts.append(_artifact_of(data))
        if event_id is None:
            self._append(name, data, epoch=NO_EPOCH)
        else:
            self.place(*event_id)
            self._append(name, data)
        self._wake()

    def catch_up(self, said: dict[str, Any], artifacts: Sequence[Artifact]) -> None:
        """What was missed of an answer whose end is known: the difference is withdrawn and said, without ids."""
        known = {artifact.id for artifact in self.artifacts}
        for artifact in artifacts:
            if artifact.id not in known:
                self.mirror(None, "artifact", artifact_data(artifact))
        if self.text != said["text"]:
            if self.text:
                self.mirror(None, "text.reset", {"reason": "corrected"})
            self.mirror(None, "text.delta", said)

    def next_sequence(self) -> int:
        """The sequence of the next event, all text so far being one already."""
        self._flush()
        return self.sequence + 1

    def close(self, name: str, data: Any) -> None:
        """The terminal event; nothing follows."""
        self.publish(name, data)
        self.closed = True
        self._wake()

    def abandon(self) -> None:
        """Ends the stream without a terminal event: the turn went elsewhere, listeners come back and are sent there."""
        self._flush()
        self.closed = self.is_abandoned = True
        self._wake()

    def subscribe(self, last_event_id: str | None) -> Subscription:
        """Raises InvalidRequest for an id that this server never sends."""
        listener = Subscription(self, *self._resume(last_event_id))
        self._listeners.append(listener)
        return listener

    def leave(self, listener: Subscription) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def beat(self) -> None:
        """A heartbeat for every listener that has nothing else to read."""
        for listener in self._listeners:
            listener.beat()

    def frames_from(self, index: int) -> tuple[bytes, int]:
        """Frames at and after the absolute `index`, and the index to go on from."""
        prefix = b""
        if index < self._dropped:
            prefix, index = self._snapshot("behind"), self._dropped
        fresh = self._events[index - self._dropped :]
        return prefix + b"".join([event.encoded() for event in fresh]), self._dropped + len(self._events)

    def _resume(self, last_event_id: str | None) -> tuple[bytes, int]:
        """What to send first, and the absolute index to go on from."""
        self._flush()
        if not last_event_id:
            return (self._snapshot(None) if self._dropped else b""), self._dropped
        epoch, sequence = parse_event_id(last_event_id)
        for offset, event in enumerate(self._events):
            if (event.epoch, event.sequence) == (epoch, sequence):
                return b"", self._dropped + offset + 1
        if epoch == 0 and not self._dropped:
            return b"", 0
        prefix = self._snapshot("resumed") if self._dropped else frame("text.reset", {"reason": "resumed"}, None)
        return prefix, self._dropped

    def _snapshot(self, reset_reason: str | None) -> bytes:
        """What was said in frames that are no longer kept, without ids: asked again it is simply sent again."""
        frames = [frame("text.reset", {"reason": reset_reason}, None)] if reset_reason else []
        kept = [event.name for event in self._events]
        if "text.reset" not in kept:
            lost = self._text[: len(self._text) - kept.count("text.delta")]
            frames.extend(frame("text.delta", {"text": text, "agent": agent}, None) for text, agent in lost)
        lost_artifacts = self.artifacts[: len(self.artifacts) - kept.count("artifact")]
        frames.extend(frame("artifact", artifact_data(artifact), None) for artifact in lost_artifacts)
        return b"".join(frames)

    def _append(self, name: str, data: Any, *, epoch: int | None = None) -> None:
        if epoch is None:
            self.sequence += 1
        self._events.append(_Event(self.epoch if epoch is None else epoch, self.sequence, name, data))
        if len(self._events) > self._held_events:
            half = len(self._events) // 2
            self._dropped += half
            del self._events[:half]

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if self._gathered:
            text = "".join(self._gathered)
            self._gathered.clear()
            self._text.append((text, self._gathering_agent))
            self._last_flush_s = self._loop.time()
            self._append("text.delta", {"text": text, "agent": self._gathering_agent})

    def _flush_late(self) -> None:
        self._flush()
        self._wake()

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.wake()


def _artifact_of(data: dict[str, Any]) -> Artifact:
    """As far as listeners are told of it."""
    return Artifact(
        id=data["id"],
        agent="",
        kind=data["kind"],
        title=data["title"],
        data=data["data"],
        created_at=0.0,
        turn_id="",
        conversation_id="",
    )


class Subscription:
    """One listener: `read` until None, then (or when the client left) `close`."""

    __slots__ = ("_beat", "_index", "_is_sent_away", "_prefix", "_stream", "_waiter")

    def __init__(self, stream: TurnStream, prefix: bytes, index: int) -> None:
        self._stream = stream
        self._prefix = prefix
        self._index = index
        self._waiter: asyncio.Future[None] | None = None
        self._beat = False
        self._is_sent_away = False

    async def read(self) -> bytes | None:
        """Whole SSE frames, as many as there are; None after the terminal one, or after ELSEWHERE when the turn goes on
        without this instance. One reader at a time."""
        while True:
            frames, self._index = self._stream.frames_from(self._index)
            if self._prefix or frames:
                frames, self._prefix, self._beat = self._prefix + frames, b"", False
                return frames
            if self._stream.closed:
                if not self._stream.is_abandoned or self._is_sent_away:
                    return None
                self._is_sent_away = True
                return ELSEWHERE
            if self._beat:
                self._beat = False
                return HEARTBEAT
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def close(self) -> None:
        self._stream.leave(self)

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def beat(self) -> None:
        self._beat = True
        self.wake()
