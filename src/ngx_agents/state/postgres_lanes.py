"""What the commands of a batch do to its lanes: decided in memory, on rows that are locked; nothing here does I/O.

A lane is the conversation's row as it was locked, with its open turns where a command needs them. A refusal changes
nothing. What was decided stands in `Changes`, one row for each thing, ready to be written at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ngx_agents.errors import ConversationBusy, IdempotencyConflict, JournalError, LeaseLost, NotFound, Overloaded
from ngx_agents.state import commands as c
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_changes import Changes
from ngx_agents.state.postgres_rows import Key, Lane, NewTurn, OpenTurn, shard_in, storable
from ngx_agents.state.task_columns import subject_of, task_columns

AGEING_S_PER_CLASS = 30.0
TITLE_CHARS = 80
encode_json = msgspec.json.Encoder().encode


class StaleFinish(Exception):
    """Not the holder's; unless it is the same end told again after its reply was lost, which the store knows."""


def needs_open_turns(lane: Lane, command: c.Command) -> bool:
    """Whether the row alone cannot tell: more turns are open than the one it names."""
    if isinstance(command, c.AcceptTurn) and command.when_busy == "enqueue":
        return False
    return isinstance(command, c.AcceptTurn | c.FinishTurn) and lane.pending > (lane.running is not None)


class LaneBatch:
    """`lanes` by conversation id, and `keys` that are known already; both as read under the lanes' locks.

    `profiles` are versions of the profiles of those who get a new conversation; None where that cannot be known.
    """

    def __init__(
        self,
        lanes: dict[str, Lane],
        keys: dict[Key, tuple[bytes, str]],
        profiles: dict[Owner, int] | None = None,
    ) -> None:
        self._lanes = lanes
        self._keys = keys
        self._profiles = profiles
        self.changes = Changes()

    def apply(self, command: c.Command) -> Any:
        """The command's result. Raises its typed errors, having changed nothing, and StaleFinish."""
        return _APPLY[type(command)](self, command)

    def _create(self, command: c.CreateConversation) -> None:
        if command.id in self._lanes:
            raise JournalError("a conversation of this id is there already")
        profile_version = None if self._profiles is None else self._profiles.get(command.owner, 0)
        lane = Lane(
            shard=shard_in(command.id), id=command.id, owner=command.owner, title=storable(command.title),
            created_at=command.now, updated_at=command.now, profile_version=profile_version,
            is_listed=command.is_listed,
        )  # fmt: skip
        self._lanes[command.id] = lane
        self.changes.new_lanes[command.id] = lane

    def _accept(self, command: c.AcceptTurn) -> c.Accepted:
        known = self.known(command)
        if known is not None:
            return known
        lane = self._lanes.get(command.conversation_id)
        if lane is None or lane.owner != command.owner:
            raise NotFound("no such conversation")
        busy = first_open(lane)
        if busy is not None and command.when_busy == "reject":
            raise ConversationBusy(busy)
        if lane.pending > command.max_waiting:
            message = f"{command.max_waiting} turns of this conversation are waiting"
            raise Overloaded(message, retry_after_s=5.0)
        interrupt = busy if command.when_busy == "interrupt" else None
        accepted = self._append(lane, command, interrupt)
        if interrupt is not None:
            self._request_cancel(lane, interrupt)
        return accepted

    def known(self, command: c.AcceptTurn) -> c.Accepted | None:
        """What the command's key gave before. Raises IdempotencyConflict."""
        if command.idempotency_key is None:
            return None
        key = (command.owner.tenant, command.owner.user, command.idempotency_key)
        known = self._keys.get(key)
        if known is None:
            return None
        if known[0] != command.idempotency_hash:
            raise IdempotencyConflict("this idempotency key was used with another request")
        return c.Accepted(turn_id=known[1], position=0, replayed=True)

    def _append(self, lane: Lane, command: c.AcceptTurn, interrupt: str | None) -> c.Accepted:
        position, number = lane.pending, lane.next_turn
        granted = position == 0 and command.grant_to is not None
        sort_key = command.now + command.behind_s + command.turn_class * AGEING_S_PER_CLASS
        lane.sort_key = sort_key if position == 0 else min(lane.sort_key, sort_key)
        lane.next_turn += 1
        lane.pending += 1
        lane.updated_at = command.now
        text = storable(command.text)
        lane.title = lane.title or text[:TITLE_CHARS]
        if position == 0:
            lane.lane_owner = command.grant_to
        if granted:
            lane.epoch += 1
            lane.running = command.turn_id
        self.changes.lanes[lane.id] = lane
        self._add_turn(lane, command, text, granted=granted)
        seq = 2 * number - 1
        self.changes.messages.append(
            (lane.shard, lane.id, seq, command.message_id, "user", text, command.now, command.turn_id, None, None)
        )
        self._remember_key(command)
        return c.Accepted(
            turn_id=command.turn_id, position=position, user_seq=seq, epoch=lane.epoch if granted else None,
            interrupt=interrupt, profile_version=lane.profile_version,
        )  # fmt: skip

    def _add_turn(self, lane: Lane, command: c.AcceptTurn, text: str, *, granted: bool) -> None:
        turn = OpenTurn(
            id=command.turn_id, number=lane.next_turn - 1, turn_class=command.turn_class, accepted_at=command.now,
            deadline_at=command.deadline_at, attempts=int(granted), is_running=granted, agent=command.agent,
            locale=command.locale, text=text, attachments=command.attachments, task=task_columns(command),
            is_watched=command.push is not None and command.push.kind == "turn", trail=command.trail,
        )  # fmt: skip
        if command.push is not None:
            self.changes.add_webhook(lane.shard, subject_of(command), command.push)
        if lane.open_turns is not None:
            lane.open_turns.append(turn)
        self.changes.new_turns[turn.id] = NewTurn(lane=lane, turn=turn, epoch=lane.epoch if granted else 0)

    def _remember_key(self, command: c.AcceptTurn) -> None:
        if command.idempotency_key is None:
            return
        key = (command.owner.tenant, command.owner.user, command.idempotency_key)
        self._keys[key] = (command.idempotency_hash, command.turn_id)
        self.changes.add_key(key, command.idempotency_hash, command.turn_id, command.now)

    def _request_cancel(self, lane: Lane, turn_id: str) -> None:
        for turn in lane.open_turns or ():
            if turn.id == turn_id:
                turn.cancel_requested = True
        self.changes.of_turn(lane.shard, turn_id).cancel_requested = True

    def _held(self, conversation_id: str, turn_id: str, epoch: int) -> Lane:
        lane = self._lanes.get(conversation_id)
        if lane is None or lane.epoch != epoch or lane.running != turn_id:
            raise LeaseLost(f"turn {turn_id} was granted to another owner")
        return lane

    def _finish(self, command: c.FinishTurn) -> c.Finished:
        try:
            lane = self._held(command.conversation_id, command.turn_id, command.epoch)
        except LeaseLost as lost:
            raise StaleFinish from lost
        stored = command.answer if command.message is None else msgspec.structs.replace(command.answer, text="")
        ended = encode_json(stored)
        artifacts = [self.changes.artifact_row(command, artifact) for artifact in command.artifacts]
        self.changes.end_turn(lane.shard, command, ended)
        self.changes.artifacts.extend(artifacts)
        if command.message is not None:
            self.changes.add_answer(lane.shard, command, command.message)
        lane.pending -= 1
        lane.lane_owner = lane.running = None
        lane.updated_at = command.now
        lane.open_turns = [turn for turn in lane.open_turns or () if turn.id != command.turn_id]
        self.changes.lanes[lane.id] = lane
        following = self._follow(lane, command.grant_to) if lane.pending > 0 else None
        return c.Finished(message_seq=command.user_seq + 1 if command.message is not None else None, next=following)

    def _follow(self, lane: Lane, instance: str | None) -> c.Grant | None:
        if not lane.open_turns:
            return None
        first = lane.open_turns[0]
        lane.sort_key = first.accepted_at + first.turn_class * AGEING_S_PER_CLASS
        return self.grant(lane, first, instance) if instance is not None else None

    def grant(self, lane: Lane, turn: OpenTurn, instance: str) -> c.Grant:
        """Gives the lane, with its first open turn, to the instance. `text` of the grant may have to be read yet."""
        lane.lane_owner, lane.running = instance, turn.id
        lane.epoch += 1
        turn.attempts += 1
        turn.is_running = True
        self.changes.lanes[lane.id] = lane
        self.changes.grant_turn(lane.shard, turn.id, lane.epoch)
        if turn.text is None:
            self.changes.texts_to_read[turn.id] = (lane.shard, lane.id, 2 * turn.number - 1)
        return c.Grant(
            conversation_id=lane.id, owner=lane.owner, turn_id=turn.id, epoch=lane.epoch, attempts=turn.attempts,
            text=turn.text or "", turn_class=turn.turn_class, accepted_at=turn.accepted_at,
            deadline_at=turn.deadline_at, user_seq=2 * turn.number - 1, cancel_requested=turn.cancel_requested,
            agent=turn.agent, locale=turn.locale, profile_version=lane.profile_version,
            attachments=turn.attachments, trail=turn.trail,
        )  # fmt: skip

    def _save_checkpoint(self, command: c.SaveCheckpoint) -> None:
        lane = self._held(command.conversation_id, command.turn_id, command.epoch)
        self.changes.checkpoints[command.turn_id, command.key] = (lane.shard, command.value)

    def _release(self, command: c.ReleaseLane) -> None:
        lane = self._lanes.get(command.conversation_id)
        if lane is not None and lane.epoch == command.epoch:
            lane.lane_owner = None
            self.changes.lanes[lane.id] = lane


def first_open(lane: Lane) -> str | None:
    """The running turn, else the one that is next; None when the lane is idle."""
    if lane.pending == 0:
        return None
    return lane.running or (lane.open_turns[0].id if lane.open_turns else None)


_APPLY: dict[type, Callable[[LaneBatch, Any], Any]] = {
    c.CreateConversation: LaneBatch._create,
    c.AcceptTurn: LaneBatch._accept,
    c.FinishTurn: LaneBatch._finish,
    c.SaveCheckpoint: LaneBatch._save_checkpoint,
    c.ReleaseLane: LaneBatch._release,
}
LANE_COMMANDS = frozenset(_APPLY)
