//! What settings are called: in the environment, and in releases before.

use std::fmt;

use toml::{Table, Value};
use wasmill_domain::key_hint::nearest;

/// What every variable for a key begins with; the section and the key follow, as in
/// `WASMILL_GATEWAY_LISTEN`.
const PREFIX: &str = "WASMILL_";

/// The sections. In a variable's name a dot is a `_`; a section's part comes before the section.
pub(super) const SECTIONS: [&str; 12] = [
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

/// What follows the prefix in variables that are no settings: options of the command line, and what
/// this project's own builds and tests are told.
const ELSEWHERE: [&str; 17] = [
    "ALLOW_NETWORK",
    "CA_FILE",
    "CONFIG",
    "DATA",
    "GUEST_TOOLCHAIN",
    "HOSTNAME",
    "KEY",
    "LISTEN",
    "LOG",
    "LOG_FORMAT",
    "RETENTION",
    "TENANT",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "TOOLCHAINS",
    "URL",
    "WASI_0_3",
];

/// A setting that releases before called otherwise. Its field in the configuration has the old name
/// as an alias, so that a file with it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Renamed {
    pub(super) section: &'static str,
    pub(super) old: &'static str,
    pub(super) new: &'static str,
}

/// All of them.
pub(super) const RENAMED: [Renamed; 1] =
    [Renamed { section: "broker", old: "queue_messages", new: "queue_max_batches" }];

impl fmt::Display for Renamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, old, new } = self;
        write!(
            f,
            "{section}.{old} is an old name of {section}.{new}: it is taken; write the new one"
        )
    }
}

/// What a variable is, in the order in which they are read: a later one replaces an earlier one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variable {
    /// Nothing of the configuration's.
    Elsewhere,
    /// It begins like a setting and is none; the section that was meant, where that can be told.
    Unknown(Option<&'static str>),
    /// Section and key that others know it by.
    WellKnown(String, String),
    /// What the setting was called before.
    OldName(Renamed),
    /// Section and key.
    Key(String, String),
}

/// What a variable of this name is.
pub(super) fn variable(name: &str) -> Variable {
    if let Some((_, section, key)) = WELL_KNOWN.iter().find(|(known, _, _)| *known == name) {
        return Variable::WellKnown((*section).to_owned(), (*key).to_owned());
    }
    let Some(rest) = name.strip_prefix(PREFIX) else { return Variable::Elsewhere };
    if ELSEWHERE.contains(&rest) || rest.starts_with("TEST_") {
        return Variable::Elsewhere;
    }
    let name = rest.to_ascii_lowercase();
    let is_in = |section: &&str| name.starts_with(&format!("{}_", section.replace('.', "_")));
    let Some(section) = SECTIONS.into_iter().find(is_in) else {
        let begins = name.split('_').next().unwrap_or_default();
        // Not more, as others have variables that begin so: orchestrators name them after services.
        return Variable::Unknown(nearest(begins, SECTIONS, |length| length / 3));
    };
    let key = &name[section.len() + 1..];
    if is_of_a_service(key) {
        return Variable::Unknown(None);
    }
    match RENAMED.into_iter().find(|renamed| (renamed.section, renamed.old) == (section, key)) {
        Some(renamed) => Variable::OldName(renamed),
        None => Variable::Key(section.to_owned(), key.to_owned()),
    }
}

/// Whether what follows the section is what Kubernetes sets beside a service that is called
/// 'wasmill-' and the section's name: its address and ports. No setting has such a name.
fn is_of_a_service(key: &str) -> bool {
    let port_of =
        |rest: &str| rest.is_empty() || rest.strip_prefix('_').is_some_and(|rest| !rest.is_empty());
    let is_numbered = |rest: &str| {
        rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    key == "service_host"
        || key.strip_prefix("service_port").is_some_and(port_of)
        || key.strip_prefix("port").is_some_and(|rest| rest.is_empty() || is_numbered(rest))
}

/// The sections, as a list in a sentence.
pub(super) fn sections() -> String {
    SECTIONS.join(", ")
}

/// Gives settings of a file the names that they have now; says which had old ones.
pub(super) fn renew(table: &mut Table) -> Vec<Renamed> {
    let mut found = Vec::new();
    for renamed in RENAMED {
        let keys = renamed.section.split('.').try_fold(&mut *table, |table, section| {
            table.get_mut(section).and_then(Value::as_table_mut)
        });
        let Some(keys) = keys else { continue };
        let Some(value) = keys.remove(renamed.old) else { continue };
        keys.insert(renamed.new.to_owned(), value);
        found.push(renamed);
    }
    found
}

/// Sets a key of a section, whose name has a dot where it is a part of another.
pub(super) fn set(table: &mut Table, section: &str, key: String, value: Value) {
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn options_of_the_command_line_are_not_taken_for_settings() {
        let mut commands = vec![Args::command()];
        let mut options = 0;
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            for name in command.get_arguments().filter_map(clap::Arg::get_env) {
                let name = name.to_str().unwrap();
                let variable = variable(name);
                assert!(
                    matches!(variable, Variable::Elsewhere | Variable::Key(..)),
                    "{name}: {variable:?}"
                );
                options += 1;
            }
        }
        assert!(options > 10, "{options}");
    }

    #[test]
    fn a_section_is_told_where_it_is_nearly_written() {
        for (name, section) in [
            ("WASMILL_BROKR_URL", Some("broker")),
            ("WASMILL_BROKER", Some("broker")),
            ("WASMILL_BORKER_URL", Some("broker")),
            ("WASMILL_GATWAY_TLS_KEY", Some("gateway")),
            ("WASMILL_QUOTA_VERSIONS", Some("quotas")),
            ("WASMILL_HOSTS_NAME", Some("host")),
            // As Kubernetes has them beside a service called 'wasmill'.
            ("WASMILL_SERVICE_HOST", None),
            ("WASMILL_SERVICE_PORT", None),
            ("WASMILL_PORT", None),
            ("WASMILL_PORT_7070_TCP_ADDR", None),
            // And beside one called 'wasmill-gateway'.
            ("WASMILL_GATEWAY_SERVICE_HOST", None),
            ("WASMILL_GATEWAY_SERVICE_PORT", None),
            ("WASMILL_GATEWAY_SERVICE_PORT_HTTP", None),
            ("WASMILL_GATEWAY_PORT", None),
            ("WASMILL_HOST_PORT_7070_TCP_ADDR", None),
        ] {
            assert_eq!(variable(name), Variable::Unknown(section), "{name}");
        }
        for key in ["port_x", "ports", "service_ports", "service"] {
            let name = format!("WASMILL_GATEWAY_{}", key.to_ascii_uppercase());
            assert_eq!(variable(&name), Variable::Key("gateway".into(), key.into()), "{name}");
        }
        for name in ["WASMILL_URL", "WASMILL_TEST_CELLS", "HOME", "wasmill_brokr_url"] {
            assert_eq!(variable(name), Variable::Elsewhere, "{name}");
        }
    }
}
