-- What operators' moves leave in an execution's row, and what later moves will. Its SQLite sibling
-- tells what the columns are for. Nullable and without a default: no row is read or written.

ALTER TABLE executions
    ADD COLUMN changed_at bigint,
    ADD COLUMN lane text,
    ADD COLUMN order_key text,
    ADD COLUMN held_by text,
    ADD COLUMN reason text;

UPDATE schema_info SET version = 9;
