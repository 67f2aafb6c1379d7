-- What lets releases work side by side on one database, and one after the other in either order.

-- The number of the schema, which is that of the last migration, and the lowest number that a
-- release may know as its last one to work on this schema all the same. Every migration from here
-- on sets both.
CREATE TABLE schema_info (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    version INTEGER NOT NULL,
    min_reader INTEGER NOT NULL CHECK (min_reader BETWEEN 1 AND version)
) STRICT;

INSERT INTO schema_info (only_row, version, min_reader) VALUES (1, 6, 6);

-- The processes that live. `schema_version` is the last migration that a process knows, `labels` a
-- JSON array, `reads` the JSON of the newest wire formats that it reads. `beat_at` is renewed by
-- the process, on the database's clock; a row in which it is old is deleted by the scheduler.
CREATE TABLE nodes (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    release TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    labels TEXT NOT NULL,
    reads TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL
) STRICT;

-- Words (states, outcomes, roles) are checked by their readers, who take what they do not know for
-- one row that cannot be read: a release that has a new word adds no migration for it. The tables
-- had CHECKs of words, and one by which only `scheduled` had a due time. SQLite has no statement
-- that drops a CHECK; it documents this way for changes that no stored row depends on
-- (https://www.sqlite.org/lang_altertable.html, section 8), and no row is written again.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(replace(replace(sql,
    ' CHECK (
        state IN (''scheduled'', ''queued'', ''running'', ''suspended'', ''succeeded'', ''failed'', ''cancelled'')
    )', ''),
    ' CHECK (
        outcome IN (
            ''success'', ''rejected'', ''error'', ''trap'', ''out_of_fuel'', ''out_of_memory'', ''timed_out'', ''cancelled'', ''poisoned''
        )
    )', ''),
    '
    CHECK ((state = ''scheduled'') = (due_at IS NOT NULL)),', '')
WHERE type = 'table' AND name IN ('executions', 'attempts');

UPDATE sqlite_schema SET sql = replace(sql, ' CHECK (role IN (''operator'', ''tenant''))', '')
WHERE type = 'table' AND name = 'api_keys';

-- Has the tables read again, here; what follows has them read again everywhere else.
PRAGMA writable_schema = RESET;

-- The lowest number of a release's stored formats (see `store/src/convert/`) that may read the row.
-- A release that finds a higher one than its own takes the row for one that it cannot read.
ALTER TABLE schemas ADD COLUMN min_reader INTEGER NOT NULL DEFAULT 1 CHECK (min_reader >= 1);
ALTER TABLE api_keys ADD COLUMN min_reader INTEGER NOT NULL DEFAULT 1 CHECK (min_reader >= 1);
ALTER TABLE secrets ADD COLUMN min_reader INTEGER NOT NULL DEFAULT 1 CHECK (min_reader >= 1);
ALTER TABLE hostnames ADD COLUMN min_reader INTEGER NOT NULL DEFAULT 1 CHECK (min_reader >= 1);
