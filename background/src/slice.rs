//! How long a thread runs at a stretch while others wait for its core.
//!
//! Linux 6.12 and later let each thread say so (`sched_runtime` of sched_setattr(2), for threads of
//! the usual policies too): of two that wait, the one with the shorter slice goes first, and takes
//! the core from one that is in the middle of a longer slice. It changes how soon a thread has its
//! share of the cores, not how large that share is. Earlier kernels take no notice.

use std::io;
use std::time::Duration;

/// The shortest that Linux takes.
const SHORT: Duration = Duration::from_micros(100);

/// Of work that nobody waits for: well above the 3 ms or so that are usual.
const LONG: Duration = Duration::from_millis(10);

/// The calling thread, and those that it starts from now on, have what they do done soon: to be
/// called by a process that answers others, before it starts its threads.
pub fn take_short_slices() {
    set(Some(SHORT));
}

/// The calling thread, and those that it starts from now on, take what the system usually gives.
pub fn take_usual_slices() {
    set(None);
}

/// The calling thread and those that it starts let others go first. So do the processes that it
/// starts.
pub(crate) fn take_long_slices() {
    set(Some(LONG));
}

fn set(slice: Option<Duration>) {
    let nanoseconds = slice.map_or(0, |slice| u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX));
    // Where it is not allowed, or by a kernel that does not know it, things are as they were.
    if let Err(error) = attributes().and_then(|mut attributes| {
        // The other policies give another meaning to it, and are an operator's choice.
        if [libc::SCHED_OTHER, libc::SCHED_BATCH]
            .map(|it| it as u32)
            .contains(&attributes.sched_policy)
        {
            attributes.sched_runtime = nanoseconds;
            set_attributes(&mut attributes)?;
        }
        Ok(())
    }) {
        tracing::debug!(%error, "a thread keeps the slices that it has");
    }
}

/// The scheduling attributes of the calling thread.
fn attributes() -> io::Result<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: size(),
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `size` bytes to the structure, which has that many, and
    // any bytes are valid values of its integers. 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size(), 0) };
    if result == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

fn set_attributes(attributes: &mut libc::sched_attr) -> io::Result<()> {
    attributes.size = size();
    // SAFETY: the kernel reads `size` bytes of the structure, which has that many (and may write
    // its own size back, for which it is borrowed mutably). 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_mut(attributes), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// 48: the first version of the structure, which every kernel knows.
const fn size() -> u32 {
    size_of::<libc::sched_attr>() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel that knows slices says of them; others say 0 of all.
    fn slice() -> u64 {
        attributes().unwrap().sched_runtime
    }

    #[test]
    fn threads_begin_with_the_slices_of_those_that_start_them() {
        let on_new_thread = |work: fn() -> u64| std::thread::spawn(work).join().unwrap();
        let usual = slice();
        if usual == 0 {
            // A kernel before 6.12.
            take_short_slices();
            assert_eq!(slice(), 0);
            return;
        }
        let inherited = |take: fn()| {
            std::thread::spawn(move || {
                take();
                (slice(), std::thread::spawn(slice).join().unwrap())
            })
            .join()
            .unwrap()
        };
        assert_eq!(inherited(take_short_slices), (100_000, 100_000));
        assert_eq!(inherited(take_long_slices), (10_000_000, 10_000_000));
        let back = on_new_thread(|| {
            take_short_slices();
            take_usual_slices();
            slice()
        });
        assert_eq!(back, usual);
        assert_eq!(slice(), usual);
    }

    #[test]
    fn the_priority_stays() {
        let nice = || attributes().unwrap().sched_nice;
        let after = std::thread::spawn(move || {
            rustix::process::setpriority_process(Some(rustix::thread::gettid()), 7).unwrap();
            take_short_slices();
            nice()
        });
        assert_eq!(after.join().unwrap(), 7);
    }
}
