-- Which tenants have which artifacts: those that they uploaded. Others are not told that an
-- artifact exists. `put_at` is renewed when a tenant uploads the same bytes again; a row goes when
-- it is old and no version of the tenant names the artifact.

CREATE TABLE tenant_artifacts (
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL REFERENCES artifacts (digest) ON DELETE CASCADE,
    size INTEGER NOT NULL CHECK (size >= 0),
    put_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX tenant_artifacts_by_digest ON tenant_artifacts (digest);
CREATE INDEX tenant_artifacts_by_age ON tenant_artifacts (put_at);

INSERT INTO tenant_artifacts (tenant, digest, size, put_at)
SELECT DISTINCT v.tenant, v.digest, length(a.bytes), a.put_at FROM versions v JOIN artifacts a ON a.digest = v.digest;
