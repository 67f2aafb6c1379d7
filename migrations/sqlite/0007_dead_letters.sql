-- Messages that no process could read, until an operator has them sent again or deletes them. The
-- tenant and the function are those of the queue that the message was in; `executions` is how many
-- ended by it. `headers` is a JSON array of names and values.

CREATE TABLE dead_letters (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    executions INTEGER NOT NULL CHECK (executions >= 0),
    tenant TEXT NOT NULL,
    function TEXT NOT NULL,
    reason TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

UPDATE schema_info SET version = 7;
