-- A turn of a task of the open protocol: the task, the caller's name of the conversation, the message as it came.
ALTER TABLE turn ADD COLUMN task_id TEXT;
ALTER TABLE turn ADD COLUMN context_id TEXT;
ALTER TABLE turn ADD COLUMN task_message BLOB;
CREATE INDEX turn_of_task ON turn (task_id, number) WHERE task_id IS NOT NULL;
CREATE INDEX task_of_owner ON turn (tenant, user, task_id, number) WHERE task_id IS NOT NULL;

CREATE TABLE push_config (
  task_id TEXT NOT NULL,
  id TEXT NOT NULL,
  url TEXT NOT NULL,
  body BLOB NOT NULL,
  created_at REAL NOT NULL,
  disabled_at REAL,
  PRIMARY KEY (task_id, id)
) WITHOUT ROWID;

-- What is to be sent to webhooks. `is_last`: no other turn of the task was open when this one came to `status`.
CREATE TABLE push_outbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  task_id TEXT NOT NULL,
  config_id TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  status TEXT NOT NULL,
  is_last INTEGER NOT NULL,
  at REAL NOT NULL,
  step INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  due_at REAL NOT NULL DEFAULT 0,
  claimed_by TEXT,
  claimed_until REAL NOT NULL DEFAULT 0,
  dead_reason TEXT
);
CREATE INDEX push_waiting ON push_outbox (due_at) WHERE dead_reason IS NULL;
CREATE INDEX push_of_config ON push_outbox (task_id, config_id, number) WHERE dead_reason IS NULL;

CREATE TRIGGER push_begun AFTER INSERT ON turn WHEN NEW.task_id IS NOT NULL
BEGIN
  INSERT INTO push_outbox (task_id, config_id, turn_id, status, is_last, at)
  SELECT c.task_id, c.id, NEW.id, NEW.status, 0, NEW.accepted_at
  FROM push_config c WHERE c.task_id = NEW.task_id AND c.disabled_at IS NULL;
END;

CREATE TRIGGER push_changed AFTER UPDATE OF status ON turn WHEN NEW.task_id IS NOT NULL AND NEW.status <> OLD.status
BEGIN
  INSERT INTO push_outbox (task_id, config_id, turn_id, status, is_last, at)
  SELECT c.task_id, c.id, NEW.id, NEW.status,
    NOT EXISTS (SELECT 1 FROM turn o WHERE o.task_id = NEW.task_id AND o.status IN ('queued', 'running')),
    coalesce(NEW.finished_at, NEW.accepted_at)
  FROM push_config c WHERE c.task_id = NEW.task_id AND c.disabled_at IS NULL;
END;

CREATE TRIGGER task_forgotten AFTER DELETE ON turn WHEN OLD.task_id = OLD.id
BEGIN
  DELETE FROM push_outbox WHERE task_id = OLD.id;
  DELETE FROM push_config WHERE task_id = OLD.id;
END;
