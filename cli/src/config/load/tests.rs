//! What is read of files and variables, and what is said of those that are wrong.

use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::config::names::{RENAMED, Renamed};

fn from_file(text: &str, environment: &[(&str, &str)]) -> anyhow::Result<Config> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load(
        Some(file.path()),
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

fn warnings(text: &str, environment: &[(&str, &str)]) -> (Config, Vec<String>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let mut warnings = Vec::new();
    let config = read_all(Some(file.path()), environment, &mut warnings).unwrap();
    (config, warnings)
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
    for Renamed { section, old, new } in RENAMED {
        let file = |name: &str, value: u64| format!("[{section}]\n{name} = {value}\n");
        let variable =
            |name: &str| format!("WASMILL_{section}_{name}").replace('.', "_").to_ascii_uppercase();
        let value = |config: &Config| match (section, new) {
            ("broker", "queue_max_batches") => config.broker.queue_max_batches,
            _ => panic!("{section}.{new} is to be added here"),
        };
        let [old_variable, new_variable] = [old, new].map(variable);
        let (file_warns, variable_warns) =
            (format!("{section}.{old} is an old"), old_variable.as_str());
        for (in_file, environment, expected, warned) in [
            (file(old, 77), vec![], 77, vec![file_warns.as_str()]),
            (file(new, 77), vec![], 77, vec![]),
            (String::new(), vec![(&old_variable, "78")], 78, vec![variable_warns]),
            // The environment comes before the file, whichever name either has.
            (file(old, 77), vec![(&new_variable, "78")], 78, vec![file_warns.as_str()]),
            (file(new, 77), vec![(&old_variable, "78")], 78, vec![variable_warns]),
            (
                file(old, 77),
                vec![(&old_variable, "78")],
                78,
                vec![file_warns.as_str(), variable_warns],
            ),
            // The new name comes before the old one.
            (
                String::new(),
                vec![(&new_variable, "79"), (&old_variable, "78")],
                79,
                vec![variable_warns],
            ),
        ] {
            let environment: Vec<(&str, &str)> =
                environment.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            let (config, warnings) = warnings(&in_file, &environment);
            assert_eq!(value(&config), expected, "{in_file:?} {environment:?}");
            assert_eq!(warnings.len(), warned.len(), "{warnings:?}");
            for (warning, part) in warnings.iter().zip(warned) {
                let names = format!("{section}.{new}");
                assert!(warning.contains(part) && warning.contains(&names), "{warning}");
            }
        }
        let both = file(old, 77) + &format!("{new} = 78\n");
        assert!(error(&both, &[]).contains("duplicate"), "{both}");
        let wrong = error("", &[(&old_variable, "0")]);
        assert!(wrong.contains(&old_variable) && wrong.contains(new), "{wrong}");
    }
}

#[test]
fn variables_that_are_no_settings_are_told() {
    let (config, warnings) = warnings(
        "",
        &[
            ("WASMILL_SERVICE_HOST", "10.0.0.1"),
            ("WASMILL_PORT", "tcp://10.0.0.1:80"),
            ("WASMILL_URL", "x"),
        ],
    );
    assert_eq!(config, Config::default());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("WASMILL_PORT") && warnings[1].contains("WASMILL_SERVICE_HOST"));
    lacks_nothing(
        "",
        &[("WASMILL_BROKR_URL", "amqp://x")],
        &["WASMILL_BROKR_URL", "did you mean 'broker'?"],
    );
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
            ("WASMILL_GATEWAY_WRITE_TIMEOUT", "2m"),
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
    assert_eq!(config.gateway.write_timeout.0, Duration::from_secs(120));
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
            "[gateway]\nmax_in_flight_bytes = '127MiB'",
            &["gateway.max_in_flight_bytes", "twice the longest body", "max_artifact_bytes"],
        ),
        (
            "[gateway]\nmax_in_flight_bytes = '512MiB'\nmax_batch_bytes = '257MiB'",
            &["gateway.max_in_flight_bytes", "twice the longest body"],
        ),
        (
            "[gateway]\nmax_in_flight_bytes = '7MiB'\nmax_artifact_bytes = '1MiB'\nmax_batch_bytes = '1MiB'",
            &["gateway.max_in_flight_bytes", "4MiB of a document"],
        ),
        ("[gateway]\nwrite_timeout = '1ms'", &["gateway.write_timeout", "10ms to 1h"]),
        ("[gateway]\nmax_files_bytes = '257MiB'", &["gateway.max_files_bytes", "at most 256MiB"]),
        ("[engine]\nfiles_bytes = '1KiB'", &["engine.files_bytes", "1MiB to 1024GiB"]),
        ("[engine]\ncache_bytes = '1KiB'", &["engine.cache_bytes", "1MiB to 1024GiB"]),
        ("[host]\nmax_emitted_executions = 0", &["host.max_emitted_executions", "1 to 1,000,000"]),
        ("[host]\nmax_emitted_bytes = '1KiB'", &["host.max_emitted_bytes", "1MiB to 64GiB"]),
        ("[host]\nmax_chain_depth = 0", &["host.max_chain_depth", "1 to 1,000,000"]),
        ("[engine]\ncompilations = 0", &["engine.compilations", "1 to 256"]),
        ("[broker]\nurl = 'http://x'", &["broker.url", "amqp://"]),
        ("[schemas]\nformats = 'never'", &["formats", "line 2", "`assert` or `annotate`"]),
        ("[", &["line 1"]),
        ("[gateway.tls]\nkey = 'x'", &["gateway.tls.certificate", "there with gateway.tls.key"]),
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
        (("WASMILL_GATEWAY_TLS_KAY", "x"), &["WASMILL_GATEWAY_TLS_KAY", "did you mean 'key'?"][..]),
        (("WASMILL_HOST_GRACE", "soon"), &["WASMILL_HOST_GRACE", "'soon' is not a duration"]),
        (("WASMILL_HOST_GRASE", "1s"), &["WASMILL_HOST_GRASE", "did you mean 'grace'?"]),
        (("WASMILL_DATABASE_CONNECTIONS", "1"), &["WASMILL_DATABASE_CONNECTIONS", "2 to 1,000"]),
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
