"""The bounds of the local model's process, each with its unit."""

from __future__ import annotations

import msgspec

MAX_PLACES = 2  # one running, one waiting


class LocalModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`port` 0 takes a free one. `niceness` is added to the parent's. `max_memory_bytes` bounds its own data, on Linux.

    `max_prompt_bytes` is what of a conversation is read, newest first; a last message beyond it is refused.
    """

    host: str = "127.0.0.1"
    port: int = 0
    threads: int = 1
    niceness: int = 10
    max_memory_bytes: int = 768 * 1024 * 1024
    max_prompt_bytes: int = 2000
    max_body_bytes: int = 256 * 1024
    context_tokens: int = 2560
