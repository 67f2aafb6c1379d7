-- Host names and routes have owners. The rows of routes that functions have already are made by the program, once, in the
-- same transaction; so is the masking of API keys that earlier releases kept in history.

-- Which host names an operator granted to which tenant. A pattern is a name, or `*.` and a name: every name below it.
CREATE TABLE hostnames (
    pattern TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    granted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The routes of each function's current version. `host` is empty for those below /http/TENANT, a parameter in `path` has no
-- name, and the method `*` is every method.
CREATE TABLE routes (
    tenant TEXT NOT NULL,
    host TEXT NOT NULL,
    path TEXT NOT NULL,
    method TEXT NOT NULL,
    function TEXT NOT NULL,
    PRIMARY KEY (tenant, host, path, method),
    FOREIGN KEY (tenant, function) REFERENCES functions (tenant, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX routes_by_function ON routes (tenant, function);
