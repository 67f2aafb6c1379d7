-- The rows of executions that operators' operations have made before their events came: they are
-- counted by tenant, and deleted when they are old and no event has come. An entry goes when the
-- event comes, and may stay behind where a release that does not know this table brings it.

CREATE TABLE early_rows (
    execution_id BLOB PRIMARY KEY CHECK (length(execution_id) = 16),
    tenant TEXT NOT NULL,
    made_at INTEGER NOT NULL
) STRICT;

CREATE INDEX early_rows_of ON early_rows (tenant);
CREATE INDEX early_rows_by_age ON early_rows (made_at);

UPDATE schema_info SET version = 11;
