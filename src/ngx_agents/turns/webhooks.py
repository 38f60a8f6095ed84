"""Webhooks that are told of the end of a turn or of a batch, or of all that a user asked for; how that is signed.

What is posted names the turn or batch and how it ended, never what was said: whoever gets it asks for that with their
own credentials. Source of headers and signature: Standard Webhooks, standardwebhooks.com.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import InvalidRequest, NgxError
from ngx_agents.state.push_commands import DuePush
from ngx_agents.state.task_commands import PushConfig
from ngx_agents.state.webhook_commands import STANDING
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Letter, Render, Sealer, event_id

PREFIX = "whsec_"
KEY_BYTES = (24, 64)
NEW_KEY_BYTES = 32
MAX_KEYS = 3
"""Of a standing webhook, at once: one and what rotations left."""
ONLY = "done"
"""The id of a turn's or batch's one webhook."""
_encode = msgspec.json.Encoder().encode


class HeldKey(msgspec.Struct, frozen=True, array_like=True):
    """One that signs until `until_s` (Unix seconds), for good when that is None."""

    key: bytes
    until_s: float | None = None


class HeldKeys(msgspec.Struct, frozen=True, array_like=True):
    """The keys of a standing webhook, the newest first. `read` raises NgxError for what is none."""

    keys: tuple[HeldKey, ...] = ()

    @classmethod
    def read(cls, packed: bytes) -> HeldKeys:
        try:
            return msgspec.msgpack.decode(packed, type=cls)
        except msgspec.DecodeError as error:
            raise NgxError("the webhook's keys cannot be read") from error

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(self)

    def still_good(self, now_s: float) -> HeldKeys:
        return HeldKeys(tuple(held for held in self.keys if held.until_s is None or held.until_s > now_s))

    def with_new(self, *, former_until_s: float) -> tuple[HeldKeys, str]:
        """With a key of chance and its secret; those from before end then at the latest."""
        key = secrets.token_bytes(NEW_KEY_BYTES)
        former = [
            HeldKey(held.key, former_until_s if held.until_s is None else min(held.until_s, former_until_s))
            for held in self.keys[: MAX_KEYS - 1]
        ]
        return HeldKeys((HeldKey(key), *former)), PREFIX + base64.b64encode(key).decode()


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

    async def check_url(self, url: str) -> None:
        """Raises InvalidRequest (field `url`) for an address that may not be posted to."""
        await self._guard.check(url, field="url")

    def new_keys(self) -> tuple[str, bytes]:
        """The secret of a standing webhook, to be shown once, and its keys as they are kept."""
        keys, secret = HeldKeys().with_new(former_until_s=0.0)
        return secret, self._sealer.seal(keys.packed())

    def rotated(self, body: bytes, *, former_until_s: float) -> tuple[str, bytes]:
        """The same with a new key; those before it sign as well until then, unless nobody here can read them."""
        try:
            former = HeldKeys.read(self._sealer.open(body))
        except NgxError:
            former = HeldKeys()
        keys, secret = former.still_good(self._clock.now_s()).with_new(former_until_s=former_until_s)
        return secret, self._sealer.seal(keys.packed())

    @property
    def renders(self) -> Mapping[str, Render]:
        """How each kind of entry of the outbox is written."""
        return {"turn": self._of_turn, "batch": self._of_batch, STANDING: self._of_standing}

    async def _of_turn(self, due: DuePush) -> Sequence[Letter]:
        return [self._signed(due, _encode(_turn_event(due)), [self._sealer.open(due.config.body)])]

    async def _of_standing(self, due: DuePush) -> Sequence[Letter]:
        event = _turn_event(due)
        if due.content is not None:
            told = msgspec.json.decode(due.content)
            event = _event(told["type"], due.at, told["data"])
        keys = HeldKeys.read(self._sealer.open(due.config.body)).still_good(self._clock.now_s())
        return [self._signed(due, _encode(event), [held.key for held in keys.keys])]

    async def _of_batch(self, due: DuePush) -> Sequence[Letter]:
        told = msgspec.json.decode(due.content or b"{}")
        event = _event(f"batch.{told.get('status')}", due.at, told)
        return [self._signed(due, _encode(event), [self._sealer.open(due.config.body)])]

    def _signed(self, due: DuePush, content: bytes, keys: Sequence[bytes]) -> Letter:
        """Signed with each key, for the moment at which it is sent."""
        at_s = int(self._clock.now_s())
        signatures = " ".join(sign(key, event_id(due, 0), at_s, content) for key in keys)
        return Letter(content=content, headers={"Webhook-Timestamp": str(at_s), "Webhook-Signature": signatures})


def _turn_event(due: DuePush) -> dict[str, object]:
    status = "failed" if due.status == "dead" else due.status
    return _event(f"turn.{status}", due.at, {"turn_id": due.subject, "status": status})


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
