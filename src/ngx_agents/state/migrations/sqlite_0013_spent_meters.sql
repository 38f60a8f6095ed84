-- At `cap` a meter keeps turns out (NULL: it never does); `is_spent` is whether as much is taken, so that those few are found.
ALTER TABLE budget_meter ADD COLUMN cap INTEGER;
ALTER TABLE budget_meter ADD COLUMN is_spent INTEGER NOT NULL DEFAULT 0;
CREATE INDEX budget_meter_spent ON budget_meter (name) WHERE is_spent;
