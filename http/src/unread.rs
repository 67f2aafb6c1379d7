//! Whether something of a request's body is still to come.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Which request of a connection of HTTP/1.1 has a body of which something is still to come: the
/// newest or none, as no head is read before the whole body that is in front of it. What older ones
/// say late does not count.
///
/// A request's number twice, and one more where its body is not wanted any more; 0 for none.
#[derive(Default)]
pub(crate) struct Unread(AtomicUsize);

impl Unread {
    /// The head of the request with this number has come.
    pub(crate) fn begin(&self, number: usize, has_body: bool) {
        self.0.store(if has_body { number * 2 } else { 0 }, Ordering::Release);
    }

    /// All has come of the body of the request with this number.
    pub(crate) fn end(&self, number: usize) {
        self.replace(number * 2, 0);
    }

    /// Nobody wants what is left of the body of the request with this number.
    pub(crate) fn give_up(&self, number: usize) {
        self.replace(number * 2, number * 2 + 1);
    }

    /// What was left of a body that had been given up has come.
    pub(crate) fn discard(&self, number: usize) {
        self.replace(number * 2 + 1, 0);
    }

    /// The request whose body was given up before it was there.
    pub(crate) fn given_up(&self) -> Option<usize> {
        let state = self.0.load(Ordering::Acquire);
        (state % 2 == 1).then_some(state / 2)
    }

    /// Whether it is the body of the request with this number.
    pub(crate) fn is_of(&self, number: usize) -> bool {
        self.0.load(Ordering::Acquire) / 2 == number
    }

    /// Whether there is any.
    pub(crate) fn is_some(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    fn replace(&self, state: usize, by: usize) {
        // Where it is another state, it is a newer request's.
        let _ = self.0.compare_exchange(state, by, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_body_counts() {
        let unread = Unread::default();
        assert!(!unread.is_some() && unread.given_up().is_none());
        unread.begin(1, true);
        unread.begin(2, true);
        // What the first says late.
        unread.end(1);
        unread.give_up(1);
        unread.discard(1);
        assert!(unread.is_of(2) && unread.is_some() && unread.given_up().is_none());
        unread.give_up(2);
        assert!(unread.is_of(2) && unread.given_up() == Some(2));
        unread.discard(2);
        assert!(!unread.is_some());
        unread.begin(3, true);
        unread.end(3);
        // It came whole, so it cannot be given up.
        unread.give_up(3);
        assert!(!unread.is_some());
        unread.begin(4, true);
        unread.begin(5, false);
        assert!(!unread.is_some());
    }
}
