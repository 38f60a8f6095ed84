"""What was accepted here alone, laid over the journal until it is there: lanes, turns, messages, artifacts. No I/O.

Lanes are decided by the same functions as the journal's own. `decide` changes the lane and says how to undo that;
`record` makes it visible, once it is safe on disk. One owner's calls come one after the other.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections import ChainMap
from collections.abc import Callable
from typing import Any, cast

import msgspec

from ngx_agents.errors import LeaseLost
from ngx_agents.state import commands as c
from ngx_agents.state.local_acceptance_entries import Entry, LocalCommand
from ngx_agents.state.local_acceptance_known import KnownLane
from ngx_agents.state.model import Artifact, Message, Owner, Turn
from ngx_agents.state.postgres_lanes import LaneBatch, StaleFinish
from ngx_agents.state.postgres_rows import Key, Lane, OpenTurn, shard_in

Known = dict[Key, tuple[bytes, str]]


class Overlay:
    """`entries` are each owner's commands in their order, as they will be told to the journal."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.bases: dict[str, KnownLane] = {}
        self.created: dict[str, c.CreateConversation] = {}
        self.turns: dict[str, Turn] = {}
        self.messages: dict[str, list[Message]] = {}
        self.artifacts: dict[str, tuple[Owner, Artifact]] = {}
        self.checkpoints: dict[str, dict[str, bytes]] = {}
        self.entries: dict[Owner, list[Entry]] = {}
        self._keys: Known = {}

    def enter(self, conversation_id: str, known: KnownLane) -> None:
        """Takes in a lane of the journal as it was when it was last heard of."""
        lane = Lane(
            shard=shard_in(conversation_id), id=conversation_id, owner=known.owner, title=" ",
            next_turn=known.next_turn, epoch=known.epoch, open_turns=[],
        )  # fmt: skip
        if known.running is not None and lane.open_turns is not None:
            lane.pending, lane.running = 1, known.running
            only = OpenTurn(id=known.running, number=0, turn_class=0, accepted_at=0, deadline_at=0, is_running=True)
            lane.open_turns.append(only)
        self.lanes[conversation_id] = lane
        self.bases[conversation_id] = known
        self.messages[conversation_id] = [known.asked] if known.asked is not None else []

    def leave(self, conversation_id: str) -> None:
        """Undoes `enter` for a lane of which nothing was recorded."""
        for kept in (self.lanes, self.bases, self.messages):
            cast("dict[str, Any]", kept).pop(conversation_id, None)

    def decide(self, command: LocalCommand, known_keys: Known) -> tuple[Any, Callable[[], None] | None]:
        """The command's result, and what undoes it: None when it was told before, and nothing was changed.

        Raises the command's typed errors, having changed nothing.
        """
        lane_id = command.id if isinstance(command, c.CreateConversation) else command.conversation_id
        before = _copied(self.lanes.get(lane_id))
        keys = cast("Known", ChainMap(self._keys, known_keys))
        try:
            result = LaneBatch(self.lanes, keys).apply(command)
        except StaleFinish:
            assert isinstance(command, c.FinishTurn)
            return self._finished_before(command), None

        if isinstance(result, c.Accepted) and result.replayed:
            return result, None

        def undo() -> None:
            if before is None:
                self.lanes.pop(lane_id, None)
            else:
                self.lanes[lane_id] = before
            if isinstance(command, c.AcceptTurn) and command.idempotency_key is not None:
                self._keys.pop((command.owner.tenant, command.owner.user, command.idempotency_key), None)

        return _marked(result), undo

    def record(self, entry: Entry, result: Any) -> None:
        """Makes visible what was decided and is safe now."""
        command = entry.command
        self.entries.setdefault(command.owner, []).append(entry)
        match command:
            case c.CreateConversation():
                self.created[command.id] = command
                self.messages.setdefault(command.id, [])
            case c.AcceptTurn():
                self._accepted(command, result)
            case c.FinishTurn():
                self._finished(command)
                if result.next is not None:
                    self.granted(result.next)

    def restore(self, entry: Entry) -> None:
        """What a former process recorded. Nobody runs its open turns: they wait to be claimed."""
        command = entry.command
        lane_id = entry.conversation_id
        if entry.base is not None:
            self.enter(lane_id, entry.base)
        if isinstance(command, c.AcceptTurn):
            command = msgspec.structs.replace(command, grant_to=None)
        if isinstance(command, c.FinishTurn):
            command = msgspec.structs.replace(command, grant_to=None)
            lane = self.lanes[lane_id]
            lane.running, lane.epoch = command.turn_id, command.epoch
        result, undo = self.decide(command, {})
        if undo is not None:
            self.record(Entry(origin=entry.origin, command=command, base=entry.base), result)

    def claim(self, limit: int, instance: str, *, is_at_rest: Callable[[Owner], bool]) -> list[c.Grant]:
        """Grants lanes that nobody runs, most urgent first; not of an owner of whom something is being taken."""
        free = [
            lane
            for lane in self.lanes.values()
            if lane.pending > 0
            and lane.lane_owner is None
            and lane.running is None
            and lane.open_turns
            and is_at_rest(lane.owner)
        ]
        free.sort(key=lambda lane: lane.sort_key)
        grants = []
        for lane in free[:limit]:
            assert lane.open_turns is not None
            grants.append(LaneBatch(self.lanes, {}).grant(lane, lane.open_turns[0], instance))
            self.granted(grants[-1])
        return grants

    def release(self, lane_id: str, epoch: int) -> None:
        lane = self.lanes.get(lane_id)
        if lane is not None and lane.epoch == epoch:
            lane.lane_owner = lane.running = None

    def granted(self, grant: c.Grant) -> None:
        turn = self.turns[grant.turn_id]
        running = msgspec.structs.replace(turn, status="running", epoch=grant.epoch, attempts=grant.attempts)
        self.turns[grant.turn_id] = running

    def forget(self, owner: Owner) -> None:
        """Everything of the owner is in the journal, or kept aside."""
        for entry in self.entries.pop(owner, []):
            command = entry.command
            self.leave(entry.conversation_id)
            self.created.pop(entry.conversation_id, None)
            if isinstance(command, c.CreateConversation):
                continue
            self.turns.pop(command.turn_id, None)
            self.checkpoints.pop(command.turn_id, None)
            if isinstance(command, c.FinishTurn):
                for artifact in command.artifacts:
                    self.artifacts.pop(artifact.id, None)
            elif command.idempotency_key is not None:
                self._keys.pop((owner.tenant, owner.user, command.idempotency_key), None)

    def _accepted(self, command: c.AcceptTurn, accepted: c.Accepted) -> None:
        is_running = accepted.epoch is not None
        self.turns[command.turn_id] = Turn(
            id=command.turn_id, conversation_id=command.conversation_id, owner=command.owner,
            status="running" if is_running else "queued", text=command.text, seq=accepted.user_seq,
            accepted_at=command.now, deadline_at=command.deadline_at, turn_class=command.turn_class,
            locale=command.locale, agent=command.agent, attempts=int(is_running), epoch=accepted.epoch or 0,
            attachments=command.attachments, trail=command.trail,
        )  # fmt: skip
        asked = Message(
            id=command.message_id, seq=accepted.user_seq, role="user", text=command.text, created_at=command.now,
            turn_id=command.turn_id,
        )  # fmt: skip
        self.messages[command.conversation_id].append(asked)

    def _finished(self, command: c.FinishTurn) -> None:
        answer = msgspec.structs.replace(command.answer, durability="local")
        turn = self.turns.get(command.turn_id) or self._turn_of_journal(command)
        self.turns[command.turn_id] = msgspec.structs.replace(
            turn, status=command.status, answer=answer, finished_at=command.now, last_seq=command.last_seq
        )
        if command.message is not None:
            said = msgspec.structs.replace(
                command.message, seq=command.user_seq + 1, rung=answer.rung, model=answer.model,
                degraded=answer.degraded, derived=None,
            )  # fmt: skip
            # nearly at the end: what was asked meanwhile comes after it
            bisect.insort(self.messages[command.conversation_id], said, key=lambda message: message.seq)
        for artifact in command.artifacts:
            self.artifacts[artifact.id] = (command.owner, artifact)
        self.checkpoints.pop(command.turn_id, None)

    def _turn_of_journal(self, command: c.FinishTurn) -> Turn:
        """A turn that the journal had granted before it was away."""
        asked = self.bases[command.conversation_id].asked
        return Turn(
            id=command.turn_id, conversation_id=command.conversation_id, owner=command.owner, status="running",
            text=asked.text if asked is not None else "", seq=command.user_seq,
            accepted_at=asked.created_at if asked is not None else command.now, deadline_at=command.now, turn_class=1,
            attempts=1, epoch=command.epoch,
        )  # fmt: skip

    def _finished_before(self, command: c.FinishTurn) -> c.Finished:
        """The same end told again. Raises LeaseLost for any other."""
        turn = self.turns.get(command.turn_id)
        told = (command.status, command.epoch, command.last_seq, command.now)
        if turn is None or (turn.status, turn.epoch, turn.last_seq, turn.finished_at) != told:
            raise LeaseLost(f"turn {command.turn_id} was granted to another owner")
        seq = command.user_seq + 1 if command.message is not None else None
        return c.Finished(message_seq=seq, durability="local")


def _copied(lane: Lane | None) -> Lane | None:
    if lane is None:
        return None
    turns = None if lane.open_turns is None else [dataclasses.replace(turn) for turn in lane.open_turns]
    return dataclasses.replace(lane, open_turns=turns)


def _marked(result: Any) -> Any:
    if isinstance(result, c.Accepted | c.Finished):
        return msgspec.structs.replace(result, durability="local")
    return result
