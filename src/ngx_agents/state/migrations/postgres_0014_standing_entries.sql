-- How many entries wait for a standing webhook is counted in this index alone, with each event that would add one.
CREATE INDEX outbox_standing ON ngx.outbox (tenant, user_id, webhook_id)
  WHERE kind = 'standing' AND dead_reason IS NULL;
