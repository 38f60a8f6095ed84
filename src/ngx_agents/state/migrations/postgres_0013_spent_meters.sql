-- At `cap` a meter keeps turns out (NULL: it never does); `is_spent` is whether as much is taken, so that those few are found.
-- The index is on what changes seldom: taking and giving back stay updates in place.
ALTER TABLE ngx.budget_meter ADD COLUMN cap bigint;
ALTER TABLE ngx.budget_meter ADD COLUMN is_spent boolean NOT NULL DEFAULT false;
CREATE INDEX budget_meter_spent ON ngx.budget_meter (name) WHERE is_spent;
