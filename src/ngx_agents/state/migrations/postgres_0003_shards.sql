-- Where the shards of this database are, as far as they ever moved; none while one database has all of them.
-- `copying` still serves, `frozen` takes no writes, `gone` is at the peer, `arriving` is not here yet, `serving` is.
CREATE TABLE ngx.shard_place (
  shard smallint PRIMARY KEY,
  epoch bigint NOT NULL,
  state text COLLATE "C" NOT NULL CHECK (state IN ('copying', 'frozen', 'gone', 'arriving', 'serving')),
  peer text COLLATE "C" NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT statement_timestamp()
);

-- Primary keys of what changed while a shard is copied; what they name is copied again.
CREATE TABLE ngx.shard_change (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  shard smallint NOT NULL,
  tbl text COLLATE "C" NOT NULL,
  key jsonb NOT NULL
);
CREATE INDEX shard_change_of_shard ON ngx.shard_change (shard);

CREATE FUNCTION ngx.refuse_moved() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF current_setting('ngx.mover', true) = 'on' THEN
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
  END IF;
  RAISE EXCEPTION 'the shard takes no writes here' USING ERRCODE = 'NX001';
END
$$;

-- Its arguments are the columns of the table's primary key.
CREATE FUNCTION ngx.note_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
  key jsonb := '{}';
  position integer;
BEGIN
  FOR position IN 0 .. TG_NARGS - 1 LOOP
    key := key || jsonb_build_object(TG_ARGV[position], changed -> TG_ARGV[position]);
  END LOOP;
  INSERT INTO ngx.shard_change (shard, tbl, key) VALUES ((changed ->> 'shard')::smallint, TG_TABLE_NAME, key);
  RETURN NULL;
END
$$;
