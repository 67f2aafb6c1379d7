-- Which definitions changed by which revision, noted by the tables themselves, so that a process
-- that knows an earlier revision reads no more than that. Its SQLite sibling tells what the columns
-- are for.

-- First, as every change holds this table's row from its beginning: none is under way from here on.
ALTER TABLE revision ADD COLUMN changes_from bigint NOT NULL DEFAULT 0;

UPDATE revision SET changes_from = revision;

CREATE TABLE definition_changes (
    kind text NOT NULL,
    tenant text NOT NULL,
    name text NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (kind, tenant, name)
);

CREATE INDEX definition_changes_by_revision ON definition_changes (revision);

-- A change raises the revision as the last thing that it does, in its own transaction, and no other
-- change is made meanwhile: so its notes are of the next one. Where a row is written and the
-- revision is not raised, its note is of the next one nevertheless: whoever reads notes reads those
-- too. The tables are those of the schema that this is run in, wherever whoever changes something
-- looks for tables.
CREATE FUNCTION note_definition_change(of_kind text, of_tenant text, of_name text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
    INSERT INTO definition_changes (kind, tenant, name, revision)
    SELECT of_kind, of_tenant, of_name, r.revision + 1 FROM revision r
    ON CONFLICT (kind, tenant, name) DO UPDATE SET revision = excluded.revision;
$$;

-- Of tables with the columns `tenant` and `name`. The argument is the kind.
CREATE FUNCTION note_change_of_name() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM note_definition_change(TG_ARGV[0], OLD.tenant, OLD.name);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM note_definition_change(TG_ARGV[0], NEW.tenant, NEW.name);
    END IF;
    RETURN NULL;
END;
$$;

-- Of tables with the columns `tenant` and `function`.
CREATE FUNCTION note_change_of_function() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM note_definition_change('function', OLD.tenant, OLD.function);
    PERFORM note_definition_change('function', NEW.tenant, NEW.function);
    RETURN NULL;
END;
$$;

CREATE FUNCTION note_change_of_schema() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM note_definition_change('schema', OLD.tenant, OLD.event_type);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM note_definition_change('schema', NEW.tenant, NEW.event_type);
    END IF;
    RETURN NULL;
END;
$$;

CREATE FUNCTION note_change_of_key() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM note_definition_change('key', '', replace(OLD.id::text, '-', ''));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM note_definition_change('key', '', replace(NEW.id::text, '-', ''));
    END IF;
    RETURN NULL;
END;
$$;

CREATE FUNCTION note_change_of_hostname() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM note_definition_change('hostname', '', OLD.pattern);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM note_definition_change('hostname', '', NEW.pattern);
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON functions
    FOR EACH ROW EXECUTE FUNCTION note_change_of_name('function');
-- Versions and triggers are made before they become current, and wasmill changes none. Somebody
-- else may.
CREATE TRIGGER note_change AFTER UPDATE ON versions
    FOR EACH ROW EXECUTE FUNCTION note_change_of_function();
CREATE TRIGGER note_change AFTER UPDATE ON triggers
    FOR EACH ROW EXECUTE FUNCTION note_change_of_function();
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON schemas
    FOR EACH ROW EXECUTE FUNCTION note_change_of_schema();
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION note_change_of_key();
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON hostnames
    FOR EACH ROW EXECUTE FUNCTION note_change_of_hostname();
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON deleted_functions
    FOR EACH ROW EXECUTE FUNCTION note_change_of_name('deleted_function');
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON secrets
    FOR EACH ROW EXECUTE FUNCTION note_change_of_name('secret');

-- What a change looks for is found without reading what other tenants have.
CREATE INDEX api_keys_by_tenant ON api_keys (tenant);
CREATE INDEX api_keys_by_role ON api_keys (role);
CREATE INDEX versions_by_artifact ON versions (digest, tenant);

UPDATE schema_info SET version = 8;
