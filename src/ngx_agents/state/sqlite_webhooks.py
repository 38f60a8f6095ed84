"""Standing webhooks on SQLite: the rows of `webhook` that have an owner. Their subject is their own id."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ngx_agents.errors import NotFound, QuotaExceeded
from ngx_agents.state import webhook_commands as w
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite_pushes import add_post

Connection = sqlite3.Connection
_WEBHOOK = """
SELECT w.id, w.tenant, w.user, w.url, w.body, w.events, w.created_at, w.is_paused, w.disabled_at, w.missed,
  (SELECT count(*) FROM outbox o WHERE o.tenant = w.tenant AND o.user = w.user AND o.webhook_id = w.id
    AND o.kind = 'standing' AND o.dead_reason IS NULL),
  (SELECT count(*) FROM outbox o WHERE o.tenant = w.tenant AND o.user = w.user AND o.webhook_id = w.id
    AND o.kind = 'standing' AND o.dead_reason IS NOT NULL)
FROM webhook w WHERE w.tenant = ? AND w.user = ?
"""
_MINE = "subject = :id AND id = :id AND tenant = :tenant AND user = :user"
_ITS_ENTRIES = "tenant = :tenant AND user = :user AND webhook_id = :id AND kind = 'standing'"
# as the trigger `turn_told` has it
_FOR_EVENT = """
tenant = :tenant AND user = :user AND is_paused = 0 AND disabled_at IS NULL
AND instr(' ' || events || ' ', ' ' || :event || ' ') > 0
AND (SELECT count(*) FROM (SELECT 1 FROM outbox o WHERE o.tenant = webhook.tenant AND o.user = webhook.user
  AND o.webhook_id = webhook.id AND o.kind = 'standing' AND o.dead_reason IS NULL LIMIT :most))
"""


def note_event(db: Connection, owner: Owner, event: str, *, subject: str, data: object, now: float) -> None:
    """Notes it for the owner's webhooks that asked for it."""
    values = {
        "tenant": owner.tenant, "user": owner.user, "event": event, "most": w.MAX_WAITING, "subject": subject,
        "content": w.told_of(event, data), "at": now,
    }  # fmt: skip
    db.execute(f"UPDATE webhook SET missed = missed + 1 WHERE {_FOR_EVENT} >= :most", values)
    db.execute(
        "INSERT INTO outbox (tenant, user, kind, subject, webhook_id, url, body, content, is_last, at)"
        " SELECT tenant, user, kind, :subject, id, url, body, :content, 1, :at FROM webhook"
        f" WHERE {_FOR_EVENT} < :most",
        values,
    )


def _place(told: w.ChangeWebhook | w.DeleteWebhook | w.TryWebhook) -> dict[str, Any]:
    return {"id": told.id, "tenant": told.owner.tenant, "user": told.owner.user}


def _create(db: Connection, command: w.CreateWebhook) -> None:
    one = command.webhook
    who = (one.owner.tenant, one.owner.user)
    (others,) = db.execute("SELECT count(*) FROM webhook WHERE tenant = ? AND user = ?", who).fetchone()
    if others >= command.max_webhooks:
        raise QuotaExceeded(f"{command.max_webhooks} webhooks are there already", retry_after_s=3600.0)
    db.execute(
        "INSERT INTO webhook (subject, id, kind, tenant, user, url, body, events, is_paused, created_at)"
        " VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (one.id, w.STANDING, *who, one.url, one.body, w.events_stored(one.events), one.is_paused, one.created_at),
    )


def _change(db: Connection, command: w.ChangeWebhook) -> bool:
    values = _place(command) | {
        "url": command.url, "body": command.body, "seen_body": command.seen_body, "is_paused": command.is_paused,
        "events": None if command.events is None else w.events_stored(command.events), "revives": command.revives,
    }  # fmt: skip
    found = db.execute(
        "UPDATE webhook SET url = coalesce(:url, url), body = coalesce(:body, body),"
        " events = coalesce(:events, events), is_paused = coalesce(:is_paused, is_paused),"
        " disabled_at = CASE WHEN :revives THEN NULL ELSE disabled_at END"
        f" WHERE {_MINE} AND (:seen_body IS NULL OR body = :seen_body)",
        values,
    ).rowcount
    if found and (command.url is not None or command.body is not None):
        db.execute(
            f"UPDATE outbox SET url = coalesce(:url, url), body = coalesce(:body, body) WHERE {_ITS_ENTRIES}", values
        )
    return found > 0


def _delete(db: Connection, command: w.DeleteWebhook) -> bool:
    place = _place(command)
    db.execute(f"DELETE FROM outbox WHERE {_ITS_ENTRIES}", place)
    return db.execute(f"DELETE FROM webhook WHERE {_MINE}", place).rowcount > 0


def _try(db: Connection, command: w.TryWebhook) -> None:
    place = _place(command)
    row = db.execute(f"SELECT url, body FROM webhook WHERE {_MINE}", place).fetchone()
    if row is None:
        raise NotFound("there is no such webhook")
    waits = f"SELECT 1 FROM outbox WHERE {_ITS_ENTRIES} AND subject = :id AND dead_reason IS NULL"
    if db.execute(waits, place).fetchone() is not None:
        raise QuotaExceeded("a test of this webhook waits to be sent", retry_after_s=w.TEST_AGAIN_S)
    add_post(db, w.post_of_trial(command, url=row[0], body=row[1]))


def _get(db: Connection, question: w.GetWebhook) -> w.Webhook | None:
    owner = question.owner
    row = db.execute(f"{_WEBHOOK} AND w.id = ?", (owner.tenant, owner.user, question.id)).fetchone()
    return w.webhook_of(row) if row else None


def _list(db: Connection, question: w.ListWebhooks) -> tuple[w.Webhook, ...]:
    rows = db.execute(f"{_WEBHOOK} ORDER BY w.created_at, w.id", (question.owner.tenant, question.owner.user))
    return tuple(map(w.webhook_of, rows))


def export_webhooks(db: Connection, owner: Owner) -> list[dict[str, Any]]:
    return w.exported(_list(db, w.ListWebhooks(owner=owner)))


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    w.CreateWebhook: _create,
    w.ChangeWebhook: _change,
    w.DeleteWebhook: _delete,
    w.TryWebhook: _try,
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {w.GetWebhook: _get, w.ListWebhooks: _list}
