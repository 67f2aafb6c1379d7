-- What lets releases work side by side on one database. Its SQLite sibling tells what the columns
-- are for.

CREATE TABLE schema_info (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    version bigint NOT NULL,
    min_reader bigint NOT NULL CHECK (min_reader BETWEEN 1 AND version)
);

INSERT INTO schema_info (only_row, version, min_reader) VALUES (1, 5, 5);

CREATE TABLE nodes (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL,
    release text NOT NULL,
    schema_version bigint NOT NULL,
    labels text NOT NULL,
    reads text NOT NULL,
    started_at bigint NOT NULL,
    beat_at bigint NOT NULL
);

-- Words are checked by their readers. A constraint of a partitioned table goes from every partition
-- with it, and no row is read. PostgreSQL gave these constraints their names, by table and column;
-- `executions_check` is the one by which only `scheduled` had a due time.
ALTER TABLE executions
    DROP CONSTRAINT executions_state_check,
    DROP CONSTRAINT executions_outcome_check,
    DROP CONSTRAINT executions_check;
ALTER TABLE attempts DROP CONSTRAINT attempts_outcome_check;
ALTER TABLE api_keys DROP CONSTRAINT api_keys_role_check;

-- Columns with a constant default: no row is written.
ALTER TABLE schemas ADD COLUMN min_reader bigint NOT NULL DEFAULT 1 CHECK (min_reader >= 1);
ALTER TABLE api_keys ADD COLUMN min_reader bigint NOT NULL DEFAULT 1 CHECK (min_reader >= 1);
ALTER TABLE secrets ADD COLUMN min_reader bigint NOT NULL DEFAULT 1 CHECK (min_reader >= 1);
ALTER TABLE hostnames ADD COLUMN min_reader bigint NOT NULL DEFAULT 1 CHECK (min_reader >= 1);
