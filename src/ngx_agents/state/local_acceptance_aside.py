"""What was accepted locally and the journal then refused: kept in a file with the reason, for an operator to settle.

One JSON object a line, on disk before the local log lets go of it. A torn last line is what a crash left of a record
that is still in the log: it is skipped. The same command is kept once, however often its replay is refused.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.local_acceptance_entries import LocalCommand


class AsideRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`command` is the refused command as JSON-ready values; of bytes that no one can read, their base64."""

    id: str
    kind: str
    reason: str
    code: str
    at: float
    tenant: str = ""
    user: str = ""
    conversation_id: str = ""
    turn_id: str = ""
    command: Any = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AsideRecord).decode


class Aside:
    """`path` is the file; it is made when there is something to keep."""

    def __init__(self, path: Path, *, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now

    async def keep(self, command: LocalCommand, *, reason: str, code: str) -> None:
        """Durable when it returns. Raises JournalUnavailable when the disk takes nothing."""
        turn_id = "" if isinstance(command, c.CreateConversation) else command.turn_id
        lane_id = command.id if isinstance(command, c.CreateConversation) else command.conversation_id
        kind = type(command).__name__
        record = AsideRecord(
            id=f"{kind}:{turn_id or lane_id}", kind=kind, reason=reason, code=code, at=self._now(),
            tenant=command.owner.tenant, user=command.owner.user, conversation_id=lane_id, turn_id=turn_id,
            command=msgspec.to_builtins(command),
        )  # fmt: skip
        await asyncio.to_thread(self._append, record)

    async def keep_raw(self, payload: bytes, *, reason: str) -> None:
        """For what cannot be read as a command."""
        text = base64.b64encode(payload).decode()
        name = f"record:{hashlib.sha256(payload).hexdigest()[:16]}"
        record = AsideRecord(id=name, kind="record", reason=reason, code="corrupt", at=self._now(), command=text)
        await asyncio.to_thread(self._append, record)

    def records(self) -> list[AsideRecord]:
        """Everything kept, oldest first. Blocks. Raises JournalUnavailable."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalUnavailable("the file of what was set aside cannot be read") from error
        found = []
        for line in lines:
            try:
                found.append(_decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # torn, or the empty piece behind the last line
        return found

    def discard(self, record_id: str) -> bool:
        """Whether it was there. Blocks. Raises JournalUnavailable."""
        records = self.records()
        left = [record for record in records if record.id != record_id]
        if len(left) == len(records):
            return False
        fresh = self._path.with_suffix(".new")
        self._write(fresh, b"".join(_encode(record) + b"\n" for record in left), os.O_TRUNC)
        fresh.replace(self._path)
        return True

    def _append(self, record: AsideRecord) -> None:
        if any(one.id == record.id for one in self.records()):
            return
        self._write(self._path, b"\n" + _encode(record) + b"\n", os.O_APPEND)

    @staticmethod
    def _write(path: Path, data: bytes, how: int) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view) :]
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise JournalUnavailable("what the journal refused cannot be set aside", retry_after_s=30.0) from error
