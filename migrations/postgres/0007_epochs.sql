-- An execution's epoch and origin. Its SQLite sibling tells what the columns are for. Only constant
-- defaults, and nothing to be checked in rows that are there: so no table is read or written.

ALTER TABLE executions
    ADD COLUMN epoch bigint NOT NULL DEFAULT 1,
    ADD COLUMN root uuid,
    ADD COLUMN origin_kind text,
    ADD COLUMN origin text;

ALTER TABLE outbox ADD COLUMN epoch bigint NOT NULL DEFAULT 1;

UPDATE schema_info SET version = 7;
