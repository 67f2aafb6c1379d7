-- The first schema. Its SQLite sibling has the same tables and columns, and tells what they are for; here is what differs:
-- the types, the indexes, no stored trace id, and that history is partitioned by day.
--
-- Types: an id is a uuid and a digest the 32 bytes of a SHA-256; a time is in microseconds since 1970, a duration (`_ns`) in
-- nanoseconds, as everywhere in wasmill. Words (states, outcomes, levels, …) are those of the domain, and CHECKs refuse
-- all others. Text has no NUL here: a NUL is kept as '␀' (U+2400).

------------------------------------------------------------------------------------------------------------------------
-- What users define. Every change raises the one revision, in its own transaction, and holds its row from the beginning, so
-- that changes come one after the other.

CREATE TABLE revision (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    revision bigint NOT NULL CHECK (revision >= 0)
);

INSERT INTO revision (only_row, revision) VALUES (1, 0);

CREATE TABLE artifacts (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    put_at bigint NOT NULL,
    bytes bytea NOT NULL
);

-- Machine code does not shrink enough to pay for the time.
ALTER TABLE artifacts ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE functions (
    tenant text NOT NULL,
    name text NOT NULL,
    current_version bigint NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE versions (
    tenant text NOT NULL,
    function text NOT NULL,
    number bigint NOT NULL CHECK (number >= 1),
    digest bytea NOT NULL REFERENCES artifacts (digest),
    manifest text NOT NULL,
    deployed_at bigint NOT NULL,
    PRIMARY KEY (tenant, function, number),
    FOREIGN KEY (tenant, function) REFERENCES functions (tenant, name) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);

ALTER TABLE functions ADD FOREIGN KEY (tenant, name, current_version)
    REFERENCES versions (tenant, function, number) DEFERRABLE INITIALLY DEFERRED;

CREATE INDEX versions_by_digest ON versions (digest);

CREATE TABLE triggers (
    tenant text NOT NULL,
    function text NOT NULL,
    version bigint NOT NULL,
    place bigint NOT NULL CHECK (place >= 0),
    event text,
    http text,
    schema text,
    CHECK ((event IS NULL) <> (http IS NULL)),
    PRIMARY KEY (tenant, function, version, place),
    FOREIGN KEY (tenant, function, version) REFERENCES versions (tenant, function, number) ON DELETE CASCADE
);

CREATE TABLE deleted_functions (
    tenant text NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE schemas (
    tenant text NOT NULL,
    event_type text NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    schema text NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant, event_type)
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    role text NOT NULL CHECK (role IN ('operator', 'tenant')),
    label text NOT NULL,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_at bigint NOT NULL
);

CREATE TABLE secrets (
    tenant text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    sealing_key text NOT NULL,
    sealed bytea NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant, name)
);

------------------------------------------------------------------------------------------------------------------------
-- What functions keep with wasi:keyvalue. Whoever writes to a bucket holds its row, so that the counts and versions in it are
-- right.

CREATE TABLE buckets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    function text NOT NULL,
    name text NOT NULL,
    keys bigint NOT NULL CHECK (keys >= 0),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    version bigint NOT NULL CHECK (version >= 1),
    UNIQUE (tenant, name, function)
);

CREATE TABLE bucket_entries (
    bucket bigint NOT NULL REFERENCES buckets (id) ON DELETE CASCADE,
    key bytea NOT NULL CHECK (length(key) BETWEEN 1 AND 512),
    number bigint NOT NULL CHECK (number >= 1),
    version bigint NOT NULL CHECK (version >= number),
    value bytea NOT NULL CHECK (length(value) <= 4194304),
    PRIMARY KEY (bucket, key),
    UNIQUE (bucket, number)
);

------------------------------------------------------------------------------------------------------------------------
-- What became of events: two tables, each partitioned by the day that is in the execution's id. A day has a partition of
-- each (`executions_d20261122`, …), made ahead and dropped when all in it is old. Whatever has no day of its own is in
-- `…_rest`, so that no row is ever refused.

-- The columns that are never of variable length come first: so no byte is lost to alignment.
CREATE TABLE executions (
    id uuid PRIMARY KEY,
    accepted_at bigint NOT NULL,
    queued_at bigint NOT NULL,
    due_at bigint,
    started_at bigint,
    finished_at bigint,
    attempt bigint NOT NULL CHECK (attempt >= 0),
    max_attempts bigint NOT NULL CHECK (max_attempts >= 0),
    queue_wait_ns bigint,
    run_time_ns bigint,
    fuel_used bigint,
    peak_memory bigint,
    log_lines_dropped bigint,
    parent uuid,
    tenant text NOT NULL,
    function text NOT NULL,
    state text NOT NULL CHECK (
        state IN ('scheduled', 'queued', 'running', 'suspended', 'succeeded', 'failed', 'cancelled')
    ),
    version bytea CHECK (length(version) = 32),
    host text,
    outcome text CHECK (
        outcome IN (
            'success', 'rejected', 'error', 'trap', 'out_of_fuel', 'out_of_memory', 'timed_out', 'cancelled', 'poisoned'
        )
    ),
    message text,
    event_type text NOT NULL,
    event_id text NOT NULL,
    event_source text NOT NULL,
    -- The trace's id is in it: 32 digits from the 4th character.
    traceparent text NOT NULL,
    tracestate text,
    span text,
    backtrace text,
    content_type text,
    logs text,
    event text NOT NULL,
    output bytea,
    CHECK ((state = 'scheduled') = (due_at IS NOT NULL)),
    CHECK (state NOT IN ('succeeded', 'failed', 'cancelled') OR finished_at IS NOT NULL),
    CHECK ((span IS NULL) = (run_time_ns IS NULL)),
    CHECK ((content_type IS NULL) = (output IS NULL))
) PARTITION BY RANGE (id);

CREATE INDEX executions_by_tenant ON executions (tenant, id);
CREATE INDEX executions_by_function ON executions (tenant, function, id);
-- Nearly all have succeeded: whoever looks for those finds them without.
CREATE INDEX executions_by_state ON executions (tenant, state, id) WHERE state <> 'succeeded';
CREATE INDEX executions_due ON executions (due_at) WHERE state = 'scheduled';
CREATE INDEX executions_by_parent ON executions (parent, id) WHERE parent IS NOT NULL;

CREATE TABLE attempts (
    execution_id uuid NOT NULL,
    attempt bigint NOT NULL CHECK (attempt >= 0),
    started_at bigint NOT NULL,
    finished_at bigint NOT NULL,
    queue_wait_ns bigint NOT NULL,
    run_time_ns bigint NOT NULL,
    fuel_used bigint NOT NULL,
    peak_memory bigint NOT NULL,
    log_lines_dropped bigint NOT NULL,
    version bytea CHECK (length(version) = 32),
    host text NOT NULL,
    outcome text NOT NULL CHECK (
        outcome IN (
            'success', 'rejected', 'error', 'trap', 'out_of_fuel', 'out_of_memory', 'timed_out', 'cancelled', 'poisoned'
        )
    ),
    message text,
    span text NOT NULL,
    backtrace text,
    logs text,
    PRIMARY KEY (execution_id, attempt)
) PARTITION BY RANGE (execution_id);

-- A row's texts stay in it as long as they fit into a page: compressed or set apart, each would cost more than the rest of the row.
CREATE TABLE executions_rest PARTITION OF executions DEFAULT WITH (toast_tuple_target = 8160);
CREATE TABLE attempts_rest PARTITION OF attempts DEFAULT WITH (toast_tuple_target = 8160);

------------------------------------------------------------------------------------------------------------------------
-- What is still to be done.

CREATE TABLE outbox (
    execution_id uuid NOT NULL,
    attempt bigint NOT NULL CHECK (attempt >= 0),
    made_at bigint NOT NULL,
    PRIMARY KEY (execution_id, attempt)
);

CREATE INDEX outbox_by_age ON outbox (made_at, execution_id, attempt);

CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    term bigint NOT NULL CHECK (term >= 1),
    expires_at bigint NOT NULL
);
