-- One row per conversation carries its lane too: pending turns, who holds it, the last granted epoch.
CREATE TABLE conversation (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  title TEXT NOT NULL,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  next_turn INTEGER NOT NULL DEFAULT 1,
  pending INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  lane_owner TEXT,
  running TEXT,
  sort_key REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX conversation_of_owner ON conversation (tenant, user, created_at DESC, id DESC);
CREATE INDEX lane_waiting ON conversation (sort_key) WHERE pending > 0;

CREATE TABLE turn (
  id TEXT PRIMARY KEY,
  conversation_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  status TEXT NOT NULL,
  turn_class INTEGER NOT NULL,
  accepted_at REAL NOT NULL,
  deadline_at REAL NOT NULL,
  locale TEXT,
  agent TEXT,
  attempts INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  last_seq INTEGER NOT NULL DEFAULT 0,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  finished_at REAL,
  answer BLOB
) WITHOUT ROWID;
CREATE INDEX turn_open ON turn (conversation_id, number) WHERE status IN ('queued', 'running');

-- A turn's user message has seq 2n-1 and its answer 2n, n being the turn's number in the conversation.
CREATE TABLE message (
  conversation_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  id TEXT NOT NULL,
  role TEXT NOT NULL,
  text TEXT NOT NULL,
  created_at REAL NOT NULL,
  turn_id TEXT NOT NULL,
  agent TEXT,
  source TEXT,
  PRIMARY KEY (conversation_id, seq)
) WITHOUT ROWID;

CREATE TABLE artifact (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  agent TEXT NOT NULL,
  kind TEXT NOT NULL,
  title TEXT NOT NULL,
  data BLOB NOT NULL,
  created_at REAL NOT NULL,
  version INTEGER NOT NULL
);
CREATE INDEX artifact_of_owner ON artifact (tenant, user, created_at DESC, id DESC);
CREATE INDEX artifact_of_turn ON artifact (turn_id);

CREATE TABLE idempotency (
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  key TEXT NOT NULL,
  hash BLOB NOT NULL,
  turn_id TEXT NOT NULL,
  created_at REAL NOT NULL,
  PRIMARY KEY (tenant, user, key)
) WITHOUT ROWID;

CREATE INDEX idempotency_of_turn ON idempotency (turn_id);

CREATE TABLE checkpoint (
  turn_id TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (turn_id, key)
) WITHOUT ROWID;

CREATE TABLE effect (
  turn_id TEXT NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL,
  result BLOB NOT NULL,
  changed_at REAL NOT NULL,
  PRIMARY KEY (turn_id, key)
) WITHOUT ROWID;

CREATE TABLE profile (
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  body BLOB NOT NULL,
  updated_at REAL NOT NULL,
  PRIMARY KEY (tenant, user)
) WITHOUT ROWID;

CREATE TABLE log (
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  at REAL NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (tenant, user, id)
) WITHOUT ROWID;
CREATE INDEX log_by_time ON log (tenant, user, at DESC, id DESC);

CREATE TABLE api_key (
  id TEXT PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  roles TEXT NOT NULL,
  created_at REAL NOT NULL,
  revoked_at REAL
);
