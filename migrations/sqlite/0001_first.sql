-- The first schema. Its PostgreSQL sibling has the same tables and columns; what differs is the types and that history is
-- partitioned by day there.
--
-- Types: an id is the 16 bytes of a UUID and a digest the 32 bytes of a SHA-256; a time is in microseconds since 1970, a
-- duration (`_ns`) in nanoseconds. Words (states, outcomes, levels, …) are those of the domain, and CHECKs refuse all others.

------------------------------------------------------------------------------------------------------------------------
-- What users define. Every change raises the one revision, in its own transaction.

CREATE TABLE revision (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0)
) STRICT;

INSERT INTO revision (only_row, revision) VALUES (1, 0);

-- Content-addressed. `put_at` is renewed when the same bytes are put again, so that a deploy's artifact is never pruned
-- between its upload and the version that will name it.
CREATE TABLE artifacts (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    put_at INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

-- A rollback moves `current_version`, and nothing else.
CREATE TABLE functions (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    current_version INTEGER NOT NULL,
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, name, current_version) REFERENCES versions (tenant, function, number) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

-- `manifest` is the manifest's JSON without its triggers, which have rows of their own.
CREATE TABLE versions (
    tenant TEXT NOT NULL,
    function TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    digest BLOB NOT NULL REFERENCES artifacts (digest),
    manifest TEXT NOT NULL,
    deployed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, function, number),
    FOREIGN KEY (tenant, function) REFERENCES functions (tenant, name) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE INDEX versions_by_digest ON versions (digest);

-- The triggers of a version in the manifest's order. `event` is a pattern, `http` the JSON of a trigger on HTTP requests,
-- `schema` a JSON Schema's text.
CREATE TABLE triggers (
    tenant TEXT NOT NULL,
    function TEXT NOT NULL,
    version INTEGER NOT NULL,
    place INTEGER NOT NULL CHECK (place >= 0),
    event TEXT,
    http TEXT,
    schema TEXT,
    CHECK ((event IS NULL) <> (http IS NULL)),
    PRIMARY KEY (tenant, function, version, place),
    FOREIGN KEY (tenant, function, version) REFERENCES versions (tenant, function, number) ON DELETE CASCADE
) STRICT;

-- Functions that do not exist any more, while their queues may hold something.
CREATE TABLE deleted_functions (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- The schema of an event type.
CREATE TABLE schemas (
    tenant TEXT NOT NULL,
    event_type TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    schema TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, event_type)
) STRICT;

CREATE TABLE api_keys (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('operator', 'tenant')),
    label TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL
) STRICT;

-- `sealed` is a value that was encrypted by the operator's key `sealing_key` before it came here, for this row and no other.
CREATE TABLE secrets (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    sealing_key TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT;

------------------------------------------------------------------------------------------------------------------------
-- What functions keep with wasi:keyvalue.

-- A bucket is a function's own, or shared by its tenant's functions where `function` is empty. `keys` and `bytes` (keys and
-- values together) are those of its entries, counted by whoever writes them. `version` is the last one that an entry got: it
-- begins with the time, so that a bucket that is made again repeats none.
CREATE TABLE buckets (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    function TEXT NOT NULL,
    name TEXT NOT NULL,
    keys INTEGER NOT NULL CHECK (keys >= 0),
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    version INTEGER NOT NULL CHECK (version >= 1),
    UNIQUE (tenant, name, function)
) STRICT;

-- A key is UTF-8. `number` is the version that it was set with first, and the order in which keys are listed.
CREATE TABLE bucket_entries (
    bucket INTEGER NOT NULL REFERENCES buckets (id) ON DELETE CASCADE,
    key BLOB NOT NULL CHECK (length(key) BETWEEN 1 AND 512),
    number INTEGER NOT NULL CHECK (number >= 1),
    version INTEGER NOT NULL CHECK (version >= number),
    value BLOB NOT NULL CHECK (length(value) <= 4194304),
    PRIMARY KEY (bucket, key),
    UNIQUE (bucket, number)
) STRICT;

------------------------------------------------------------------------------------------------------------------------
-- What became of events. These tables have no foreign keys: an execution outlives its function, and its parts are written
-- and pruned together with it, in one transaction (in PostgreSQL, with the day's partition).

-- All of an execution that most have: its event and its one attempt. So the usual life of an event is one row, written once.
CREATE TABLE executions (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    accepted_at INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    due_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    -- The attempt that it is at, and how many there are at most.
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    max_attempts INTEGER NOT NULL CHECK (max_attempts >= 0),
    -- What the attempt cost that ended the execution.
    queue_wait_ns INTEGER,
    run_time_ns INTEGER,
    fuel_used INTEGER,
    peak_memory INTEGER,
    log_lines_dropped INTEGER,
    -- The execution that emitted the event.
    parent BLOB CHECK (length(parent) = 16),
    tenant TEXT NOT NULL,
    function TEXT NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('scheduled', 'queued', 'running', 'suspended', 'succeeded', 'failed', 'cancelled')
    ),
    -- The last attempt that began: which version ran, where, how it ended and why.
    version BLOB CHECK (length(version) = 32),
    host TEXT,
    outcome TEXT CHECK (
        outcome IN (
            'success', 'rejected', 'error', 'trap', 'out_of_fuel', 'out_of_memory', 'timed_out', 'cancelled', 'poisoned'
        )
    ),
    message TEXT,
    -- What lists show and filter of the event.
    event_type TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event_source TEXT NOT NULL,
    -- The W3C trace context that attempts are children of.
    traceparent TEXT NOT NULL,
    tracestate TEXT,
    trace_id TEXT NOT NULL GENERATED ALWAYS AS (substr(traceparent, 4, 32)) VIRTUAL,
    -- More of the attempt that ended the execution: its own traceparent, and its log as a JSON array. Only a success has `output`.
    span TEXT,
    backtrace TEXT,
    content_type TEXT,
    logs TEXT,
    -- The event in the JSON format of CloudEvents 1.0.
    event TEXT NOT NULL,
    output BLOB,
    CHECK ((state = 'scheduled') = (due_at IS NOT NULL)),
    CHECK (state NOT IN ('succeeded', 'failed', 'cancelled') OR finished_at IS NOT NULL),
    CHECK ((span IS NULL) = (run_time_ns IS NULL)),
    CHECK ((content_type IS NULL) = (output IS NULL))
) STRICT;

-- Lists are by id, which is by time: each of these is read from its end.
CREATE INDEX executions_by_tenant ON executions (tenant, id);
CREATE INDEX executions_by_function ON executions (tenant, function, id);
CREATE INDEX executions_by_state ON executions (tenant, state, id);
CREATE INDEX executions_due ON executions (due_at) WHERE state = 'scheduled';
CREATE INDEX executions_by_parent ON executions (parent, id) WHERE parent IS NOT NULL;

-- Attempts that ended and were not, or are not any more, the last: those that another followed.
CREATE TABLE attempts (
    execution_id BLOB NOT NULL CHECK (length(execution_id) = 16),
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    queue_wait_ns INTEGER NOT NULL,
    run_time_ns INTEGER NOT NULL,
    fuel_used INTEGER NOT NULL,
    peak_memory INTEGER NOT NULL,
    log_lines_dropped INTEGER NOT NULL,
    version BLOB CHECK (length(version) = 32),
    host TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (
        outcome IN (
            'success', 'rejected', 'error', 'trap', 'out_of_fuel', 'out_of_memory', 'timed_out', 'cancelled', 'poisoned'
        )
    ),
    message TEXT,
    span TEXT NOT NULL,
    backtrace TEXT,
    logs TEXT,
    PRIMARY KEY (execution_id, attempt)
) STRICT;

------------------------------------------------------------------------------------------------------------------------
-- What is still to be done.

-- Attempts that nobody has confirmed to be in their queue. An entry counts as long as its execution is queued or running at
-- the same attempt; others are swept out when they are come upon.
CREATE TABLE outbox (
    execution_id BLOB NOT NULL CHECK (length(execution_id) = 16),
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    made_at INTEGER NOT NULL,
    PRIMARY KEY (execution_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_by_age ON outbox (made_at, execution_id, attempt);

-- Who leads. A new holder raises the term.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    term INTEGER NOT NULL CHECK (term >= 1),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
