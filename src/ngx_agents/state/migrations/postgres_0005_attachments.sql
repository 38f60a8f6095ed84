-- Which attachments go with a turn's message: their ids, separated by spaces.
ALTER TABLE ngx.turn ADD COLUMN attachments text COLLATE "C";

-- `place` says where the bytes are: in `data`, or with an object store.
ALTER TABLE ngx.blob ADD COLUMN name text;
ALTER TABLE ngx.blob ADD COLUMN size_bytes bigint NOT NULL DEFAULT 0;
ALTER TABLE ngx.blob ADD COLUMN place text COLLATE "C" NOT NULL DEFAULT 'journal';
UPDATE ngx.blob SET size_bytes = octet_length(data);
CREATE INDEX blob_by_id ON ngx.blob (id);

-- What has had its time is found by its age. Messages come in the order of time: a summary of each range of pages is
-- enough to find the old ones, and costs their writers nothing.
CREATE INDEX blob_by_time ON ngx.blob (created_at);
CREATE INDEX artifact_by_time ON ngx.artifact (created_at);
CREATE INDEX log_by_kind ON ngx.log (kind, at);
CREATE INDEX message_by_time ON ngx.message USING brin (created_at) WITH (autosummarize = on);
