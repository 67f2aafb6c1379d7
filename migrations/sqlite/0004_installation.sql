-- What tells this installation from others: an id that its broker carries too, so that each is
-- found to be with the other. `broker_since` is when a broker was marked with it first.

CREATE TABLE installation (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id BLOB NOT NULL CHECK (length(id) = 16),
    broker_since INTEGER
) STRICT;

INSERT INTO installation (only_row, id) VALUES (1, randomblob(16));
