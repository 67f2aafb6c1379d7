//! Counts the steps of what a schema makes one do, and ends it when there are too many.
//!
//! The validator has neither a limit nor a deadline, and cannot be asked to stop: a schema of a few
//! kilobytes can make it look at one small document for years. But it looks at values through
//! [`crate::node`] only, which counts here; when no step is left, the stack is unwound to
//! [`metered`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The most stack that a check may use, in bytes: half of what a thread has by default.
const MAX_STACK: usize = 1 << 20;

/// The most violations that are collected before only the first is looked for: each takes memory.
const MAX_ERRORS: u32 = 1_000;

/// The steps that one violation takes: it is given a text and two pointers.
const ERROR_STEPS: u64 = 50;

/// The steps that a match by a pattern with look-around or back-references takes at least: it may
/// go back many times.
const BACKTRACKING_STEPS: u64 = 2_500;

/// Why work was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No step is left.
    Steps,
    /// It goes too deep.
    Depth,
    /// There are too many violations to collect them.
    Errors,
}

/// The steps that patterns take on texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The steps for 64 bytes.
    pub(crate) block: u64,
    /// How many patterns there are that may go back.
    pub(crate) backtracking: u64,
}

/// The steps that a schema's patterns take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// One pattern on a string, the slowest of all.
    pub(crate) text: Rate,
    /// All patterns of `patternProperties` on a property's name.
    pub(crate) name: Rate,
    /// How many violations may be collected; at most [`MAX_ERRORS`].
    pub(crate) violations: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { text: NO_RATE, name: NO_RATE, violations: MAX_ERRORS }
    }
}

struct Meter {
    left: Cell<u64>,
    errors: Cell<u32>,
    /// Where the stack was when the work began; 0 while none is metered.
    base: Cell<usize>,
    rates: Cell<Rates>,
}

const NO_RATE: Rate = Rate { block: 0, backtracking: 0 };

thread_local! {
    static METER: Meter = const {
        Meter {
            left: Cell::new(u64::MAX),
            errors: Cell::new(u32::MAX),
            base: Cell::new(0),
            rates: Cell::new(Rates { text: NO_RATE, name: NO_RATE, violations: MAX_ERRORS }),
        }
    };
}

impl Rate {
    /// The steps for a text of `length` bytes.
    fn steps(self, length: usize) -> u64 {
        let length = length as u64;
        let plain = length.saturating_mul(self.block) / 64;
        if self.backtracking == 0 {
            return plain;
        }
        let each = BACKTRACKING_STEPS.saturating_add(length.saturating_mul(length) / 16);
        plain.saturating_add(each.saturating_mul(self.backtracking))
    }
}

/// Does `work`, which may take `steps`, and takes off what it took.
///
/// # Errors
/// Where it was ended before its end.
pub(crate) fn metered<T>(
    steps: &mut u64,
    rates: Rates,
    work: impl FnOnce() -> T,
) -> Result<T, Stop> {
    let here = 0_u8;
    let base = std::ptr::from_ref(&here) as usize;
    let outer = METER.with(|meter| Meter {
        left: Cell::new(meter.left.replace(*steps)),
        errors: Cell::new(meter.errors.replace(rates.violations.min(MAX_ERRORS))),
        base: Cell::new(meter.base.replace(base)),
        rates: Cell::new(meter.rates.replace(rates)),
    });
    // What is unwound is of this check only: the validator itself is not changed by checks.
    let done = catch_unwind(AssertUnwindSafe(work));
    METER.with(|meter| {
        *steps = meter.left.replace(outer.left.get());
        meter.errors.set(outer.errors.get());
        meter.base.set(outer.base.get());
        meter.rates.set(outer.rates.get());
    });
    done.map_err(|cause| match cause.downcast::<Stop>() {
        Ok(stop) => *stop,
        Err(cause) => resume_unwind(cause),
    })
}

/// Takes `steps`.
#[inline]
pub(crate) fn charge(steps: u64) {
    METER.with(|meter| match meter.left.get().checked_sub(steps) {
        Some(left) => meter.left.set(left),
        None => {
            meter.left.set(0);
            stop(Stop::Steps);
        }
    });
}

/// Takes a step that may lead deeper.
#[inline]
pub(crate) fn descend() {
    charge(1);
    let here = 0_u8;
    let here = std::ptr::from_ref(&here) as usize;
    METER.with(|meter| {
        if here.abs_diff(meter.base.get()) > MAX_STACK && meter.base.get() != 0 {
            stop(Stop::Depth);
        }
    });
}

/// Takes the steps for going into something that is compared with all that is on the stack. How
/// much stack that is differs from one build to the next, and so do the steps of deep checks, by a
/// little.
#[inline]
pub(crate) fn enter() {
    descend();
    let here = 0_u8;
    let here = std::ptr::from_ref(&here) as usize;
    METER.with(|meter| charge(here.abs_diff(meter.base.get()) as u64 / 4096));
}

/// Takes the steps for a pattern on a string of `length` bytes.
#[inline]
pub(crate) fn text(length: usize) {
    METER.with(|meter| charge(1 + meter.rates.get().text.steps(length)));
}

/// Takes the steps for the patterns of names on one of `length` bytes.
#[inline]
pub(crate) fn name(length: usize) {
    METER.with(|meter| {
        let rate = meter.rates.get().name;
        if rate != NO_RATE {
            charge(1 + rate.steps(length));
        }
    });
}

/// Takes the steps for a violation.
pub(crate) fn error() {
    charge(ERROR_STEPS);
    METER.with(|meter| match meter.errors.get().checked_sub(1) {
        Some(left) => meter.errors.set(left),
        None => stop(Stop::Errors),
    });
}

/// Unwinds to [`metered`], without a word to the panic hook.
#[cold]
#[inline(never)]
fn stop(why: Stop) -> ! {
    resume_unwind(Box::new(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_with_its_steps() {
        let mut steps = 10;
        assert_eq!(metered(&mut steps, Rates::default(), || charge(4)), Ok(()));
        assert_eq!(steps, 6);
        let stopped = metered(&mut steps, Rates::default(), || (0..100).for_each(|_| charge(1)));
        assert_eq!((stopped, steps), (Err(Stop::Steps), 0));
    }

    #[test]
    fn what_is_inside_has_steps_of_its_own() {
        let mut outer = 10;
        let inner = metered(&mut outer, Rates::default(), || {
            charge(1);
            let stopped = metered(&mut 5, Rates::default(), || charge(6));
            charge(1);
            stopped
        });
        assert_eq!((inner, outer), (Ok(Err(Stop::Steps)), 8));
    }

    #[test]
    fn a_panic_stays_one() {
        let caught = catch_unwind(|| {
            metered(&mut 1, Rates::default(), || resume_unwind(Box::new("a fault")))
        });
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"a fault"));
        // Whoever comes next on this thread is not metered.
        charge(1_000_000);
    }

    #[test]
    fn the_stack_is_bounded() {
        fn deeper(left: usize) -> usize {
            descend();
            if left == 0 { 0 } else { 1 + std::hint::black_box(deeper(left - 1)) }
        }
        assert_eq!(metered(&mut u64::MAX.clone(), Rates::default(), || deeper(10)), Ok(10));
        let deep = std::thread::Builder::new().stack_size(64 << 20);
        let deep =
            deep.spawn(|| metered(&mut u64::MAX.clone(), Rates::default(), || deeper(usize::MAX)));
        assert_eq!(deep.unwrap().join().unwrap(), Err(Stop::Depth));
    }
}
