-- The rows of executions that were made before their events came. Its SQLite sibling tells more.

CREATE TABLE early_rows (
    execution_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    made_at bigint NOT NULL
);

CREATE INDEX early_rows_of ON early_rows (tenant);
CREATE INDEX early_rows_by_age ON early_rows (made_at);

UPDATE schema_info SET version = 10;
