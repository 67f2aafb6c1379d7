-- An execution's epoch, which every operator's move raises: what was dispatched in an earlier one
-- does not count any more. 0 is that of a row that was made from a message which does not say its
-- epoch.
ALTER TABLE executions ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;

-- The first execution of the chain that led to this one; null for the first itself, and in rows of
-- releases before.
ALTER TABLE executions ADD COLUMN root BLOB;

-- Why the execution exists: a word, and as a JSON object what belongs to it beside `parent`, which
-- stays what it was. Null in rows of releases before.
ALTER TABLE executions ADD COLUMN origin_kind TEXT;
ALTER TABLE executions ADD COLUMN origin TEXT;

-- An entry is of the epoch in which it was made: whoever has published an earlier one does not take
-- it out.
ALTER TABLE outbox ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;

UPDATE schema_info SET version = 8;
