//! What a tenant is promised beside another's definitions, compiles and clients.

use anyhow::{Result, bail};

/// How many times its own p99 a well-behaved function's may be.
const MOST_TIMES: f64 = 2.0;

/// What the server may hold in memory, in MiB: "Memory" of docs/configuration.md.
const MOST_MIB: u64 = 256;

/// What was measured alone and beside a neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) alone_p99_ms: f64,
    pub(crate) beside_p99_ms: f64,
    /// The most that was resident since the server's start, in MiB.
    pub(crate) most_mib: u64,
}

/// Whether the promise was kept.
///
/// # Errors
/// What was not.
pub(crate) fn check(row: &Row) -> Result<()> {
    let Row { alone_p99_ms, beside_p99_ms, most_mib } = *row;
    let mut broken = Vec::new();
    let times = beside_p99_ms / alone_p99_ms;
    // Not a number is no promise kept, either.
    if !times.is_finite() || times > MOST_TIMES {
        broken.push(format!("p99 is {times:.2} times what it is alone, and may be {MOST_TIMES}"));
    }
    if most_mib == 0 {
        broken.push("how much was resident cannot be told".into());
    }
    if most_mib > MOST_MIB {
        broken.push(format!("{most_mib} MiB were resident, and {MOST_MIB} MiB may be"));
    }
    if broken.is_empty() { Ok(()) } else { bail!("{}", broken.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_promise_is_checked() {
        let kept = Row { alone_p99_ms: 2.0, beside_p99_ms: 4.0, most_mib: 256 };
        assert!(check(&kept).is_ok());
        for (row, why) in [
            (Row { beside_p99_ms: 4.1, ..kept }, "2.05 times"),
            (Row { alone_p99_ms: 0.0, ..kept }, "inf times"),
            (Row { most_mib: 257, ..kept }, "257 MiB were resident"),
            (Row { most_mib: 0, ..kept }, "cannot be told"),
        ] {
            let broken = check(&row).unwrap_err().to_string();
            assert!(broken.contains(why), "{broken}");
        }
    }
}
