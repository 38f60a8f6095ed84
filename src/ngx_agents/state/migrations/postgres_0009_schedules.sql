-- Messages that are sent by themselves at a local time on some weekdays; `next_at` is when each is due next.
-- The shard is the user's.
CREATE TABLE ngx.schedule (
  shard smallint NOT NULL,
  id text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  at text COLLATE "C" NOT NULL,
  weekdays text COLLATE "C" NOT NULL,
  zone text COLLATE "C" NOT NULL,
  text text NOT NULL,
  conversation_id text COLLATE "C" NOT NULL,
  created_at double precision NOT NULL,
  next_at double precision NOT NULL,
  agent text,
  locale text,
  is_paused boolean NOT NULL DEFAULT false,
  last_due_at double precision,
  last_run_at double precision,
  last_turn_id text COLLATE "C",
  skipped integer NOT NULL DEFAULT 0,
  PRIMARY KEY (shard, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX schedule_of_owner ON ngx.schedule (tenant, user_id, created_at, id);
CREATE INDEX schedule_due ON ngx.schedule (next_at, id) WHERE NOT is_paused;
