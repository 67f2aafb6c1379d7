-- Which tenants have which artifacts. Its SQLite sibling tells what the columns are for.

CREATE TABLE tenant_artifacts (
    tenant text NOT NULL,
    digest bytea NOT NULL REFERENCES artifacts (digest) ON DELETE CASCADE,
    size bigint NOT NULL CHECK (size >= 0),
    put_at bigint NOT NULL,
    PRIMARY KEY (tenant, digest)
);

CREATE INDEX tenant_artifacts_by_digest ON tenant_artifacts (digest);
CREATE INDEX tenant_artifacts_by_age ON tenant_artifacts (put_at);

INSERT INTO tenant_artifacts (tenant, digest, size, put_at)
SELECT DISTINCT v.tenant, v.digest, length(a.bytes), a.put_at FROM versions v JOIN artifacts a ON a.digest = v.digest;
