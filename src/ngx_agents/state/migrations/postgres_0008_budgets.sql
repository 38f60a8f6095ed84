-- What was taken of a budget (slices that instances hold, and what they spent of them), per budget, subject, period, unit.
CREATE TABLE ngx.budget_meter (
  shard smallint NOT NULL,
  name text COLLATE "C" NOT NULL,
  leased bigint NOT NULL DEFAULT 0,
  spent bigint NOT NULL DEFAULT 0,
  ends_at double precision NOT NULL,
  PRIMARY KEY (shard, name)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX budget_meter_by_end ON ngx.budget_meter (ends_at);

-- What a key is called, the agents it may ask (all when empty), when it ends, and when it was last used.
ALTER TABLE ngx.api_key ADD COLUMN name text NOT NULL DEFAULT '';
ALTER TABLE ngx.api_key ADD COLUMN agents text NOT NULL DEFAULT '';
ALTER TABLE ngx.api_key ADD COLUMN expires_at double precision;
ALTER TABLE ngx.api_key ADD COLUMN last_used_at double precision;
