"""The bounds of the turn engine."""

from __future__ import annotations

import msgspec

CLASS_TIMEOUT_S = (30.0, 60.0, 90.0, 600.0)
"""The whole time a turn has, by class: critical, interactive, background, batch."""
BATCH_CLASS = 3


class TurnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`held_events` bounds what a stream keeps for reconnects; `drain_s` is the time running turns get at a stop.

    An instance says that it lives every `beat_every_s`; others take its lanes `lease_s` after it fell silent. `address`
    is where they reach it. `runs_turns` False: others run all lanes. Every `look_back_s` it looks for lanes that it
    holds without knowing. `unwatched_s`: see `unwatched.py`; less than an
    interactive turn's whole time, or nobody would notice.
    """

    max_running: int = 256
    max_waiting_per_conversation: int = 100
    history_messages: int = 200
    held_events: int = 2000
    max_attempts: int = 5
    unwatched_s: float = 20.0
    heartbeat_s: float = 10.0
    claim_every_s: float = 1.0
    drain_s: float = 30.0
    beat_every_s: float = 2.0
    lease_s: float = 6.0
    look_back_s: float = 10.0
    address: str | None = None
    runs_turns: bool = True
