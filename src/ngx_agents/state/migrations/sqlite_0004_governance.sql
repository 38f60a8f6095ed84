-- What operators decide (plans, tenants, flags, budgets, stops), one JSON document each; a removed one keeps its row
-- with an empty body, so that who follows `number` learns of it.
CREATE TABLE control (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  body BLOB NOT NULL,
  number INTEGER NOT NULL,
  changed_at REAL NOT NULL,
  PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX control_by_number ON control (number);

-- Who changed what, and when. Rows are only ever added.
CREATE TABLE audit (
  id TEXT PRIMARY KEY,
  at REAL NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  before BLOB,
  after BLOB
) WITHOUT ROWID;
CREATE INDEX audit_by_time ON audit (at DESC, id DESC);
