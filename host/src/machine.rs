//! How much memory this machine has, or lets this process have.

use std::fs;

/// What is assumed where nothing is found out.
const UNKNOWN: u64 = 1 << 30;

/// Three quarters of the machine's memory, or of the control group's limit where that is less.
pub(crate) fn memory_budget() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min().unwrap_or(UNKNOWN) / 4 * 3
}

/// `MemTotal` out of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes as a number of permits of a KiB each, at least one.
pub(crate) fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("MemTotal:        1024 kB\nMemFree:          12 kB\n"), Some(1 << 20));
        assert_eq!(total("MemFree: 12 kB"), None);
        assert_eq!(total("MemTotal: lots"), None);
        assert!(memory_budget() > 64 << 20);
    }
}
