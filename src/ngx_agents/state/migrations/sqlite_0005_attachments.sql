-- Which attachments go with a turn's message: their ids, separated by spaces.
ALTER TABLE turn ADD COLUMN attachments TEXT;

-- `place` says where the bytes are: in `data`, or with an object store.
ALTER TABLE blob ADD COLUMN name TEXT;
ALTER TABLE blob ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blob ADD COLUMN place TEXT NOT NULL DEFAULT 'journal';
UPDATE blob SET size_bytes = length(data);
DROP INDEX blob_of_owner;
CREATE INDEX blob_of_owner ON blob (tenant, user, created_at DESC, id DESC);

-- What has had its time is found by its age.
CREATE INDEX blob_by_time ON blob (created_at);
CREATE INDEX artifact_by_time ON artifact (created_at);
CREATE INDEX log_by_kind ON log (kind, at);
