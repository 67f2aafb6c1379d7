-- Which definitions changed by which revision, so that a process that knows an earlier revision
-- reads no more than that. The tables note it themselves: processes of the release before, which do
-- not know of this, write as they always did.

-- What changed last by which revision: one row for each function (at its current version), schema,
-- API key, host name, deleted function and secret that was changed since `changes_from`, or deleted.
-- `tenant` is empty for API keys and host names; the name of an API key is its id, in hexadecimal
-- digits. The program deletes rows as it raises `changes_from`.
CREATE TABLE definition_changes (
    kind TEXT NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (kind, tenant, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX definition_changes_by_revision ON definition_changes (revision);

-- Whoever knows an earlier revision than this reads everything.
ALTER TABLE revision ADD COLUMN changes_from INTEGER NOT NULL DEFAULT 0;

UPDATE revision SET changes_from = revision;

-- A change raises the revision as the last thing that it does, in its own transaction, and no other
-- change is made meanwhile: so its notes are of the next one. Where a row is written and the
-- revision is not raised, its note is of the next one nevertheless: whoever reads notes reads those
-- too.
CREATE TRIGGER functions_are_made AFTER INSERT ON functions BEGIN
    INSERT INTO definition_changes SELECT 'function', new.tenant, new.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER functions_are_changed AFTER UPDATE ON functions BEGIN
    INSERT INTO definition_changes SELECT 'function', old.tenant, old.name, revision + 1 FROM revision
    UNION SELECT 'function', new.tenant, new.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER functions_are_deleted AFTER DELETE ON functions BEGIN
    INSERT INTO definition_changes SELECT 'function', old.tenant, old.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

-- Versions and triggers are made before they become current, and wasmill changes none. Somebody
-- else may.
CREATE TRIGGER versions_are_changed AFTER UPDATE ON versions BEGIN
    INSERT INTO definition_changes SELECT 'function', old.tenant, old.function, revision + 1 FROM revision
    UNION SELECT 'function', new.tenant, new.function, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER triggers_are_changed AFTER UPDATE ON triggers BEGIN
    INSERT INTO definition_changes SELECT 'function', old.tenant, old.function, revision + 1 FROM revision
    UNION SELECT 'function', new.tenant, new.function, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER schemas_are_made AFTER INSERT ON schemas BEGIN
    INSERT INTO definition_changes SELECT 'schema', new.tenant, new.event_type, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER schemas_are_changed AFTER UPDATE ON schemas BEGIN
    INSERT INTO definition_changes SELECT 'schema', old.tenant, old.event_type, revision + 1 FROM revision
    UNION SELECT 'schema', new.tenant, new.event_type, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER schemas_are_deleted AFTER DELETE ON schemas BEGIN
    INSERT INTO definition_changes SELECT 'schema', old.tenant, old.event_type, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER api_keys_are_made AFTER INSERT ON api_keys BEGIN
    INSERT INTO definition_changes SELECT 'key', '', lower(hex(new.id)), revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER api_keys_are_changed AFTER UPDATE ON api_keys BEGIN
    INSERT INTO definition_changes SELECT 'key', '', lower(hex(old.id)), revision + 1 FROM revision
    UNION SELECT 'key', '', lower(hex(new.id)), revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER api_keys_are_deleted AFTER DELETE ON api_keys BEGIN
    INSERT INTO definition_changes SELECT 'key', '', lower(hex(old.id)), revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER hostnames_are_made AFTER INSERT ON hostnames BEGIN
    INSERT INTO definition_changes SELECT 'hostname', '', new.pattern, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER hostnames_are_changed AFTER UPDATE ON hostnames BEGIN
    INSERT INTO definition_changes SELECT 'hostname', '', old.pattern, revision + 1 FROM revision
    UNION SELECT 'hostname', '', new.pattern, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER hostnames_are_deleted AFTER DELETE ON hostnames BEGIN
    INSERT INTO definition_changes SELECT 'hostname', '', old.pattern, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER deleted_functions_are_made AFTER INSERT ON deleted_functions BEGIN
    INSERT INTO definition_changes SELECT 'deleted_function', new.tenant, new.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER deleted_functions_are_changed AFTER UPDATE ON deleted_functions BEGIN
    INSERT INTO definition_changes SELECT 'deleted_function', old.tenant, old.name, revision + 1 FROM revision
    UNION SELECT 'deleted_function', new.tenant, new.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER deleted_functions_are_deleted AFTER DELETE ON deleted_functions BEGIN
    INSERT INTO definition_changes SELECT 'deleted_function', old.tenant, old.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER secrets_are_made AFTER INSERT ON secrets BEGIN
    INSERT INTO definition_changes SELECT 'secret', new.tenant, new.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER secrets_are_changed AFTER UPDATE ON secrets BEGIN
    INSERT INTO definition_changes SELECT 'secret', old.tenant, old.name, revision + 1 FROM revision
    UNION SELECT 'secret', new.tenant, new.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

CREATE TRIGGER secrets_are_deleted AFTER DELETE ON secrets BEGIN
    INSERT INTO definition_changes SELECT 'secret', old.tenant, old.name, revision + 1 FROM revision WHERE TRUE
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
END;

-- What a change looks for is found without reading what other tenants have.
CREATE INDEX api_keys_by_tenant ON api_keys (tenant);
CREATE INDEX api_keys_by_role ON api_keys (role);
CREATE INDEX versions_by_artifact ON versions (digest, tenant);

UPDATE schema_info SET version = 9;
