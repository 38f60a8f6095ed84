-- Many inputs handed in at once. An input is a row of batch_item until a turn is made of it; then its text is the
-- message's, and what became of it is the turn's. `taken` counts those that were; the others follow in their order.
CREATE TABLE batch (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  status TEXT NOT NULL,
  created_at REAL NOT NULL,
  expires_at REAL NOT NULL,
  finished_at REAL,
  size INTEGER NOT NULL DEFAULT 0,
  taken INTEGER NOT NULL DEFAULT 0,
  served_at REAL NOT NULL DEFAULT 0,
  key TEXT,
  hash BLOB,
  counts BLOB
) WITHOUT ROWID;
CREATE INDEX batch_of_owner ON batch (tenant, user, created_at DESC, id DESC);
CREATE UNIQUE INDEX batch_of_key ON batch (tenant, user, key) WHERE key IS NOT NULL;
CREATE INDEX batch_open ON batch (served_at) WHERE status IN ('running', 'cancelling');

CREATE TABLE batch_item (
  batch_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  turn_id TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  is_own INTEGER NOT NULL,
  text TEXT NOT NULL,
  custom_id TEXT,
  agent TEXT,
  locale TEXT,
  code TEXT,
  PRIMARY KEY (batch_id, number)
) WITHOUT ROWID;

-- Conversations that a batch made for its inputs are found by their ids alone.
ALTER TABLE conversation ADD COLUMN is_listed INTEGER NOT NULL DEFAULT 1;
DROP INDEX conversation_of_owner;
CREATE INDEX conversation_of_owner ON conversation (tenant, user, is_listed, created_at DESC, id DESC);
