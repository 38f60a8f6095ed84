-- What operators decide (plans, tenants, flags, budgets, stops), one JSON document each; a removed one keeps its row
-- with an empty body, so that who follows `number` learns of it. All in shard 0.
CREATE TABLE ngx.control (
  shard smallint NOT NULL,
  kind text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  body bytea NOT NULL,
  number bigint NOT NULL,
  changed_at double precision NOT NULL,
  PRIMARY KEY (shard, kind, id)
);
CREATE UNIQUE INDEX control_by_number ON ngx.control (number);

-- Who changed what, and when. Rows are only ever added. The shard is that of what was changed.
CREATE TABLE ngx.audit (
  shard smallint NOT NULL,
  id text COLLATE "C" NOT NULL,
  at double precision NOT NULL,
  actor text NOT NULL,
  action text COLLATE "C" NOT NULL,
  target text NOT NULL,
  before bytea,
  after bytea,
  PRIMARY KEY (shard, id)
);
CREATE INDEX audit_by_time ON ngx.audit (at DESC, id DESC);
