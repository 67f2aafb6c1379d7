//! From a file and the environment to a [`Config`].

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use toml::{Table, Value};
use wasmill_domain::key_hint::with_hint;

use super::Config;

/// What every variable for a key begins with; the section and the key follow, as in
/// `WASMILL_GATEWAY_LISTEN`.
const PREFIX: &str = "WASMILL_";

/// The sections. In a variable's name a dot is a `_`; a section's part comes before the section.
const SECTIONS: [&str; 12] = [
    "database",
    "broker",
    "gateway.tls",
    "gateway",
    "host",
    "engine",
    "scheduler",
    "nodes",
    "secrets",
    "keyvalue",
    "quotas",
    "schemas",
];

/// Variables that others know too, and the keys that they stand for. Ours come before them.
const WELL_KNOWN: [(&str, &str, &str); 2] =
    [("DATABASE_URL", "database", "url"), ("AMQP_URL", "broker", "url")];

/// Reads `file`, where there is one, and puts what the environment says in its place.
///
/// # Errors
/// Where the file cannot be read or is not TOML, a key is unknown or its value is no good: the text
/// names file, line and key, or the variable.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> anyhow::Result<Config> {
    let mut table = Table::new();
    if let Some(file) = file {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("'{}'", file.display()))?;
        // Read as what it is to be, for the sake of the line in the error.
        let alone: Config = toml::from_str(&text).map_err(|e| {
            anyhow!("'{}': {}", file.display(), with_hint(e.to_string().trim_end()))
        })?;
        alone.check().map_err(|e| anyhow!("'{}': {e}", file.display()))?;
        table = toml::from_str(&text).with_context(|| format!("'{}'", file.display()))?;
    }
    let mut variables: Vec<(String, String)> =
        environment.into_iter().filter(|(_, text)| !text.is_empty()).collect();
    // Ours come last and so replace the well-known ones.
    variables.sort_by_key(|(name, _)| (name.starts_with(PREFIX), name.clone()));
    let mut set_by = BTreeMap::new();
    for (name, text) in variables {
        let Some((section, key)) = key_of(&name) else { continue };
        set_by.insert(format!("{section}.{key}"), name.clone());
        set(&mut table, &section, key, value_of(&text));
        read(&table).map_err(|e| anyhow!("environment variable {name}: {e}"))?;
    }
    let config = read(&table).map_err(|e| anyhow!(e))?;
    config.check().map_err(|e| match set_by.get(e.key) {
        Some(name) => anyhow!("environment variable {name}: {e}"),
        None => anyhow!(e),
    })?;
    Ok(config)
}

/// Sets a key of a section, whose name has a dot where it is a part of another.
fn set(table: &mut Table, section: &str, key: String, value: Value) {
    let (section, part) =
        section.split_once('.').map_or((section, None), |(section, part)| (section, Some(part)));
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(keys) = entry else { return };
    match part {
        Some(part) => set(keys, part, key, value),
        None => {
            keys.insert(key, value);
        }
    }
}

fn read(table: &Table) -> Result<Config, String> {
    table.clone().try_into().map_err(|e: toml::de::Error| with_hint(e.to_string().trim_end()))
}

/// Section and key that a variable stands for.
fn key_of(name: &str) -> Option<(String, String)> {
    if let Some((_, section, key)) = WELL_KNOWN.iter().find(|(known, _, _)| *known == name) {
        return Some(((*section).to_owned(), (*key).to_owned()));
    }
    let name = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
    let section = SECTIONS
        .iter()
        .find(|section| name.starts_with(&format!("{}_", section.replace('.', "_"))))?;
    Some(((*section).to_owned(), name[section.len() + 1..].to_owned()))
}

/// A value as TOML writes it, where the quotes around a text may be left out.
fn value_of(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"));
    // A date is meant as a text, if anybody ever writes one.
    parsed
        .filter(|value| !matches!(value, Value::Datetime(_)))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    fn from_file(text: &str, environment: &[(&str, &str)]) -> anyhow::Result<Config> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(
            Some(file.path()),
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    fn error(text: &str, environment: &[(&str, &str)]) -> String {
        format!("{:#}", from_file(text, environment).unwrap_err())
    }

    #[test]
    fn nothing_gives_the_defaults() {
        assert_eq!(load(None, []).unwrap(), Config::default());
        assert_eq!(
            from_file("", &[("WASMILL_LOG", "debug"), ("HOME", "/")]).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn a_setting_may_have_the_name_that_it_had_before() {
        for name in ["queue_max_batches", "queue_messages"] {
            let config = from_file(&format!("[broker]\n{name} = 77\n"), &[]).unwrap();
            assert_eq!(config.broker.queue_max_batches, 77, "{name}");
        }
        let variable = ("WASMILL_BROKER_QUEUE_MESSAGES", "78");
        assert_eq!(from_file("", &[variable]).unwrap().broker.queue_max_batches, 78);
    }

    #[test]
    fn the_environment_comes_before_the_file_and_ours_before_the_well_known() {
        let file = "[database]\nurl = 'postgres://file'\n[host]\nname = 'one'\ngrace = '5s'\n";
        assert_eq!(from_file(file, &[]).unwrap().database.url.as_deref(), Some("postgres://file"));
        let known = ("DATABASE_URL", "postgres://known");
        assert_eq!(
            from_file(file, &[known]).unwrap().database.url.as_deref(),
            Some("postgres://known")
        );
        let config = from_file(
            file,
            &[
                ("WASMILL_DATABASE_URL", "postgres://ours"),
                known,
                ("AMQP_URL", "amqps://rabbit"),
                ("WASMILL_HOST_GRACE", "7s"),
                ("WASMILL_HOST_LABELS", "['gpu', 'eu']"),
                ("WASMILL_HOST_ALLOWED_NETWORKS", "['10.1.0.0/16', 'fd12::/16']"),
                ("WASMILL_ENGINE_THREADS", "3"),
                ("WASMILL_DATABASE_TRANSACTION_POOLER", "true"),
                ("WASMILL_GATEWAY_MAX_EVENT_BYTES", "64KiB"),
                ("WASMILL_GATEWAY_MAX_ARTIFACT_BYTES", "128MiB"),
                ("WASMILL_GATEWAY_MAX_DISCARDED_BYTES", "0"),
                ("WASMILL_GATEWAY_LISTEN", "0.0.0.0:80"),
                ("WASMILL_GATEWAY_TLS_CERTIFICATE", "/etc/cert.pem"),
                ("WASMILL_GATEWAY_TLS_KEY", "'/etc/key.pem'"),
                ("WASMILL_SECRETS_KEY_FILE", "/etc/keys"),
                ("WASMILL_SCHEMAS_FORMATS", "annotate"),
                ("WASMILL_NODES_TIMEOUT", "1m"),
                ("WASMILL_GATEWAY_PUBLIC_NAMES", "['api.example.com']"),
                ("WASMILL_GATEWAY_HOSTNAMES", "{'*.example.com' = 'acme'}"),
            ],
        )
        .unwrap();
        assert_eq!(config.database.url.as_deref(), Some("postgres://ours"));
        assert_eq!(config.broker.url.as_deref(), Some("amqps://rabbit"));
        let tls = [&config.gateway.tls.certificate, &config.gateway.tls.key]
            .map(|file| file.as_deref().unwrap());
        assert_eq!(tls, [Path::new("/etc/cert.pem"), Path::new("/etc/key.pem")]);
        let rules = config.gateway.hostname_rules();
        assert!(rules.own.contains(&"api.example.com".parse().unwrap()));
        assert_eq!(rules.granted[&"*.example.com".parse().unwrap()].as_str(), "acme");
        let file = "[gateway.tls]\ncertificate = 'a'\nkey = 'b'";
        let tls = from_file(file, &[("WASMILL_GATEWAY_TLS_KEY", "c")]).unwrap().gateway.tls;
        assert_eq!(
            tls.certificate.as_deref().zip(tls.key.as_deref()),
            Some((Path::new("a"), Path::new("c")))
        );
        assert_eq!(
            (config.host.name.as_deref(), config.host.grace.0),
            (Some("one"), Duration::from_secs(7))
        );
        assert_eq!(
            config.host.labels.iter().map(wasmill_domain::HostLabel::as_str).collect::<Vec<_>>(),
            ["eu", "gpu"]
        );
        let networks: Vec<String> =
            config.host.allowed_networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.1.0.0/16", "fd12::/16"]);
        assert_eq!((config.engine.threads, config.database.transaction_pooler), (Some(3), true));
        assert_eq!(config.gateway.max_event_bytes.0, 64 << 10);
        assert_eq!(config.gateway.max_artifact_bytes.0, 128 << 20);
        assert_eq!(config.gateway.max_discarded_bytes.0, 0);
        assert_eq!(config.gateway.listen.port(), 80);
        assert_eq!(config.nodes.timeout.0, Duration::from_secs(60));
        assert_eq!(config.secrets.key_file.as_deref(), Some(Path::new("/etc/keys")));
        assert_eq!(config.schemas.limits().formats, wasmill_schema::Formats::Annotate);
    }

    /// Checks that an error says all that is expected of it.
    fn lacks_nothing(file: &str, environment: &[(&str, &str)], expected: &[&str]) {
        let error = error(file, environment);
        for part in expected {
            assert!(error.contains(part), "{file:?} {environment:?}: {error:?} lacks {part:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (file, expected) in [
            ("[gateway]\nlistn = 'x'", &["listn", "did you mean 'listen'?", "line 2"][..]),
            ("[gatway]", &["gatway", "did you mean 'gateway'?"]),
            ("[gateway]\npreflight = 'nobody'", &["preflight", "`host` or `own`", "line 2"]),
            ("[host]\ngrace = 5", &["grace", "line 2"]),
            ("[host]\nlabels = ['A']", &["labels", "a host's label"]),
            (
                "[host]\nallowed_networks = ['10.1']",
                &["allowed_networks", "line 2", "invalid IP address"],
            ),
            ("[scheduler]\nlease = '100ms'", &["scheduler.lease", "1s to 10m"]),
            ("[nodes]\ntimeout = '10ms'", &["nodes.timeout", "1s to 10m"]),
            ("[engine]\ncompile_timeout = '11m'", &["engine.compile_timeout", "1ms to 10m"]),
            ("[engine]\ncompile_memory = '1MiB'", &["engine.compile_memory", "256MiB to 1024GiB"]),
            (
                "[gateway]\nmax_artifact_bytes = '257MiB'",
                &["gateway.max_artifact_bytes", "1KiB to 256MiB"],
            ),
            (
                "[gateway]\nmax_discarded_bytes = '1025GiB'",
                &["gateway.max_discarded_bytes", "at most 1024GiB"],
            ),
            ("[gateway]\nmax_files = 1025", &["gateway.max_files", "at most 1,024"]),
            ("[gateway]\nmax_waiting = 0", &["gateway.max_waiting", "1 to 1,000,000"]),
            ("[gateway]\nmax_batch_events = 0", &["gateway.max_batch_events", "1 to 100,000"]),
            (
                "[gateway]\nmax_request_executions = 0",
                &["gateway.max_request_executions", "1 to 1,000,000"],
            ),
            (
                "[gateway]\nmax_request_execution_bytes = '1KiB'",
                &["gateway.max_request_execution_bytes", "1MiB to 64GiB"],
            ),
            (
                "[gateway]\nmax_in_flight_bytes = '1KiB'",
                &["gateway.max_in_flight_bytes", "1MiB to 1024GiB"],
            ),
            (
                "[gateway]\nmax_files_bytes = '257MiB'",
                &["gateway.max_files_bytes", "at most 256MiB"],
            ),
            ("[engine]\nfiles_bytes = '1KiB'", &["engine.files_bytes", "1MiB to 1024GiB"]),
            ("[engine]\ncompilations = 0", &["engine.compilations", "1 to 256"]),
            ("[broker]\nurl = 'http://x'", &["broker.url", "amqp://"]),
            ("[schemas]\nformats = 'never'", &["formats", "line 2", "`assert` or `annotate`"]),
            ("[", &["line 1"]),
            (
                "[gateway.tls]\nkey = 'x'",
                &["gateway.tls.certificate", "there with gateway.tls.key"],
            ),
            ("[gateway]\nmax_streams = 0", &["gateway.max_streams", "1 to 10,000"]),
            ("[gateway.hostnames]\n'shop' = 'acme'", &["gateway.hostnames", "with a dot"]),
            ("[gateway]\npublic_names = ['a:80']", &["public_names", "line 2", "not a host name"]),
        ] {
            lacks_nothing(file, &[], expected);
        }
    }

    #[test]
    fn what_is_wrong_in_a_variable_is_named() {
        for (variable, expected) in [
            (
                ("WASMILL_GATEWAY_TLS_KAY", "x"),
                &["WASMILL_GATEWAY_TLS_KAY", "did you mean 'key'?"][..],
            ),
            (("WASMILL_HOST_GRACE", "soon"), &["WASMILL_HOST_GRACE", "'soon' is not a duration"]),
            (("WASMILL_HOST_GRASE", "1s"), &["WASMILL_HOST_GRASE", "did you mean 'grace'?"]),
            (
                ("WASMILL_DATABASE_CONNECTIONS", "1"),
                &["WASMILL_DATABASE_CONNECTIONS", "2 to 1,000"],
            ),
            (("DATABASE_URL", "mysql://x"), &["DATABASE_URL", "database.url", "postgres://"]),
        ] {
            lacks_nothing("", &[variable], expected);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Some(Path::new("no/such/file.toml")), []).unwrap_err();
        assert!(format!("{error:#}").contains("no/such/file.toml"), "{error:#}");
    }
}
