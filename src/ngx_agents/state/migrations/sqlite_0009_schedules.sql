-- Messages that are sent by themselves at a local time on some weekdays; `next_at` is when each is due next.
CREATE TABLE schedule (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  at TEXT NOT NULL,
  weekdays TEXT NOT NULL,
  zone TEXT NOT NULL,
  text TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  created_at REAL NOT NULL,
  next_at REAL NOT NULL,
  agent TEXT,
  locale TEXT,
  is_paused INTEGER NOT NULL DEFAULT 0,
  last_due_at REAL,
  last_run_at REAL,
  last_turn_id TEXT,
  skipped INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX schedule_of_owner ON schedule (tenant, user, created_at, id);
CREATE INDEX schedule_due ON schedule (next_at, id) WHERE is_paused = 0;
