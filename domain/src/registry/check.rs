//! Checks data by the schemas on its way.

use std::sync::Arc;

use serde_json::Value;

use super::lazy::LazySchema;
use crate::schema::{CompileError, Failure, Violation};

/// A schema that data must satisfy, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) owner: String,
    pub(crate) schema: Arc<LazySchema>,
}

impl Check {
    /// Checks data, after compiling the schema if that is not done yet.
    fn check(&self, data: &Value, steps: &mut u64) -> Result<(), Refusal> {
        match self.schema.compile() {
            Ok(schema) => schema.check(data, steps).map_err(|failure| self.refusal(failure)),
            Err(unreadable) => Err(self.unusable(&unreadable)),
        }
    }

    /// Checks data if the schema is compiled and the steps last.
    fn try_check(&self, data: &Value, steps: &mut u64) -> Option<Result<(), Refusal>> {
        let checked = match self.schema.compiled()? {
            Ok(schema) => schema.try_check(data, steps),
            Err(unreadable) => return Some(Err(self.unusable(unreadable))),
        };
        match checked {
            Err(Failure::Steps) => None,
            checked => Some(checked.map_err(|failure| self.refusal(failure))),
        }
    }

    fn refusal(&self, failure: Failure) -> Refusal {
        let most = self.schema.share().compiler.max_check_steps();
        let (owner, whole) = (self.owner.clone(), Violation::of_all);
        let message = match failure {
            Failure::Violations(violations) => {
                return Refusal { owner, violations, unchecked: None };
            }
            Failure::Steps => {
                format!("the check takes more than {most} steps (schemas.max_check_steps)")
            }
            Failure::Depth => "schema and data go too deep to be checked".into(),
        };
        let unchecked = Some(Unchecked { is_first: self.schema.note_exceeded() });
        Refusal { owner, violations: vec![whole(&message)], unchecked }
    }

    /// Checked when it was uploaded, so an older wasmill took it, or other bounds were set: refuse
    /// rather than let unchecked data in.
    fn unusable(&self, unreadable: &CompileError) -> Refusal {
        let message = format!("the schema cannot be used any more: {unreadable}");
        let violation =
            Violation { schema_pointer: unreadable.pointer.clone(), ..Violation::of_all(&message) };
        Refusal { owner: self.owner.clone(), violations: vec![violation], unchecked: None }
    }
}

/// Why an event's data is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whose schema it does not satisfy: "event type order.created" or "function order-total".
    pub owner: String,
    /// What is wrong with it; at least one.
    pub violations: Vec<Violation>,
    /// Set where it is not known whether the data satisfies the schema, as finding out takes too
    /// much. The one violation says what.
    pub unchecked: Option<Unchecked>,
}

/// That a check was ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// Whether it is the first of this schema's in this process.
    pub is_first: bool,
}

/// Checks data by all of these, in no more steps than given, or than the bounds say.
pub(crate) fn check_all(
    checks: &[Check],
    data: &Value,
    steps: Option<&mut u64>,
) -> Result<(), Refusal> {
    let Some(first) = checks.first() else { return Ok(()) };
    let mut most = first.schema.share().compiler.max_check_steps();
    let steps = steps.unwrap_or(&mut most);
    checks.iter().try_for_each(|check| check.check(data, steps))
}

/// The same for threads that serve requests: `None` where a schema is not compiled yet, or the
/// steps do not last.
pub(crate) fn try_check_all(
    checks: &[Check],
    data: &Value,
    steps: &mut u64,
) -> Option<Result<(), Refusal>> {
    for check in checks {
        if let Err(refusal) = check.try_check(data, steps)? {
            return Some(Err(refusal));
        }
    }
    Some(Ok(()))
}
