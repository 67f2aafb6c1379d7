-- Host names and routes have owners. Its SQLite sibling tells what the columns are for.

CREATE TABLE hostnames (
    pattern text PRIMARY KEY,
    tenant text NOT NULL,
    granted_at bigint NOT NULL
);

CREATE TABLE routes (
    tenant text NOT NULL,
    host text NOT NULL,
    path text NOT NULL,
    method text NOT NULL,
    function text NOT NULL,
    PRIMARY KEY (tenant, host, path, method),
    FOREIGN KEY (tenant, function) REFERENCES functions (tenant, name) ON DELETE CASCADE
);

CREATE INDEX routes_by_function ON routes (tenant, function);
