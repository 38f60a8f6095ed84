"""Webhooks that are told of the end of a turn or of a batch, and how what is posted to them is signed.

What is posted names the turn or batch and how it ended, never what was said: whoever gets it asks for that with their
own credentials. Source of headers and signature: Standard Webhooks, standardwebhooks.com.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import InvalidRequest
from ngx_agents.state.push_commands import DuePush
from ngx_agents.state.task_commands import PushConfig
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Letter, Render, Sealer, event_id

PREFIX = "whsec_"
KEY_BYTES = (24, 64)
ONLY = "done"
"""The id of a turn's or batch's one webhook."""
_encode = msgspec.json.Encoder().encode


class WebhookDesk:
    """`guard` knows where webhooks may lead; `sealer` keeps their keys unreadable in the journal."""

    def __init__(self, *, guard: Guard, sealer: Sealer, clock: Clock) -> None:
        self._guard = guard
        self._sealer = sealer
        self._clock = clock

    async def taken_in(self, url: str, secret: str) -> PushConfig:
        """What is kept of a webhook. Raises InvalidRequest (fields `webhook.url`, `webhook.secret`)."""
        key = key_of(secret)
        await self._guard.check(url, field="webhook.url")
        return PushConfig(id=ONLY, url=url, body=self._sealer.seal(key), created_at=self._clock.now_s(), kind="turn")

    @property
    def renders(self) -> Mapping[str, Render]:
        """How each kind of entry of the outbox is written."""
        return {"turn": self._of_turn, "batch": self._of_batch}

    async def _of_turn(self, due: DuePush) -> Sequence[Letter]:
        status = "failed" if due.status == "dead" else due.status
        told = {"turn_id": due.subject, "status": status}
        return [self._signed(due, _encode(_event(f"turn.{status}", due.at, told)))]

    async def _of_batch(self, due: DuePush) -> Sequence[Letter]:
        told = msgspec.json.decode(due.content or b"{}")
        return [self._signed(due, _encode(_event(f"batch.{told.get('status')}", due.at, told)))]

    def _signed(self, due: DuePush, content: bytes) -> Letter:
        """Signed for the moment at which it is sent; raises NgxError when its key was sealed with one out of force."""
        at_s = int(self._clock.now_s())
        signature = sign(self._sealer.open(due.config.body), event_id(due, 0), at_s, content)
        return Letter(content=content, headers={"Webhook-Timestamp": str(at_s), "Webhook-Signature": signature})


def _event(kind: str, at_s: float, told: object) -> dict[str, object]:
    return {"type": kind, "timestamp": datetime.fromtimestamp(at_s, UTC).isoformat(), "data": told}


def key_of(secret: str) -> bytes:
    """The key's bytes. Raises InvalidRequest (field `webhook.secret`)."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except (binascii.Error, ValueError):
        key = b""
    if not KEY_BYTES[0] <= len(key) <= KEY_BYTES[1]:
        message = f"must be {PREFIX} and {KEY_BYTES[0]} to {KEY_BYTES[1]} bytes in base64"
        raise InvalidRequest(message, field="webhook.secret")
    return key


def sign(key: bytes, event: str, at_s: int, content: bytes) -> str:
    """The value of `Webhook-Signature`."""
    signature = hmac.new(key, f"{event}.{at_s}.".encode() + content, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signature).decode()
