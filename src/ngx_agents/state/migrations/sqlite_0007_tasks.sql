-- A turn of a task of the open protocol: the task, the caller's name of the conversation, the message as it came.
-- `watched`: a webhook was told of this very turn. What is sent to webhooks stands in `outbox`.
ALTER TABLE turn ADD COLUMN task_id TEXT;
ALTER TABLE turn ADD COLUMN context_id TEXT;
ALTER TABLE turn ADD COLUMN task_message BLOB;
ALTER TABLE turn ADD COLUMN watched INTEGER NOT NULL DEFAULT 0;
CREATE INDEX turn_of_task ON turn (task_id, number) WHERE task_id IS NOT NULL;
CREATE INDEX task_of_owner ON turn (tenant, user, task_id, number) WHERE task_id IS NOT NULL;

-- A webhook of a subject: of a task (kind `task`, told of each change) or of one turn (kind `turn`, told of its end).
CREATE TABLE webhook (
  subject TEXT NOT NULL,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  url TEXT NOT NULL,
  body BLOB NOT NULL,
  created_at REAL NOT NULL,
  disabled_at REAL,
  PRIMARY KEY (subject, id)
) WITHOUT ROWID;

-- What is to be sent. `is_last`: no other turn of the task was open when this one came to `status`.
CREATE TABLE outbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  url TEXT NOT NULL,
  body BLOB NOT NULL,
  turn_id TEXT,
  status TEXT,
  content BLOB,
  is_last INTEGER NOT NULL,
  at REAL NOT NULL,
  step INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  due_at REAL NOT NULL DEFAULT 0,
  claimed_by TEXT,
  claimed_until REAL NOT NULL DEFAULT 0,
  dead_reason TEXT
);
CREATE INDEX outbox_waiting ON outbox (due_at) WHERE dead_reason IS NULL;
CREATE INDEX outbox_of_webhook ON outbox (subject, webhook_id, number);
CREATE INDEX outbox_of_owner ON outbox (tenant, user);

CREATE TRIGGER turn_begun AFTER INSERT ON turn WHEN NEW.task_id IS NOT NULL
BEGIN
  INSERT INTO outbox (tenant, user, kind, subject, webhook_id, url, body, turn_id, status, is_last, at)
  SELECT NEW.tenant, NEW.user, w.kind, w.subject, w.id, w.url, w.body, NEW.id, NEW.status, 0, NEW.accepted_at
  FROM webhook w WHERE w.subject = NEW.task_id AND w.kind = 'task' AND w.disabled_at IS NULL;
END;

CREATE TRIGGER turn_changed AFTER UPDATE OF status ON turn
WHEN (NEW.task_id IS NOT NULL OR NEW.watched = 1) AND NEW.status <> OLD.status
BEGIN
  INSERT INTO outbox (tenant, user, kind, subject, webhook_id, url, body, turn_id, status, is_last, at)
  SELECT NEW.tenant, NEW.user, w.kind, w.subject, w.id, w.url, w.body, NEW.id, NEW.status,
    NOT EXISTS (SELECT 1 FROM turn o WHERE o.task_id = NEW.task_id AND o.status IN ('queued', 'running')),
    coalesce(NEW.finished_at, NEW.accepted_at)
  FROM webhook w WHERE w.subject IN (NEW.task_id, NEW.id) AND w.disabled_at IS NULL
    AND (w.kind = 'task' OR NEW.status NOT IN ('queued', 'running'));
END;

CREATE TRIGGER turn_forgotten AFTER DELETE ON turn WHEN OLD.task_id = OLD.id OR OLD.watched = 1
BEGIN
  DELETE FROM outbox WHERE subject = OLD.id;
  DELETE FROM webhook WHERE subject = OLD.id;
END;
