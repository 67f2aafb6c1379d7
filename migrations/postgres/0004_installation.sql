-- What tells this installation from others. Its SQLite sibling tells what the columns are for.

CREATE TABLE installation (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    id uuid NOT NULL,
    broker_since bigint
);

INSERT INTO installation (only_row, id) VALUES (1, gen_random_uuid());
