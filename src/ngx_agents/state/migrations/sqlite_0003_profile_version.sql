-- What others who hold a copy of a profile learn with each turn; 0 means that there is none.
ALTER TABLE profile ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
