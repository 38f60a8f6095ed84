"""What a batch changes, gathered row by row and turned into the columns that multi-row statements take.

A row is written at most once in a batch, however many of its commands change it: new rows are completed before they
are written, changes of one row are merged.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Artifact, Message
from ngx_agents.state.postgres_rows import Key, Lane, NewTurn, TurnChange, shard_in, storable

_encode = msgspec.json.Encoder().encode


class Changes:
    """Everything that is to be written, by table."""

    def __init__(self) -> None:
        self.new_lanes: dict[str, Lane] = {}
        self.lanes: dict[str, Lane] = {}
        self.new_turns: dict[str, NewTurn] = {}
        self.turns: dict[str, TurnChange] = {}
        self.messages: list[tuple[Any, ...]] = []
        self.artifacts: list[tuple[Any, ...]] = []
        self.keys: list[tuple[Any, ...]] = []
        self.webhooks: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.checkpoints: dict[tuple[str, str], tuple[int, bytes]] = {}
        self.cleared: list[tuple[int, str]] = []
        self.texts_to_read: dict[str, tuple[int, str, int]] = {}

    def of_turn(self, shard: int, turn_id: str) -> TurnChange:
        new = self.new_turns.get(turn_id)
        if new is not None:
            new.ended = new.ended or TurnChange(shard=shard)
            return new.ended
        change = self.turns.get(turn_id)
        if change is None:
            change = self.turns[turn_id] = TurnChange(shard=shard)
        return change

    def grant_turn(self, shard: int, turn_id: str, epoch: int) -> None:
        change = self.of_turn(shard, turn_id)
        change.status, change.epoch = "running", epoch
        change.more_attempts += 1

    def end_turn(self, shard: int, command: c.FinishTurn, answer: bytes) -> None:
        change = self.of_turn(shard, command.turn_id)
        change.status, change.answer = command.status, answer
        change.finished_at, change.last_seq = command.now, command.last_seq
        if command.has_checkpoints:
            self.cleared.append((shard, command.turn_id))
            for place in [place for place in self.checkpoints if place[0] == command.turn_id]:
                del self.checkpoints[place]

    def add_answer(self, shard: int, command: c.FinishTurn, message: Message) -> None:
        self.messages.append(
            (shard, command.conversation_id, command.user_seq + 1, message.id, "assistant", storable(message.text),
             message.created_at, command.turn_id, message.agent, message.source)
        )  # fmt: skip

    def artifact_row(self, command: c.FinishTurn, artifact: Artifact) -> tuple[Any, ...]:
        return (
            max(shard_in(artifact.id), 0), artifact.id, command.owner.tenant, command.owner.user, command.turn_id,
            command.conversation_id, artifact.agent, artifact.kind, storable(artifact.title), _encode(artifact.data),
            artifact.created_at, artifact.version,
        )  # fmt: skip

    def add_key(self, key: Key, digest: bytes, turn_id: str, now: float) -> None:
        self.keys.append((shard_of(key[1]), *key, digest, turn_id, now))

    def add_webhook(self, shard: int, subject: str, config: c.PushConfig) -> None:
        row = (shard, subject, config.id, config.kind, config.url, config.body, config.created_at)
        self.webhooks[subject, config.id] = row

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Rows of each part of the writing statement that has any, in the order of the part's columns."""
        found: dict[str, list[tuple[Any, ...]]] = {
            "new_lanes": [
                (v.shard, v.id, v.owner.tenant, v.owner.user, v.title, v.created_at, v.updated_at, v.next_turn,
                 v.pending, v.epoch, v.lane_owner, v.running, v.sort_key, v.is_listed)
                for v in self.new_lanes.values()
            ],
            "lanes": [
                (v.shard, v.id, v.title, v.updated_at, v.next_turn, v.pending, v.epoch, v.lane_owner, v.running,
                 v.sort_key)
                for v in self.lanes.values() if v.id not in self.new_lanes
            ],
            "new_turns": [new_turn_row(new) for new in self.new_turns.values()],
            "turns": [
                (t.shard, turn_id, t.status, t.epoch, t.more_attempts, t.cancel_requested, t.answer, t.finished_at,
                 t.last_seq)
                for turn_id, t in self.turns.items()
            ],
            "webhooks": list(self.webhooks.values()),
            "messages": self.messages,
            "artifacts": self.artifacts,
            "keys": sorted(self.keys),
            "checkpoints": [(shard, *place, value) for place, (shard, value) in self.checkpoints.items()],
            "cleared": self.cleared,
        }  # fmt: skip
        return {part: rows for part, rows in found.items() if rows}


def new_turn_row(new: NewTurn) -> tuple[Any, ...]:
    """In the order of the statement's columns."""
    lane, turn, later = new.lane, new.turn, new.ended or TurnChange(shard=new.lane.shard)
    status = later.status or ("running" if turn.is_running else "queued")
    return (
        lane.shard, turn.id, lane.id, turn.number, lane.owner.tenant, lane.owner.user, status, turn.turn_class,
        turn.accepted_at, turn.deadline_at, turn.locale, turn.agent, turn.attempts, later.epoch or new.epoch,
        later.last_seq or 0, turn.cancel_requested, later.finished_at, later.answer, " ".join(turn.attachments) or None,
        *turn.task, turn.is_watched, turn.trail,
    )  # fmt: skip
