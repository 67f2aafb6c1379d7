-- Messages that no process could read. Its SQLite sibling tells what the columns are for.

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    at bigint NOT NULL,
    executions bigint NOT NULL CHECK (executions >= 0),
    tenant text NOT NULL,
    function text NOT NULL,
    reason text NOT NULL,
    headers text NOT NULL,
    body bytea NOT NULL
);

UPDATE schema_info SET version = 6;
