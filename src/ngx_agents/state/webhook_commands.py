"""Standing webhooks, as the journal is told and asked of them. Part of `commands`.

A user's webhook is told of each event of theirs that it asked for. The entry of the outbox is noted in the transaction
that makes the event: by the database when a turn ends (but for turns of class batch: their batch's end is told), by the
command itself when a batch ends or a schedule is sent. Past MAX_WAITING nothing is noted, and `missed` counts.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

from ngx_agents.state.model import Owner
from ngx_agents.state.push_commands import AddPost

EventName = Literal[
    "turn.completed", "turn.failed", "turn.cancelled", "batch.completed", "batch.cancelled", "batch.expired",
    "schedule.sent",
]  # fmt: skip
EVENTS: tuple[EventName, ...] = get_args(EventName)
STANDING = "standing"
"""The kind of such a webhook, and of its entries in the outbox."""
MAX_WAITING = 1000
"""Entries of one webhook that wait to be sent."""
TEST_AGAIN_S = 5.0


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """`body` holds its keys, sealed. `disabled_at`: when it said 410 (Gone); nothing is noted since, nor while paused.

    Of its entries in the outbox `waiting` are still to be sent and `dead` were given up; `missed` came to none.
    """

    id: str
    owner: Owner
    url: str
    body: bytes
    events: tuple[str, ...]
    created_at: float
    is_paused: bool = False
    disabled_at: float | None = None
    missed: int = 0
    waiting: int = 0
    dead: int = 0


class CreateWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. Raises QuotaExceeded when the owner has `max_webhooks`."""

    webhook: Webhook
    max_webhooks: int

    @property
    def owner(self) -> Owner:
        return self.webhook.owner


class ChangeWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether it was there, with the keys `seen_body` if that is given. None leaves a thing as it is.

    Address and keys hold for what waits as well. A new address, or `is_paused` False, also ends what a 410 did.
    """

    id: str
    owner: Owner
    url: str | None = None
    events: tuple[str, ...] | None = None
    is_paused: bool | None = None
    body: bytes | None = None
    seen_body: bytes | None = None

    @property
    def revives(self) -> bool:
        return self.url is not None or self.is_paused is False


class DeleteWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether it was there. What was still to be sent to it goes too."""

    id: str
    owner: Owner


class TryWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. An entry with this content, whatever the webhook asked for. Raises NotFound, and QuotaExceeded while one
    waits already."""

    id: str
    owner: Owner
    content: bytes
    now: float


class GetWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """→ Webhook | None."""

    id: str
    owner: Owner


class ListWebhooks(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Webhook, ...], oldest first."""

    owner: Owner


def events_stored(events: tuple[str, ...]) -> str:
    return " ".join(events)


def events_read(stored: str) -> tuple[str, ...]:
    return tuple(stored.split())


def told_of(event: str, data: object) -> bytes:
    """The content of an entry: which event, and what is told of it."""
    return msgspec.json.encode({"type": event, "data": data})


def webhook_of(row: Any) -> Webhook:
    """From the columns that both journals select, in that order."""
    return Webhook(
        id=row[0], owner=Owner(row[1], row[2]), url=row[3], body=row[4], events=events_read(row[5]),
        created_at=row[6], is_paused=bool(row[7]), disabled_at=row[8], missed=row[9], waiting=row[10], dead=row[11],
    )  # fmt: skip


def post_of_trial(command: TryWebhook, *, url: str, body: bytes) -> AddPost:
    return AddPost(
        owner=command.owner, kind=STANDING, subject=command.id, webhook_id=command.id, url=url, body=body,
        content=command.content, now=command.now,
    )  # fmt: skip


def exported(webhooks: tuple[Webhook, ...]) -> list[dict[str, Any]]:
    """Without their secrets."""
    return [
        {"id": one.id, "url": one.url, "events": one.events, "created_at": one.created_at, "is_paused": one.is_paused}
        for one in webhooks
    ]
