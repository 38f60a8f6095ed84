-- Who is told when a batch has ended: the address, and the caller's key, sealed.
ALTER TABLE ngx.batch ADD COLUMN webhook_url text, ADD COLUMN webhook_body bytea;
