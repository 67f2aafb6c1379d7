//! What crosses the broker: dispatches of one function, 1 to 64 of them in a message. Its bytes are
//! in [`wire`](crate::wire).

use crate::dispatch::Dispatch;

/// The most dispatches in one batch.
pub const MAX_DISPATCHES: usize = 64;

/// A batch holds no further dispatch once it is this long, in bytes; a single larger one travels
/// alone.
pub const SOFT_MAX_BYTES: usize = 1 << 20;

/// Dispatches of one function, in the order of their acceptance.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    dispatches: Vec<Dispatch>,
}

impl Batch {
    /// A batch of `dispatches`; `None` unless there are 1 to 64, all of one function.
    pub fn new(dispatches: Vec<Dispatch>) -> Option<Self> {
        let first = dispatches.first()?;
        let same = |d: &Dispatch| d.tenant == first.tenant && d.function == first.function;
        (dispatches.len() <= MAX_DISPATCHES && dispatches.iter().all(same))
            .then_some(Self { dispatches })
    }

    /// A batch of one.
    pub fn single(dispatch: Dispatch) -> Self {
        Self { dispatches: vec![dispatch] }
    }

    /// What it holds; never empty.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Takes it apart.
    pub fn into_dispatches(self) -> Vec<Dispatch> {
        self.dispatches
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Event, TenantName, TraceContext};

    fn dispatch(function: &str) -> Dispatch {
        let event = Event::new("1", "/test", "greeting".parse().unwrap(), "{}").unwrap();
        Dispatch::new(
            TenantName::default(),
            function.parse().unwrap(),
            TraceContext::new_root(),
            Arc::new(event),
        )
    }

    #[test]
    fn a_batch_is_of_one_function() {
        assert!(Batch::new(vec![dispatch("hello"), dispatch("other")]).is_none());
        assert!(Batch::new(vec![]).is_none());
        assert!(Batch::new(vec![dispatch("hello"); MAX_DISPATCHES + 1]).is_none());
        assert!(Batch::new(vec![dispatch("hello"); MAX_DISPATCHES]).is_some());
    }
}
