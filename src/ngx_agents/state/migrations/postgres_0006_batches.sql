-- Many inputs handed in at once. An input is a row of batch_item until a turn is made of it; then its text is the
-- message's, and what became of it is the turn's. `taken` counts those that were; the others follow in their order.
-- The shard is the user's.
CREATE TABLE ngx.batch (
  shard smallint NOT NULL,
  id text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  status text COLLATE "C" NOT NULL,
  created_at double precision NOT NULL,
  expires_at double precision NOT NULL,
  finished_at double precision,
  size integer NOT NULL DEFAULT 0,
  taken integer NOT NULL DEFAULT 0,
  served_at double precision NOT NULL DEFAULT 0,
  key text COLLATE "C",
  hash bytea,
  counts bytea,
  PRIMARY KEY (shard, id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX batch_of_owner ON ngx.batch (tenant, user_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX batch_of_key ON ngx.batch (shard, tenant, user_id, key) WHERE key IS NOT NULL;
CREATE INDEX batch_open ON ngx.batch (status) WHERE status IN ('running', 'cancelling');

CREATE TABLE ngx.batch_item (
  shard smallint NOT NULL,
  batch_id text COLLATE "C" NOT NULL,
  number integer NOT NULL,
  turn_id text COLLATE "C" NOT NULL,
  conversation_id text COLLATE "C" NOT NULL,
  is_own boolean NOT NULL,
  text text NOT NULL,
  custom_id text,
  agent text,
  locale text,
  code text,
  PRIMARY KEY (shard, batch_id, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Conversations that a batch made for its inputs are found by their ids alone.
ALTER TABLE ngx.conversation ADD COLUMN is_listed boolean NOT NULL DEFAULT true;
DROP INDEX ngx.conversation_of_owner;
CREATE INDEX conversation_of_owner ON ngx.conversation (tenant, user_id, is_listed, created_at DESC, id DESC);
