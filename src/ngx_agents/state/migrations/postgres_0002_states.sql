-- A conversation's compact state beside its messages: rewritten as a whole, already compressed.
CREATE TABLE ngx.state (
  shard smallint NOT NULL,
  conversation_id text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  body bytea NOT NULL,
  updated_at double precision NOT NULL,
  PRIMARY KEY (shard, conversation_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE ngx.state ALTER COLUMN body SET STORAGE EXTERNAL;

-- The shard of an attachment and of a consent is the user's.
CREATE TABLE ngx.blob (
  shard smallint NOT NULL,
  id text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  conversation_id text COLLATE "C",
  media_type text COLLATE "C" NOT NULL,
  sha256 text COLLATE "C" NOT NULL,
  created_at double precision NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (shard, id)
);
ALTER TABLE ngx.blob ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX blob_of_owner ON ngx.blob (tenant, user_id, created_at, id);
CREATE INDEX blob_of_conversation ON ngx.blob (conversation_id) WHERE conversation_id IS NOT NULL;

CREATE TABLE ngx.consent (
  shard smallint NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  number bigint GENERATED ALWAYS AS IDENTITY,
  kind text COLLATE "C" NOT NULL,
  version text NOT NULL,
  is_given boolean NOT NULL,
  at double precision NOT NULL,
  PRIMARY KEY (shard, tenant, user_id, number)
);

CREATE TABLE ngx.election (
  name text COLLATE "C" PRIMARY KEY,
  instance text COLLATE "C" NOT NULL,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What others who hold a copy of a profile learn with each turn; 0 means that there is none.
ALTER TABLE ngx.profile ADD COLUMN version bigint NOT NULL DEFAULT 1;

CREATE INDEX idempotency_by_time ON ngx.idempotency (created_at);
