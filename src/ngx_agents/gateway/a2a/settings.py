"""What the A2A edge is told, without the SDK."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


def never(text: str, agent: str | None) -> bool:
    return False


class A2aSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`public_url` is where callers reach this server (None: the host they named). Callers wait `wait_s` at most for a
    task before they get it as it is; a stream ends after `stream_s`, and a caller has `max_streams` of them at once.

    `default_agent` answers where no agent path is given, None for the team itself. `input_modes` are the media types of
    the parts that agents take, by agent, else the default. `answers_at_once` tells what is no task but a message.
    Bodies have `max_body_bytes` at most, those with files `max_file_body_bytes`; a caller's files together have
    `attachments_bytes` (None: whatever they have). `required_extensions` are URIs that every caller must name.
    `card_key` (PEM) signs cards, named `card_key_id`.
    """

    version: str
    has_auth: bool
    public_url: str | None = None
    grpc_url: str | None = None
    speaks_0_3: bool = True
    wait_s: float = 300.0
    stream_s: float = 3600.0
    max_streams: int = 64
    max_body_bytes: int = 1_048_576
    max_file_body_bytes: int = 8_388_608
    attachments_bytes: int | None = None
    default_agent: str | None = None
    input_modes: dict[str | None, tuple[str, ...]] = {}
    answers_at_once: Callable[[str, str | None], bool] = never
    required_extensions: tuple[str, ...] = ()
    card_key: str | None = None
    card_key_id: str = "ngx"
    secret_keys: tuple[bytes, ...] = ()
