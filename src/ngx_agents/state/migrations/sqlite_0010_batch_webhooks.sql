-- Who is told when a batch has ended: the address, and the caller's key, sealed.
ALTER TABLE batch ADD COLUMN webhook_url TEXT;
ALTER TABLE batch ADD COLUMN webhook_body BLOB;
