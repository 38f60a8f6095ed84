-- One row per conversation carries its lane too: pending turns, who holds it, the last granted epoch.
-- `shard` (0..255, from the user) leads every primary key, so that tables can be distributed or partitioned by it.
-- Times are Unix seconds; only leases use the database's own time.
CREATE TABLE ngx.conversation (
  shard smallint NOT NULL,
  id text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  title text NOT NULL,
  created_at double precision NOT NULL,
  updated_at double precision NOT NULL,
  next_turn integer NOT NULL DEFAULT 1,
  pending integer NOT NULL DEFAULT 0 CHECK (pending >= 0),
  epoch bigint NOT NULL DEFAULT 0,
  lane_owner text COLLATE "C",
  running text COLLATE "C",
  sort_key double precision NOT NULL DEFAULT 0,
  PRIMARY KEY (shard, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX conversation_of_owner ON ngx.conversation (tenant, user_id, created_at DESC, id DESC);
CREATE INDEX lane_free ON ngx.conversation (sort_key) WHERE pending > 0 AND lane_owner IS NULL;
CREATE INDEX lane_held ON ngx.conversation (lane_owner, sort_key) WHERE pending > 0 AND lane_owner IS NOT NULL;

CREATE TABLE ngx.turn (
  shard smallint NOT NULL,
  id text COLLATE "C" NOT NULL,
  conversation_id text COLLATE "C" NOT NULL,
  number integer NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  status text COLLATE "C" NOT NULL,
  turn_class smallint NOT NULL,
  accepted_at double precision NOT NULL,
  deadline_at double precision NOT NULL,
  locale text,
  agent text,
  attempts integer NOT NULL,
  epoch bigint NOT NULL,
  last_seq bigint NOT NULL DEFAULT 0,
  cancel_requested boolean NOT NULL DEFAULT false,
  finished_at double precision,
  answer bytea,
  PRIMARY KEY (shard, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX turn_open ON ngx.turn (shard, conversation_id, number) WHERE status IN ('queued', 'running');
CREATE INDEX turn_dead ON ngx.turn (accepted_at DESC, id DESC) WHERE status = 'dead';

-- A turn's user message has seq 2n-1 and its answer 2n, n being the turn's number in the conversation.
CREATE TABLE ngx.message (
  shard smallint NOT NULL,
  conversation_id text COLLATE "C" NOT NULL,
  seq integer NOT NULL,
  id text COLLATE "C" NOT NULL,
  role text COLLATE "C" NOT NULL,
  text text NOT NULL,
  created_at double precision NOT NULL,
  turn_id text COLLATE "C" NOT NULL,
  agent text,
  source text,
  PRIMARY KEY (shard, conversation_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE ngx.artifact (
  shard smallint NOT NULL,
  id text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  turn_id text COLLATE "C" NOT NULL,
  conversation_id text COLLATE "C" NOT NULL,
  agent text NOT NULL,
  kind text NOT NULL,
  title text NOT NULL,
  data bytea NOT NULL,
  created_at double precision NOT NULL,
  version integer NOT NULL,
  PRIMARY KEY (shard, id)
);
CREATE INDEX artifact_of_owner ON ngx.artifact (tenant, user_id, created_at DESC, id DESC);
CREATE INDEX artifact_of_turn ON ngx.artifact (shard, turn_id);

CREATE TABLE ngx.idempotency (
  shard smallint NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  hash bytea NOT NULL,
  turn_id text COLLATE "C" NOT NULL,
  created_at double precision NOT NULL,
  PRIMARY KEY (shard, tenant, user_id, key)
);
CREATE INDEX idempotency_of_turn ON ngx.idempotency (turn_id);

CREATE TABLE ngx.checkpoint (
  shard smallint NOT NULL,
  turn_id text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  value bytea NOT NULL,
  PRIMARY KEY (shard, turn_id, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE ngx.effect (
  shard smallint NOT NULL,
  turn_id text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL,
  result bytea NOT NULL,
  changed_at double precision NOT NULL,
  PRIMARY KEY (shard, turn_id, key)
) WITH (fillfactor = 70);

CREATE TABLE ngx.profile (
  shard smallint NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  body bytea NOT NULL,
  updated_at double precision NOT NULL,
  PRIMARY KEY (shard, tenant, user_id)
) WITH (fillfactor = 70);

CREATE TABLE ngx.log (
  shard smallint NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  at double precision NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (shard, tenant, user_id, id)
);
CREATE INDEX log_by_time ON ngx.log (shard, tenant, user_id, at DESC, id DESC);

-- The shard of a key is the first byte of its digest: whoever looks for a key has nothing else.
CREATE TABLE ngx.api_key (
  shard smallint NOT NULL,
  digest bytea NOT NULL,
  id text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  roles text NOT NULL,
  created_at double precision NOT NULL,
  revoked_at double precision,
  PRIMARY KEY (shard, digest)
);
CREATE INDEX api_key_by_id ON ngx.api_key (id);

-- One heartbeat row per incarnation of an instance. A lane whose owner has no row that is still valid may be claimed.
CREATE TABLE ngx.instance (
  id text COLLATE "C" PRIMARY KEY,
  address text,
  started_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- The last batch that each writer committed: how a commit whose reply was lost is looked up, also after a failover.
CREATE TABLE ngx.writer (
  id text COLLATE "C" PRIMARY KEY,
  batch bigint NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT statement_timestamp()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
