-- A user's standing webhook: a row of `webhook` with an owner, whose subject is its own id, told of `events`
-- (names with a space between) until it is deleted. `missed` counts those that found too many waiting.
ALTER TABLE webhook ADD COLUMN tenant TEXT;
ALTER TABLE webhook ADD COLUMN user TEXT;
ALTER TABLE webhook ADD COLUMN events TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook ADD COLUMN is_paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE webhook ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX webhook_of_owner ON webhook (tenant, user) WHERE tenant IS NOT NULL;
DROP INDEX outbox_of_owner;
CREATE INDEX outbox_of_owner ON outbox (tenant, user, webhook_id);
CREATE INDEX outbox_dead ON outbox (at, number) WHERE dead_reason IS NOT NULL;

-- 3 is the class batch: of such turns the end of their batch is told. 1000 may wait.
CREATE TRIGGER turn_told AFTER UPDATE OF status ON turn
WHEN NEW.status <> OLD.status AND NEW.status NOT IN ('queued', 'running') AND NEW.turn_class <> 3
  AND EXISTS (SELECT 1 FROM webhook w WHERE w.tenant = NEW.tenant AND w.user = NEW.user)
BEGIN
  UPDATE webhook SET missed = missed + 1
  WHERE tenant = NEW.tenant AND user = NEW.user AND is_paused = 0 AND disabled_at IS NULL
    AND instr(' ' || events || ' ', ' turn.' || replace(NEW.status, 'dead', 'failed') || ' ') > 0
    AND (SELECT count(*) FROM (SELECT 1 FROM outbox o WHERE o.tenant = webhook.tenant AND o.user = webhook.user
      AND o.webhook_id = webhook.id AND o.kind = 'standing' AND o.dead_reason IS NULL LIMIT 1000)) >= 1000;
  INSERT INTO outbox (tenant, user, kind, subject, webhook_id, url, body, turn_id, status, is_last, at)
  SELECT tenant, user, kind, NEW.id, id, url, body, NEW.id, NEW.status, 1, coalesce(NEW.finished_at, NEW.accepted_at)
  FROM webhook
  WHERE tenant = NEW.tenant AND user = NEW.user AND is_paused = 0 AND disabled_at IS NULL
    AND instr(' ' || events || ' ', ' turn.' || replace(NEW.status, 'dead', 'failed') || ' ') > 0
    AND (SELECT count(*) FROM (SELECT 1 FROM outbox o WHERE o.tenant = webhook.tenant AND o.user = webhook.user
      AND o.webhook_id = webhook.id AND o.kind = 'standing' AND o.dead_reason IS NULL LIMIT 1000)) < 1000;
END;
