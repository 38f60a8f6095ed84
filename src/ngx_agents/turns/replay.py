"""The stream of a turn that has ended, told from the journal: everything at once, exactly one terminal event."""

from __future__ import annotations

from ngx_agents.state.model import Turn
from ngx_agents.turns.events import artifact_data, frame, parse_event_id, terminal, text_data
from ngx_agents.turns.model import TurnView

ACCEPTED = 1
"""The sequence of `turn.accepted`: what comes after it without a grant is the end of a turn that never started."""


class Replay:
    """Reads like a subscription. Only the last frame has an id: a client that comes back before it hears all again."""

    __slots__ = ("_frames",)

    def __init__(self, turn: Turn, view: TurnView, last_event_id: str | None) -> None:
        """Raises InvalidRequest for an event id that this server never sends."""
        self._frames: bytes | None = _frames(turn, view, last_event_id)

    async def read(self) -> bytes | None:
        frames, self._frames = self._frames, None
        return frames

    def close(self) -> None:
        self._frames = None


def _frames(turn: Turn, view: TurnView, last_event_id: str | None) -> bytes | None:
    last_id = f"{turn.epoch}-{turn.last_seq}"
    if last_event_id:
        epoch, sequence = parse_event_id(last_event_id)
        if last_event_id.strip() == last_id or (epoch == turn.epoch == 0 and sequence > ACCEPTED):
            return None
        frames = [frame("text.reset", {"reason": "resumed"}, None)]
    else:
        accepted = {"turn_id": turn.id, "conversation_id": turn.conversation_id, "position": 0}
        accepted["durability"] = turn.answer.durability if turn.answer is not None else "journal"
        frames = [frame("turn.accepted", accepted, None)]
    if view.text:
        frames.append(frame("text.delta", text_data(view), None))
    frames.extend(frame("artifact", artifact_data(artifact), None) for artifact in view.artifacts)
    name, data = terminal(view)
    frames.append(frame(name, data, last_id))
    return b"".join(frames)
