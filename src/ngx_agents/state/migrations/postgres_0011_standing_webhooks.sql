-- A user's standing webhook: a row of `webhook` with an owner, whose subject is its own id, told of `events`
-- (names with a space between) until it is deleted. `missed` counts those that found too many waiting.
-- The shard is the user's.
ALTER TABLE ngx.webhook ADD COLUMN tenant text COLLATE "C", ADD COLUMN user_id text COLLATE "C",
  ADD COLUMN events text COLLATE "C" NOT NULL DEFAULT '', ADD COLUMN is_paused boolean NOT NULL DEFAULT false,
  ADD COLUMN missed bigint NOT NULL DEFAULT 0;
CREATE INDEX webhook_of_owner ON ngx.webhook (tenant, user_id) WHERE tenant IS NOT NULL;
DROP INDEX ngx.outbox_of_owner;
CREATE INDEX outbox_of_owner ON ngx.outbox (tenant, user_id, webhook_id);
CREATE INDEX outbox_dead ON ngx.outbox (at, number) WHERE dead_reason IS NOT NULL;

CREATE FUNCTION ngx.is_full(owner_tenant text, owner_user text, webhook text) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog AS $$
  SELECT count(*) >= 1000 FROM (SELECT FROM ngx.outbox o WHERE o.tenant = owner_tenant AND o.user_id = owner_user
    AND o.webhook_id = webhook AND o.kind = 'standing' AND o.dead_reason IS NULL LIMIT 1000) waiting
$$;

-- An event, with the content that is posted or the turn and status that it is made of.
CREATE FUNCTION ngx.note_event(
  owner_shard smallint, owner_tenant text, owner_user text, event text, about text, told bytea, turn text,
  turn_status text, happened_at double precision
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  UPDATE ngx.webhook w SET missed = missed + 1 WHERE w.tenant = owner_tenant AND w.user_id = owner_user
    AND NOT w.is_paused AND w.disabled_at IS NULL AND position(' ' || event || ' ' IN ' ' || w.events || ' ') > 0
    AND ngx.is_full(owner_tenant, owner_user, w.id);
  INSERT INTO ngx.outbox (shard, tenant, user_id, kind, subject, webhook_id, url, body, content, turn_id, status,
    is_last, at)
  SELECT owner_shard, w.tenant, w.user_id, w.kind, about, w.id, w.url, w.body, told, turn, turn_status, true,
    happened_at
  FROM ngx.webhook w WHERE w.tenant = owner_tenant AND w.user_id = owner_user
    AND NOT w.is_paused AND w.disabled_at IS NULL AND position(' ' || event || ' ' IN ' ' || w.events || ' ') > 0
    AND NOT ngx.is_full(owner_tenant, owner_user, w.id)
  ORDER BY w.created_at, w.id;
END
$$;

-- Nothing is noted of rows that a move of a shard writes: what they caused comes with them.
CREATE FUNCTION ngx.note_end() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF EXISTS (SELECT FROM ngx.webhook w WHERE w.tenant = NEW.tenant AND w.user_id = NEW.user_id)
    AND current_setting('ngx.mover', true) IS DISTINCT FROM 'on' THEN
    PERFORM ngx.note_event(NEW.shard, NEW.tenant, NEW.user_id, 'turn.' || replace(NEW.status, 'dead', 'failed'),
      NEW.id, NULL, NEW.id, NEW.status, coalesce(NEW.finished_at, NEW.accepted_at));
  END IF;
  RETURN NULL;
END
$$;
-- 3 is the class batch: of such turns the end of their batch is told.
CREATE TRIGGER turn_told AFTER UPDATE ON ngx.turn FOR EACH ROW
WHEN (NEW.status <> OLD.status AND NEW.status NOT IN ('queued', 'running') AND NEW.turn_class <> 3)
EXECUTE FUNCTION ngx.note_end();
