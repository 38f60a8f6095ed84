"""Standing webhooks over HTTP: addresses of the caller's that are told of all they asked for."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ngx_agents.errors import NotFound
from ngx_agents.gateway.decode import decoded, known_id
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.operation import Operation, operation_of
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.state.commands import (
    ChangeWebhook,
    CreateWebhook,
    DeleteWebhook,
    GetWebhook,
    ListWebhooks,
    TryWebhook,
    Webhook,
)
from ngx_agents.state.ids import shard_of
from ngx_agents.state.webhook_commands import EVENTS, EventName, told_of

MAX_BODY_BYTES = 16_384
DAY_S = 86_400.0
Url = Annotated[str, Meta(min_length=1, max_length=2048, pattern=r"^[^\u0000-\u0020]+$")]
Events = Annotated[list[EventName], Meta(min_length=1, max_length=20)]
Overlap = Annotated[float, Meta(ge=0, le=7 * DAY_S)]


class NewWebhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`events` is all there are unless it is given."""

    url: Url
    events: Events = msgspec.field(default_factory=lambda: list(EVENTS))
    is_paused: bool = False


class WebhookChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not given stays. A new address holds for what waits as well."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    is_paused: bool | UnsetType = UNSET


class RotationBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For `overlap_s` the former secret signs beside the new one."""

    overlap_s: Overlap = DAY_S


class WebhookView(Struct, frozen=True, kw_only=True):
    """A standing webhook; times are Unix seconds.

    `disabled_at`: it answered 410 (Gone) and is told nothing since; a change of `url`, or `is_paused` false, ends that.
    `waiting` letters are still to be sent, `dead` ones were given up, `missed` events found too many waiting.
    """

    id: str
    url: str
    events: tuple[str, ...]
    is_paused: bool
    created_at: float
    disabled_at: float | None
    waiting: int
    dead: int
    missed: int


class WebhookMade(WebhookView, frozen=True, kw_only=True):
    """`secret` signs what is posted. It is told here and never again."""

    secret: str


class WebhookList(Struct, frozen=True):
    """Oldest first."""

    items: tuple[WebhookView, ...]


class RotationReply(Struct, frozen=True, kw_only=True):
    """`secret` is the new one, told here and never again; the former signs beside it until `former_until`."""

    id: str
    secret: str
    former_until: float


class TestReply(Struct, frozen=True, kw_only=True):
    """The event that is on its way to the webhook."""

    id: str
    type: str


class WebhookRoutes:
    def __init__(self, deps: GatewayDeps, settings: GatewaySettings) -> None:
        self._deps = deps
        self._desk = deps.webhooks
        self._max_webhooks = settings.max_webhooks
        self._new = msgspec.json.Decoder(NewWebhook)
        self._changes = msgspec.json.Decoder(WebhookChanges)
        self._rotation = msgspec.json.Decoder(RotationBody)

    async def create_webhook(self, exchange: Exchange) -> None:
        body = decoded(self._new, await exchange.body(MAX_BODY_BYTES))
        await self._desk.check_url(body.url)
        owner, (secret, keys) = exchange.principal.owner, self._desk.new_keys()
        webhook = Webhook(
            id=self._deps.ids.new("w", shard_of(owner.user)), owner=owner, url=body.url, body=keys,
            events=_in_order(body.events), created_at=self._deps.clock.now_s(), is_paused=body.is_paused,
        )  # fmt: skip
        await self._deps.tell(CreateWebhook(webhook=webhook, max_webhooks=self._max_webhooks))
        made = WebhookMade(**msgspec.structs.asdict(_view(webhook)), secret=secret)
        await exchange.reply_json(made, 201, ((b"location", b"/v1/me/webhooks/" + webhook.id.encode()),))

    async def webhooks(self, exchange: Exchange) -> None:
        found = await self._deps.journal.query(ListWebhooks(owner=exchange.principal.owner))
        await exchange.reply_json(WebhookList(tuple(map(_view, found))))

    async def webhook(self, exchange: Exchange) -> None:
        await exchange.reply_json(_view(await self._found(exchange)))

    async def change_webhook(self, exchange: Exchange) -> None:
        webhook_id = known_id("w", exchange.parameters["webhook_id"])
        body = decoded(self._changes, await exchange.body(MAX_BODY_BYTES))
        if body.url is not UNSET:
            await self._desk.check_url(body.url)
        command = ChangeWebhook(
            id=webhook_id, owner=exchange.principal.owner, url=None if body.url is UNSET else body.url,
            events=None if body.events is UNSET else _in_order(body.events),
            is_paused=None if body.is_paused is UNSET else body.is_paused,
        )  # fmt: skip
        await self._deps.tell(command)
        await exchange.reply_json(_view(await self._found(exchange)))

    async def delete_webhook(self, exchange: Exchange) -> None:
        webhook_id = known_id("w", exchange.parameters["webhook_id"])
        if not await self._deps.tell(DeleteWebhook(id=webhook_id, owner=exchange.principal.owner)):
            raise _absent()
        await exchange.reply(204, b"", ())

    async def rotate_secret(self, exchange: Exchange) -> None:
        """One of several at once wins; the next keeps what that made as a former secret."""
        body = decoded(self._rotation, await exchange.body(MAX_BODY_BYTES))
        former_until_s = self._deps.clock.now_s() + body.overlap_s
        is_changed, secret, webhook_id = False, "", ""
        while not is_changed:
            found = await self._found(exchange)
            webhook_id = found.id
            secret, keys = self._desk.rotated(found.body, former_until_s=former_until_s)
            command = ChangeWebhook(id=found.id, owner=found.owner, body=keys, seen_body=found.body)
            is_changed = await self._deps.tell(command)
        await exchange.reply_json(RotationReply(id=webhook_id, secret=secret, former_until=former_until_s))

    async def test_webhook(self, exchange: Exchange) -> None:
        webhook_id = known_id("w", exchange.parameters["webhook_id"])
        content = told_of("webhook.test", {"webhook_id": webhook_id})
        now_s = self._deps.clock.now_s()
        await self._deps.tell(TryWebhook(id=webhook_id, owner=exchange.principal.owner, content=content, now=now_s))
        await exchange.reply_json(TestReply(id=webhook_id, type="webhook.test"), 202)

    async def _found(self, exchange: Exchange) -> Webhook:
        webhook_id = known_id("w", exchange.parameters["webhook_id"])
        question = GetWebhook(id=webhook_id, owner=exchange.principal.owner)
        found: Webhook | None = await self._deps.journal.query(question)
        if found is None:
            raise _absent()
        return found


def _absent() -> NotFound:
    return NotFound("there is no such webhook")


def _in_order(events: list[EventName]) -> tuple[str, ...]:
    return tuple(event for event in EVENTS if event in events)


def _view(webhook: Webhook) -> WebhookView:
    return WebhookView(
        id=webhook.id, url=webhook.url, events=webhook.events, is_paused=webhook.is_paused,
        created_at=webhook.created_at, disabled_at=webhook.disabled_at, waiting=webhook.waiting, dead=webhook.dead,
        missed=webhook.missed,
    )  # fmt: skip


def webhook_operations(routes: WebhookRoutes) -> list[Operation]:
    one = "/v1/me/webhooks/{webhook_id}"
    return [
        operation_of(
            "POST /v1/me/webhooks", routes.create_webhook, summary="Have an address told of all that ends",
            answers={201: (WebhookMade,)}, body=NewWebhook,
        ),
        operation_of(
            "GET /v1/me/webhooks", routes.webhooks, summary="The standing webhooks", answers={200: (WebhookList,)}
        ),
        operation_of(f"GET {one}", routes.webhook, summary="One standing webhook", answers={200: (WebhookView,)}),
        operation_of(
            f"PATCH {one}", routes.change_webhook, summary="Change a standing webhook, pause it or go on with it",
            answers={200: (WebhookView,)}, body=WebhookChanges,
        ),
        operation_of(f"DELETE {one}", routes.delete_webhook, summary="Delete a standing webhook", answers={204: ()}),
        operation_of(
            f"POST {one}/test", routes.test_webhook, summary="Post a test event to a standing webhook",
            answers={202: (TestReply,)},
        ),
        operation_of(
            f"POST {one}/secret", routes.rotate_secret, summary="Make a new secret; the former signs for a while too",
            answers={200: (RotationReply,)}, body=RotationBody,
        ),
    ]  # fmt: skip
