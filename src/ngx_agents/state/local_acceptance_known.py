"""What this process knows of the journal's lanes from the commands that passed: enough to go on with one alone.

A lane is known while every turn of it was accepted and ended through here, or from the moment that an end said that
nothing waits. Whatever cannot be followed is forgotten, never guessed. Bounded; the least recently used go first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from ngx_agents.state import commands as c
from ngx_agents.state.model import Message, Owner
from ngx_agents.state.postgres_rows import Key
from ngx_agents.state.postgres_store import lane_of

MAX_LANES = 20_000
MAX_KEYS = 50_000


class KnownLane(msgspec.Struct, frozen=True, kw_only=True):
    """`next_turn` is the number that the next turn gets. `running` is a turn that this process holds, `asked` its
    question if it passed here; `waiting` more are queued behind it in the journal."""

    owner: Owner
    next_turn: int
    epoch: int
    running: str | None = None
    asked: Message | None = None
    waiting: int = 0


class KnownLanes:
    """`keys` are the idempotency keys that passed, with the hash and the turn of each."""

    def __init__(self, *, max_lanes: int = MAX_LANES) -> None:
        self.keys: OrderedDict[Key, tuple[bytes, str]] = OrderedDict()
        self._max_lanes = max_lanes
        self._lanes: OrderedDict[str, KnownLane] = OrderedDict()

    def get(self, conversation_id: str) -> KnownLane | None:
        return self._lanes.get(conversation_id)

    def learn(self, command: c.Command, result: Any) -> None:
        """To be told of every command that the journal carried out."""
        match command:
            case c.CreateConversation():
                self._put(command.id, KnownLane(owner=command.owner, next_turn=1, epoch=0))
            case c.AcceptTurn():
                self._accepted(command, result)
            case c.FinishTurn():
                self._finished(command, result)
            case c.SaveCheckpoint() | c.RecordEffect() | c.PutState() | c.PutBlob():
                pass
            case c.EraseUser():
                self._lanes.clear()
            case _:
                lane_id = lane_of(command) or getattr(command, "conversation_id", None)
                if lane_id is not None and not isinstance(command, c.AddLog):
                    self._lanes.pop(lane_id, None)

    def forget(self, conversation_id: str) -> None:
        self._lanes.pop(conversation_id, None)

    def _accepted(self, command: c.AcceptTurn, accepted: c.Accepted) -> None:
        if command.idempotency_key is not None:
            key = (command.owner.tenant, command.owner.user, command.idempotency_key)
            self.keys[key] = (command.idempotency_hash, accepted.turn_id)
            while len(self.keys) > MAX_KEYS:
                self.keys.popitem(last=False)
        if accepted.replayed or accepted.coalesced:
            return
        lane = self._lanes.get(command.conversation_id)
        following = (accepted.user_seq + 1) // 2 + 1
        if accepted.position > 0 and lane is not None:
            changed = msgspec.structs.replace(lane, next_turn=following, waiting=lane.waiting + 1)
            self._put(command.conversation_id, changed)
        elif accepted.epoch is not None:
            asked = Message(
                id=command.message_id, seq=accepted.user_seq, role="user", text=command.text, created_at=command.now,
                turn_id=command.turn_id,
            )  # fmt: skip
            fresh = KnownLane(
                owner=command.owner, next_turn=following, epoch=accepted.epoch, running=command.turn_id, asked=asked
            )
            self._put(command.conversation_id, fresh)
        else:
            self._lanes.pop(command.conversation_id, None)

    def _finished(self, command: c.FinishTurn, finished: c.Finished) -> None:
        lane = self._lanes.get(command.conversation_id)
        following = finished.next
        if following is None and command.grant_to is not None:
            next_turn = (command.user_seq + 1) // 2 + 1
            if lane is not None:
                next_turn = max(next_turn, lane.next_turn)
            idle = KnownLane(owner=command.owner, next_turn=next_turn, epoch=command.epoch)
            self._put(command.conversation_id, idle)
        elif following is not None and lane is not None and lane.waiting > 0:
            asked = Message(
                id="", seq=following.user_seq, role="user", text=following.text, created_at=following.accepted_at,
                turn_id=following.turn_id,
            )  # fmt: skip
            moved = msgspec.structs.replace(
                lane, epoch=following.epoch, running=following.turn_id, asked=asked, waiting=lane.waiting - 1
            )
            self._put(command.conversation_id, moved)
        else:
            self._lanes.pop(command.conversation_id, None)

    def _put(self, conversation_id: str, lane: KnownLane) -> None:
        self._lanes[conversation_id] = lane
        self._lanes.move_to_end(conversation_id)
        while len(self._lanes) > self._max_lanes:
            self._lanes.popitem(last=False)
