-- A turn of a task of the open protocol: the task, the caller's name of the conversation, the message as it came.
-- `watched`: a webhook was told of this very turn. What is sent to webhooks stands in `outbox`.
ALTER TABLE ngx.turn ADD COLUMN task_id text COLLATE "C";
ALTER TABLE ngx.turn ADD COLUMN context_id text COLLATE "C";
ALTER TABLE ngx.turn ADD COLUMN task_message bytea;
ALTER TABLE ngx.turn ADD COLUMN watched boolean NOT NULL DEFAULT false;
CREATE INDEX turn_of_task ON ngx.turn (shard, task_id, number) WHERE task_id IS NOT NULL;
CREATE INDEX task_of_owner ON ngx.turn (tenant, user_id, task_id, number) WHERE task_id IS NOT NULL;

-- A webhook of a subject: of a task (kind `task`, told of each change) or of one turn (kind `turn`, told of its end).
CREATE TABLE ngx.webhook (
  shard smallint NOT NULL,
  subject text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  url text NOT NULL,
  body bytea NOT NULL,
  created_at double precision NOT NULL,
  disabled_at double precision,
  PRIMARY KEY (shard, subject, id)
);

-- What is to be sent. `is_last`: no other turn of the task was open when this one came to `status`.
CREATE TABLE ngx.outbox (
  shard smallint NOT NULL,
  number bigint GENERATED ALWAYS AS IDENTITY,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  webhook_id text COLLATE "C" NOT NULL,
  url text NOT NULL,
  body bytea NOT NULL,
  turn_id text COLLATE "C",
  status text COLLATE "C",
  content bytea,
  is_last boolean NOT NULL,
  at double precision NOT NULL,
  step integer NOT NULL DEFAULT 0,
  attempts integer NOT NULL DEFAULT 0,
  due_at double precision NOT NULL DEFAULT 0,
  claimed_by text COLLATE "C",
  claimed_until double precision NOT NULL DEFAULT 0,
  dead_reason text,
  PRIMARY KEY (shard, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_waiting ON ngx.outbox (due_at, number) WHERE dead_reason IS NULL;
CREATE INDEX outbox_of_webhook ON ngx.outbox (shard, subject, webhook_id, number);
CREATE INDEX outbox_of_owner ON ngx.outbox (tenant, user_id);

-- Nothing is noted of rows that a move of a shard writes: what they caused comes with them.
CREATE FUNCTION ngx.note_turn() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF current_setting('ngx.mover', true) = 'on' THEN
    RETURN NULL;
  END IF;
  INSERT INTO ngx.outbox (shard, tenant, user_id, kind, subject, webhook_id, url, body, turn_id, status, is_last, at)
  SELECT NEW.shard, NEW.tenant, NEW.user_id, w.kind, w.subject, w.id, w.url, w.body, NEW.id, NEW.status,
    TG_OP = 'UPDATE' AND NOT EXISTS (SELECT FROM ngx.turn o WHERE o.shard = NEW.shard AND o.task_id = NEW.task_id
      AND o.status IN ('queued', 'running')),
    coalesce(NEW.finished_at, NEW.accepted_at)
  FROM ngx.webhook w WHERE w.shard = NEW.shard AND w.subject IN (NEW.task_id, NEW.id) AND w.disabled_at IS NULL
    AND (w.kind = 'task' OR NEW.status NOT IN ('queued', 'running'))
  ORDER BY w.created_at, w.id;
  RETURN NULL;
END
$$;
CREATE TRIGGER turn_begun AFTER INSERT ON ngx.turn FOR EACH ROW WHEN (NEW.task_id IS NOT NULL OR NEW.watched)
EXECUTE FUNCTION ngx.note_turn();
CREATE TRIGGER turn_changed AFTER UPDATE ON ngx.turn FOR EACH ROW
WHEN ((NEW.task_id IS NOT NULL OR NEW.watched) AND NEW.status <> OLD.status) EXECUTE FUNCTION ngx.note_turn();

CREATE FUNCTION ngx.forget_turn() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF current_setting('ngx.mover', true) IS DISTINCT FROM 'on' THEN
    DELETE FROM ngx.outbox WHERE shard = OLD.shard AND subject = OLD.id;
    DELETE FROM ngx.webhook WHERE shard = OLD.shard AND subject = OLD.id;
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER turn_forgotten AFTER DELETE ON ngx.turn FOR EACH ROW WHEN (OLD.task_id = OLD.id OR OLD.watched)
EXECUTE FUNCTION ngx.forget_turn();
