-- How many entries wait for a standing webhook is counted with each event that would add one, in this index alone:
-- the last two columns are there so that no row is read.
CREATE INDEX outbox_standing ON outbox (tenant, user, webhook_id, kind, dead_reason)
  WHERE kind = 'standing' AND dead_reason IS NULL;
