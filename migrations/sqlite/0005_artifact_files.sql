-- The bytes of an artifact are in a file of a folder beside the database, so that nothing else waits
-- while they are written. `bytes` is that of artifacts that an earlier release kept, and empty else.

ALTER TABLE artifacts ADD COLUMN size INTEGER NOT NULL DEFAULT 0 CHECK (size >= 0);

UPDATE artifacts SET size = length(bytes);
