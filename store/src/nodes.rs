//! The processes that work on an installation: who is alive, and what each of them reads.
//!
//! Each says so in a row of its own that it renews again and again. A process whose row was not
//! renewed for longer than the store's `node_timeout` is not alive: it crashed, or it is cut off
//! from the database.

use std::time::Duration;

use uuid::Uuid;
use wasmill_domain::Timestamp;
use wasmill_domain::wire::Reads;

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
