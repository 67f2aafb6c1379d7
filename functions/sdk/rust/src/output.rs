//! What handlers return.

use std::time::Duration;

use serde::Serialize;

use crate::bindings::wasmill::function::types;
use crate::contract;

/// A result, and events to publish if it commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The media type of `data`; none is `application/json`.
    pub content_type: Option<String>,
    /// The result.
    pub data: Vec<u8>,
    /// The events.
    pub emit: Vec<Emitted>,
}

/// An event to publish. What is left out is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emitted {
    /// The type.
    pub event_type: String,
    /// Default: `/functions/NAME`.
    pub source: Option<String>,
    /// What in the source it is about.
    pub subject: Option<String>,
    /// Extension attributes: names of lower-case letters and digits.
    pub extensions: Vec<(String, String)>,
    /// Default: `application/json`.
    pub datacontenttype: Option<String>,
    /// The data.
    pub data: Option<Vec<u8>>,
}

/// Why a function did not succeed, and what should happen now. Every error becomes a `Retry` by
/// `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may work later.
    Retry {
        /// What went wrong, for the operator.
        reason: String,
        /// The pause before the next attempt, where the function knows better than the manifest. At
        /// most one day.
        delay: Option<Duration>,
    },
    /// It will never work; the reason is for the operator.
    Reject(String),
}

impl Output {
    /// A value as JSON.
    ///
    /// # Errors
    /// [`Failure::Reject`] for a value that JSON cannot hold, such as a map with keys that are no
    /// strings.
    pub fn json(value: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self { data: to_json(value)?, ..Self::default() })
    }

    /// Bytes of some media type.
    pub fn bytes(content_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { content_type: Some(content_type.into()), data: data.into(), emit: Vec::new() }
    }

    /// The same, with an event to publish.
    #[must_use]
    pub fn emit(mut self, event: Emitted) -> Self {
        self.emit.push(event);
        self
    }

    pub(crate) fn into_contract(self) -> contract::Output {
        let emit = self.emit.into_iter().map(Emitted::into_contract).collect();
        contract::Output { content_type: self.content_type, data: self.data, emit }
    }
}

impl Emitted {
    /// An event of this type with a value as JSON.
    ///
    /// # Errors
    /// As [`Output::json`].
    pub fn json(event_type: impl Into<String>, value: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self { event_type: event_type.into(), data: Some(to_json(value)?), ..Self::default() })
    }

    fn into_contract(self) -> types::EmittedEvent {
        types::EmittedEvent {
            type_: self.event_type,
            source: self.source,
            subject: self.subject,
            extensions: self.extensions,
            datacontenttype: self.datacontenttype,
            data: self.data,
        }
    }
}

impl Failure {
    /// It may work later.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), delay: None }
    }

    /// It will never work.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    pub(crate) fn into_contract(self) -> contract::Failure {
        match self {
            Self::Reject(reason) => contract::Failure::Reject(reason),
            Self::Retry { reason, delay } => {
                let delay_ms =
                    delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                contract::Failure::Retry(types::RetryAdvice { reason, delay_ms })
            }
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error.to_string())
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value)
        .map_err(|error| Failure::Reject(format!("no JSON can be made of the result: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_may_pass() {
        let error = "x".parse::<u8>().unwrap_err();
        assert_eq!(Failure::from(error), Failure::retry("invalid digit found in string"));
    }

    #[test]
    fn results_carry_events() {
        let output = Output::json(&1).unwrap().emit(Emitted::json("a.b", &[1]).unwrap());
        let contract = output.into_contract();
        assert_eq!((contract.data, contract.emit.len()), (b"1".to_vec(), 1));
        assert_eq!(contract.emit[0].data.as_deref(), Some(b"[1]".as_slice()));
    }
}
