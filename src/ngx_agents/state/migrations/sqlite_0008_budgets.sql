-- What was taken of a budget (slices that instances hold, and what they spent of them), per budget, subject, period, unit.
CREATE TABLE budget_meter (
  name TEXT PRIMARY KEY,
  leased INTEGER NOT NULL,
  spent INTEGER NOT NULL,
  ends_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX budget_meter_by_end ON budget_meter (ends_at);

-- What a key is called, the agents it may ask (all when empty), when it ends, and when it was last used.
ALTER TABLE api_key ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN agents TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN expires_at REAL;
ALTER TABLE api_key ADD COLUMN last_used_at REAL;
