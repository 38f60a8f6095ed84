"""What stands in the local log: one command a record, with what was known of its lane when that was taken in."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ngx_agents.errors import StateCorrupt
from ngx_agents.state import commands as c
from ngx_agents.state.local_acceptance_known import KnownLane

LocalCommand: TypeAlias = c.CreateConversation | c.AcceptTurn | c.FinishTurn
_Kind = Literal["create", "accept", "finish"]
_KINDS: dict[type, _Kind] = {c.CreateConversation: "create", c.AcceptTurn: "accept", c.FinishTurn: "finish"}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`base` stands in the first record of a lane that was there before. `origin` names the journal it belongs to."""

    origin: str
    command: LocalCommand
    base: KnownLane | None = None

    @property
    def conversation_id(self) -> str:
        return self.command.id if isinstance(self.command, c.CreateConversation) else self.command.conversation_id


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    origin: str
    kind: _Kind
    body: msgspec.Raw
    base: KnownLane | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode
_BODIES: dict[_Kind, msgspec.msgpack.Decoder[LocalCommand]] = {
    kind: msgspec.msgpack.Decoder(struct) for struct, kind in _KINDS.items()
}


def encoded(entry: Entry) -> bytes:
    command = entry.command
    if isinstance(command, c.FinishTurn) and command.message is not None:
        command = msgspec.structs.replace(command, message=msgspec.structs.replace(command.message, derived=None))
    base = entry.base
    if base is not None and base.asked is not None:
        base = msgspec.structs.replace(base, asked=msgspec.structs.replace(base.asked, derived=None))
    kind = _KINDS[type(command)]
    return _encode(_Stored(origin=entry.origin, kind=kind, body=msgspec.Raw(_encode(command)), base=base))


def decoded(payload: bytes) -> Entry:
    """Raises StateCorrupt: sound bytes that are no record of this program's."""
    try:
        stored = _decode(payload)
        return Entry(origin=stored.origin, command=_BODIES[stored.kind].decode(stored.body), base=stored.base)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateCorrupt("a record of the local log cannot be read") from error
