-- A conversation's compact state beside its messages. A table with row ids: bodies of megabytes do not belong in a key.
CREATE TABLE state (
  conversation_id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  body BLOB NOT NULL,
  updated_at REAL NOT NULL
);

CREATE TABLE blob (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  conversation_id TEXT,
  media_type TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  created_at REAL NOT NULL,
  data BLOB NOT NULL
);
CREATE INDEX blob_of_owner ON blob (tenant, user);
CREATE INDEX blob_of_conversation ON blob (conversation_id) WHERE conversation_id IS NOT NULL;

CREATE TABLE consent (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL,
  user TEXT NOT NULL,
  kind TEXT NOT NULL,
  version TEXT NOT NULL,
  is_given INTEGER NOT NULL,
  at REAL NOT NULL
);
CREATE INDEX consent_of_owner ON consent (tenant, user, kind, number DESC);

CREATE TABLE election (
  name TEXT PRIMARY KEY,
  instance TEXT NOT NULL,
  expires_at REAL NOT NULL
) WITHOUT ROWID;

CREATE INDEX idempotency_by_time ON idempotency (created_at);
