"""What is stored of an answer: enough to give it again as it was, stream included, and to say honestly what it is.

An entry is bytes outside of this process: one format byte, a signature over key and content, msgpack. Whatever is
found that this process would not have written there itself is not an entry (`decode` says None): foreign formats, torn
or forged bytes, an entry that lies under another key.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getsizeof

import msgspec

from ngx_agents.vertex.cache.key import CacheKey, KeyMaker
from ngx_agents.vertex.cache.rules import MAX_STALE_S, MAX_TTL_S, ClassRule
from ngx_agents.vertex.content import FinishReason, ModelReply, Text, Usage

FORMAT = b"\x01"
SIGNED_BYTES = 16
MAX_ENTRY_BYTES = 1024 * 1024
OVERHEAD_BYTES = 1500  # the other objects of an entry, its key and its places in the tables
CUT_BYTES = 8  # a place in a tuple; small numbers are nobody's own
MAX_AHEAD_S = 60.0  # what the clocks of two instances may differ by


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One answer. `cuts` are the lengths of the pieces in which its visible text came, in characters.

    `written_at_s` is in seconds since the Unix epoch; the three lifetimes count from it as in `ClassRule`.
    `asked_model` is the content's own. `generation` is the last erasure of the user that was known when the question
    was asked.
    """

    parts: tuple[Text, ...]
    cuts: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    model: str
    location: str
    provider: str
    rung: str
    traffic_type: str | None
    written_at_s: float
    ttl_s: float
    stale_while_revalidate_s: float
    stale_if_error_s: float
    asked_model: str | None = None
    generation: bytes = b""

    @property
    def kept_s(self) -> float:
        return self.ttl_s + max(self.stale_while_revalidate_s, self.stale_if_error_s)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, where one emoji makes a text four times as large as its characters."""
        texts = sum(getsizeof(part.text) + getsizeof(part.signature) for part in self.parts)
        return texts + CUT_BYTES * len(self.cuts) + OVERHEAD_BYTES

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if not part.thought)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def entry_of(
    reply: ModelReply, chunks: Sequence[str], life: ClassRule, *, now_s: float, generation: bytes = b""
) -> Entry:
    """The entry of a reply that may be kept: its parts are text, and the chunks add up to its visible text."""
    return Entry(
        parts=tuple(part for part in reply.content.parts if isinstance(part, Text)),
        cuts=tuple(len(chunk) for chunk in chunks),
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        model=reply.model,
        location=reply.location,
        provider=reply.provider,
        rung=reply.rung,
        traffic_type=reply.traffic_type,
        written_at_s=now_s,
        ttl_s=life.ttl_s,
        stale_while_revalidate_s=life.stale_while_revalidate_s,
        stale_if_error_s=life.stale_if_error_s,
        asked_model=reply.content.model,
        generation=generation,
    )


def encode(entry: Entry, key: CacheKey, maker: KeyMaker) -> bytes:
    """The bytes to be stored under `key`."""
    payload = _encode(entry)
    return FORMAT + maker.sign(key.digest, payload) + payload


def decode(value: bytes, key: CacheKey, maker: KeyMaker, *, now_s: float) -> Entry | None:
    """The entry, or None for bytes that are not one that belongs under `key`."""
    if len(value) > MAX_ENTRY_BYTES or value[:1] != FORMAT:
        return None
    payload = value[1 + SIGNED_BYTES :]
    if not maker.is_signed(key.digest, payload, value[1 : 1 + SIGNED_BYTES]):
        return None
    try:
        entry = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return entry if _is_sound(entry, now_s) else None


def _is_sound(entry: Entry, now_s: float) -> bool:
    """Every number within its bounds; what is not a number is within none."""
    return (
        0 <= entry.ttl_s <= MAX_TTL_S
        and 0 <= entry.stale_while_revalidate_s <= MAX_STALE_S
        and 0 <= entry.stale_if_error_s <= MAX_STALE_S
        and 0 <= entry.written_at_s <= now_s + MAX_AHEAD_S
        and min(entry.cuts, default=0) >= 0
        and sum(entry.cuts) in (0, len(entry.text))
    )
