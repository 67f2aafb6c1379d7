//! The processes that work on an installation: who is alive, and what each of them reads.
//!
//! Each says so in a row of its own that it renews again and again. A process whose row was not
//! renewed for longer than the store's `node_timeout` is not alive: it crashed, or it is cut off
//! from the database.

use std::time::Duration;

use uuid::Uuid;
use wasmill_domain::wire::Reads;
use wasmill_domain::{HostLabel, Timestamp};

/// How old a heartbeat may be, by default.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(15);

/// A process, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Made at random when the process starts.
    pub id: Uuid,
    /// What people call it: a host's configured name, else the machine's and the process id.
    pub name: String,
    /// What it does: `gateway`, `host`, `scheduler`, `dev` (all in one), or a word of a later
    /// release.
    pub role: String,
    /// The release that it is of, such as `0.1.0`.
    pub release: String,
    /// The labels that functions may ask for; only hosts have any.
    pub labels: Vec<String>,
    /// The newest wire formats that it reads.
    pub reads: Reads,
    /// When it started, by its own clock.
    pub started_at: Timestamp,
}

/// A process that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveNode {
    /// What it says of itself.
    pub node: Node,
    /// The last step of the schema that it knows.
    pub schema_version: i64,
    /// When its heartbeat was last renewed, by the database's clock.
    pub beat_at: Timestamp,
}

impl Node {
    /// Whether it runs functions that ask for these labels. `wasmill dev` runs every function.
    pub fn may_run(&self, runs_on: &[HostLabel]) -> bool {
        let has = |label: &HostLabel| self.labels.iter().any(|of_node| *of_node == **label);
        self.role == "dev" || self.role == "host" && runs_on.iter().all(has)
    }
}

/// Why no live process runs a function that asks for these labels, in plain words; `None` where one
/// does, or where it asks for none.
pub fn no_host_for(live: &[LiveNode], runs_on: &[HostLabel]) -> Option<String> {
    if runs_on.is_empty() || live.iter().any(|live| live.node.may_run(runs_on)) {
        return None;
    }
    let labels: Vec<&str> = runs_on.iter().map(|label| &**label).collect();
    Some(match labels.as_slice() {
        [label] => format!("no live host has the label '{label}'"),
        labels => format!("no live host has all of the labels '{}'", labels.join("', '")),
    })
}

/// A process's labels as a column holds them: a JSON array.
pub(crate) fn from_labels(labels: &[String]) -> String {
    serde_json::Value::from(labels).to_string()
}

/// The labels in a column. What is no array of texts is none: whoever wrote it is of no interest to
/// functions then.
pub(crate) fn labels(column: &str) -> Vec<String> {
    serde_json::from_str(column).unwrap_or_default()
}

/// The newest wire formats that a process reads, as a column holds them: JSON.
pub(crate) fn from_reads(reads: Reads) -> String {
    serde_json::to_string(&reads).unwrap_or_default()
}

/// The formats in a column. What cannot be read counts as the oldest ones, which every release
/// reads that is not too old.
pub(crate) fn reads(column: &str) -> Reads {
    serde_json::from_str(column).unwrap_or(Reads::OLDEST)
}

/// A limit as columns count it. Nothing that is compared with the clock is longer than a year.
pub(crate) fn micros(limit: Duration) -> i64 {
    Timestamp::default().plus(limit.min(Duration::from_secs(365 * 24 * 3600))).as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_for_hosts_with_all_of_its_labels() {
        let live = |role: &str, labels: &[&str]| LiveNode {
            node: Node {
                id: Uuid::nil(),
                name: "a".into(),
                role: role.into(),
                release: "1".into(),
                labels: labels.iter().map(ToString::to_string).collect(),
                reads: Reads::HERE,
                started_at: Timestamp::default(),
            },
            schema_version: 1,
            beat_at: Timestamp::default(),
        };
        let [gpu, eu] = ["gpu", "eu"].map(|label| label.parse::<HostLabel>().unwrap());
        let apart = [live("host", &["gpu"]), live("host", &["eu", "x"]), live("gateway", &[])];
        assert_eq!(no_host_for(&[], &[]), None);
        assert_eq!(no_host_for(&apart, std::slice::from_ref(&gpu)), None);
        let of_gateway = [live("gateway", &["gpu"])];
        assert_eq!(
            no_host_for(&of_gateway, std::slice::from_ref(&gpu)).unwrap(),
            "no live host has the label 'gpu'"
        );
        let both = [gpu, eu];
        assert_eq!(
            no_host_for(&apart, &both).unwrap(),
            "no live host has all of the labels 'gpu', 'eu'"
        );
        assert_eq!(no_host_for(&[live("host", &["eu", "gpu"])], &both), None);
        assert_eq!(no_host_for(&[live("dev", &[])], &both), None);
    }

    #[test]
    fn what_a_later_release_writes_is_read_as_far_as_it_is_known() {
        assert_eq!(reads(&from_reads(Reads::HERE)), Reads::HERE);
        assert_eq!(reads(r#"{"batch": 3, "http": 2, "control": 1, "log": 7}"#).batch, 3);
        for odd in
            ["", "{}", "[]", r#"{"batch": "two", "http": 1, "control": 1}"#, r#"{"batch": 900}"#]
        {
            assert_eq!(reads(odd), Reads::OLDEST, "{odd}");
        }
        assert_eq!(labels(&from_labels(&["a".into(), "b".into()])), ["a", "b"]);
        assert!(labels("{").is_empty());
    }
}
