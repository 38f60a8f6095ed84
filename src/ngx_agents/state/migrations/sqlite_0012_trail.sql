-- What other servers told of the way of a turn's message: how far it has come, and what is left for it.
ALTER TABLE turn ADD COLUMN trail TEXT;
