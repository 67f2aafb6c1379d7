//! How many files this process may have open. Every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as any role could use. A hard limit may be a billion, and programs that close all they
/// might have open take minutes then.
const MOST: u64 = 1 << 20;

/// What a process needs beside its listener's connections: databases, brokers, logs, the engine,
/// requests of functions.
const OTHERS: u64 = 512;

/// The fewest connections that are served, whatever the limit is.
const FEWEST_CONNECTIONS: u64 = 16;

/// Raises the soft limit to the hard one, or as far as is useful.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(MOST).min(MOST);
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })
    {
        tracing::warn!(%error, wanted, "the limit of open files cannot be raised");
    }
}

/// How many files this process may have open, and how many it could be let; `None` where there is
/// no limit.
pub(crate) fn limits() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// `connections`, or as many as there are files for; then a warning says what to do. `setting` is
/// what the number is called.
pub(crate) fn connections_within_limit(connections: usize, setting: &str) -> usize {
    let (current, _) = limits();
    let fitting = fitting(connections, current);
    if fitting < connections {
        tracing::warn!(
            limit = current,
            needed = connections as u64 + OTHERS,
            "{setting} is {connections}, and this process may not have as many files open: {fitting} connections are served. \
             Raise its hard limit of open files (LimitNOFILE= of a systemd unit, --ulimit nofile= of a container), or lower the \
             setting"
        );
    }
    fitting
}

/// How many of `connections` there are files for.
pub(crate) fn fitting(connections: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return connections };
    let files = limit.saturating_sub(OTHERS).max(FEWEST_CONNECTIONS);
    connections.min(usize::try_from(files).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_files() {
        assert_eq!(fitting(8_192, None), 8_192);
        assert_eq!(fitting(8_192, Some(65_536)), 8_192);
        assert_eq!(fitting(8_192, Some(8_192 + OTHERS)), 8_192);
        assert_eq!(fitting(8_192, Some(1_024)), 512);
        assert_eq!(fitting(8_192, Some(100)), 16);
        assert_eq!(fitting(4, Some(100)), 4);
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        raise_limit();
        let (current, maximum) = limits();
        assert!(
            current.is_none_or(|current| current >= maximum.unwrap_or(MOST).min(MOST)),
            "{current:?} {maximum:?}"
        );
    }
}
