"""Batches over HTTP: many messages in one body, their progress, and their answers in the order of the inputs.

A body of JSON lines is stored while it arrives; neither it nor the results are ever in memory as a whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import msgspec

from ngx_agents.errors import (
    BodyTooLarge,
    IdempotencyConflict,
    InvalidRequest,
    NotFound,
    ReadOnly,
    UnsupportedMediaType,
)
from ngx_agents.gateway.batch_wire import (
    BatchBody,
    BatchInput,
    BatchOptions,
    BatchPage,
    BatchResultPage,
    batch_view,
    result_view,
)
from ngx_agents.gateway.decode import decoded, idempotency_key, known_id, limit_of, query_of, text_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.entrance import READ_ONLY
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.resilience.modes import Mode
from ngx_agents.state.commands import Batch, GetBatch, KeyedBatch, ListBatches, ListBatchResults
from ngx_agents.state.task_commands import PushConfig
from ngx_agents.turns.batches.intake import BatchIntake

LINES = ("application/jsonl", "application/x-ndjson", "application/ndjson")
JSON_LINES = "application/jsonl"
MAX_LINE_BYTES = 262_144
DEFAULT_BATCHES = 50
DEFAULT_RESULTS = 100
SENT_AT_ONCE = 200
DEFAULT_EXPIRES_S = 86_400
MAX_EXPIRES_S = 604_800
_encode = msgspec.json.Encoder().encode
_OPTIONS = msgspec.json.Decoder(BatchOptions)
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])
Given = BatchInput | BatchOptions


class BatchRoutes:
    def __init__(self, deps: GatewayDeps, settings: GatewaySettings) -> None:
        self._deps = deps
        self._desk = deps.batches
        self._journal = deps.journal
        self._settings = settings
        self._body_decoder = msgspec.json.Decoder(BatchBody)
        self._line_decoder = msgspec.json.Decoder(BatchInput)

    async def create(self, exchange: Exchange) -> None:
        """201, or 200 with the batch that the same key and body made before."""
        if self._deps.modes.current is Mode.READ_ONLY:
            raise ReadOnly(READ_ONLY, retry_after_s=self._deps.modes.retry_after_s)
        key = idempotency_key(exchange.header(b"idempotency-key"))
        expires_after_s = _expiry_of(exchange)
        digest = hashlib.sha256(str(expires_after_s).encode())
        inputs = self._inputs(exchange, digest)
        owner = exchange.principal.owner
        known = await self._journal.query(KeyedBatch(owner=owner, key=key)) if key is not None else None
        if known is not None:
            await self._tell_again(exchange, inputs, digest, known)
            return
        intake = await self._desk.begin(owner, expires_after_s=expires_after_s)
        try:
            webhook = await self._take_in(intake, inputs)
            batch = await intake.start(key=key, digest=digest.digest() if key is not None else b"", webhook=webhook)
        except BaseException:
            await asyncio.shield(intake.drop())
            raise
        await exchange.reply_json(batch_view(batch), 201, (_location(batch),))

    async def index(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListBatches(
            owner=exchange.principal.owner, limit=limit_of(query, DEFAULT_BATCHES), cursor=query.get("cursor")
        )
        page = await self._journal.query(question)
        await exchange.reply_json(BatchPage(tuple(batch_view(batch) for batch in page.items), page.next))

    async def show(self, exchange: Exchange) -> None:
        await exchange.reply_json(batch_view(await self._found(exchange)))

    async def cancel(self, exchange: Exchange) -> None:
        """What has ended stays as it is."""
        batch_id = known_id("j", exchange.parameters["batch_id"])
        await self._desk.cancel(batch_id, exchange.principal.owner)
        await exchange.reply_json(batch_view(await self._found(exchange)))

    async def results(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListBatchResults(
            batch_id=known_id("j", exchange.parameters["batch_id"]), owner=exchange.principal.owner,
            limit=limit_of(query, DEFAULT_RESULTS), cursor=query.get("cursor"),
        )  # fmt: skip
        if any(media_type in (exchange.header(b"accept") or "") for media_type in LINES):
            await self._send_lines(exchange, msgspec.structs.replace(question, limit=SENT_AT_ONCE))
            return
        page = await self._journal.query(question)
        await exchange.reply_json(BatchResultPage(tuple(result_view(one) for one in page.items), page.next))

    async def _send_lines(self, exchange: Exchange, question: ListBatchResults) -> None:
        """Every result from the cursor on, a line each, whatever `limit` says."""
        page = await self._journal.query(question)
        await exchange.start(200, ((b"content-type", JSON_LINES.encode()),))
        while True:
            lines = b"".join(_encode(result_view(one)) + b"\n" for one in page.items)
            more = page.next is not None
            await exchange.send({"type": "http.response.body", "body": lines, "more_body": more})
            if not more:
                return
            page = await self._journal.query(msgspec.structs.replace(question, cursor=page.next))

    async def _found(self, exchange: Exchange) -> Batch:
        batch_id = known_id("j", exchange.parameters["batch_id"])
        batch: Batch | None = await self._journal.query(GetBatch(id=batch_id, owner=exchange.principal.owner))
        if batch is None:
            raise NotFound("there is no such batch")
        return batch

    async def _tell_again(
        self, exchange: Exchange, inputs: AsyncIterator[Given], digest: hashlib._Hash, known: tuple[Batch, bytes]
    ) -> None:
        """Reads the body for nothing but its hash."""
        async for _ in inputs:
            pass
        batch, stored = known
        if digest.digest() != stored:
            raise IdempotencyConflict("this idempotency key was used with another request")
        await exchange.reply_json(batch_view(batch), 200, (_location(batch),))

    async def _take_in(self, intake: BatchIntake, inputs: AsyncIterator[Given]) -> PushConfig | None:
        """Stores the inputs; the webhook, if one is named."""
        knows = self._deps.team.knows
        webhook: PushConfig | None = None
        async for given in inputs:
            if isinstance(given, BatchOptions):
                webhook = await self._deps.webhooks.taken_in(given.webhook.url, given.webhook.secret)
                continue
            at = f"items[{intake.size}]"
            if given.agent is not None and not knows(given.agent):
                raise InvalidRequest("no agent of this team has that id", field=f"{at}.agent")
            await intake.add(
                text_of(given.text, f"{at}.text"), custom_id=given.custom_id, agent=given.agent, locale=given.locale,
                conversation_id=given.conversation_id,
            )  # fmt: skip
        return webhook

    def _inputs(self, exchange: Exchange, digest: hashlib._Hash) -> AsyncIterator[Given]:
        """As they arrive; `digest` takes in the bytes."""
        if exchange.media_type in LINES:
            return self._of_lines(exchange, digest)
        return self._of_body(exchange, digest)

    async def _of_body(self, exchange: Exchange, digest: hashlib._Hash) -> AsyncIterator[Given]:
        try:
            raw = await exchange.body(self._settings.max_body_bytes)
        except UnsupportedMediaType:
            raise UnsupportedMediaType(f"the body must be application/json or {JSON_LINES}") from None
        digest.update(raw)
        body = decoded(self._body_decoder, raw)
        if body.webhook is not None:
            yield BatchOptions(webhook=body.webhook)
        for given in body.items:
            yield given

    async def _of_lines(self, exchange: Exchange, digest: hashlib._Hash) -> AsyncIterator[Given]:
        number, is_first = 0, True
        async for line in _lines(exchange.parts(self._settings.max_batch_bytes)):
            digest.update(line + b"\n")
            if is_first and (options := _options(line)) is not None:
                yield options
                is_first = False
                continue
            is_first = False
            try:
                yield decoded(self._line_decoder, line)
            except InvalidRequest as error:
                at = f"items[{number}]" + (f".{error.field}" if error.field else "")
                raise InvalidRequest(str(error), field=at) from None
            number += 1


def _options(line: bytes) -> BatchOptions | None:
    """None when the line is not one of options: then it has to be an input."""
    try:
        names = _NAMES.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded(_OPTIONS, line) if "webhook" in names and "text" not in names else None


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Those that are not blank. Raises BodyTooLarge for one that is longer than a message can be."""
    rest = b""
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n") if b"\n" in part else (rest + part,)
        for line in whole:
            if len(line) > MAX_LINE_BYTES:
                raise BodyTooLarge(MAX_LINE_BYTES)
            if line.strip():
                yield line
        if len(rest) > MAX_LINE_BYTES:
            raise BodyTooLarge(MAX_LINE_BYTES)
    if rest.strip():
        yield rest


def _expiry_of(exchange: Exchange) -> int:
    """Raises InvalidRequest."""
    value = query_of(exchange.scope["query_string"]).get("expires_after_s", str(DEFAULT_EXPIRES_S))
    if not (value.isascii() and value.isdigit() and len(value) <= 6 and 60 <= int(value) <= MAX_EXPIRES_S):
        raise InvalidRequest(f"must be whole seconds, 60 to {MAX_EXPIRES_S}", field="expires_after_s")
    return int(value)


def _location(batch: Batch) -> tuple[bytes, bytes]:
    return b"location", b"/v1/batches/" + batch.id.encode()
