//! What a guest made of its event, whatever its kind: in the words of `wasmill:function`.

pub(super) use crate::bindings::exports::wasmill::function::handler as contract;
use crate::bindings::wasmill::function::types::RetryAdvice;

/// What a guest made of its event: in the contract's words, whatever its kind.
pub(crate) type Returned = Result<contract::Output, contract::Failure>;

/// A guest broke the contract of its kind. The text says how.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InvalidReturn(pub(crate) &'static str);

/// A failure that may pass.
pub(super) fn retry(reason: impl Into<String>, delay_ms: Option<u64>) -> contract::Failure {
    contract::Failure::Retry(RetryAdvice { reason: reason.into(), delay_ms })
}
