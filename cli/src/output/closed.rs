//! Whether standard output was closed when the process began, as by `>&-` of a shell. Rust's
//! runtime opens `/dev/null` in the place of a standard stream that is closed, before `main`: what
//! is printed would be lost without an error. So it is looked at before that.

use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether it was. Elsewhere than on Linux nobody looks, and it never was.
pub(super) fn was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}

#[cfg(target_os = "linux")]
mod before_main {
    use std::os::fd::BorrowedFd;
    use std::sync::atomic::Ordering;

    use rustix::io::{Errno, fcntl_getfd};

    use super::WAS_CLOSED;

    /// The file descriptor of standard output.
    const STANDARD_OUTPUT: i32 = 1;

    /// Asks the kernel and sets a flag: nothing of this needs Rust's runtime, which is not set up
    /// yet.
    extern "C" fn look() {
        // SAFETY: the number goes to fcntl(F_GETFD) and nowhere else, which only says whether it is
        // that of an open file. No other thread is there yet that could open or close it.
        let output = unsafe { BorrowedFd::borrow_raw(STANDARD_OUTPUT) };
        WAS_CLOSED.store(fcntl_getfd(output) == Err(Errno::BADF), Ordering::Relaxed);
    }

    // What makes the attribute safe: `.init_array` is a list of pointers to functions of C's
    // calling convention, which the C library calls one after the other before `main` (System V
    // ABI, "Initialization and Termination Functions"). It passes arguments that `look` does not
    // have and, by that convention, need not take.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;
}
