//! Fails as often as its event asks and then succeeds, to show retries.

use serde::Deserialize;
use serde_json::json;

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::wasmill::function::context;
use crate::wasmill::function::log::{Level, log};
use crate::wasmill::function::types::RetryAdvice;

wit_bindgen::generate!({ world: "function", path: "../../wit" });

/// The data of a `payment.requested` event.
#[derive(Deserialize)]
#[serde(default)]
struct Payment {
    /// The first attempt that succeeds.
    succeed_at: u32,
    /// How long to wait before the next attempt; without it the manifest's back-off applies.
    delay_ms: Option<u64>,
    /// Whether the payment can never succeed.
    reject: bool,
}

impl Default for Payment {
    fn default() -> Self {
        Self { succeed_at: 1, delay_ms: None, reject: false }
    }
}

impl Payment {
    /// What becomes of this payment in the given attempt.
    fn pay(&self, attempt: u32) -> Result<(), Failure> {
        if self.reject {
            return Err(Failure::Reject("the card was declined".into()));
        }
        if attempt < self.succeed_at {
            return Err(Failure::Retry(RetryAdvice {
                reason: format!("the bank is away: attempt {attempt} of {}", self.succeed_at),
                delay_ms: self.delay_ms,
            }));
        }
        Ok(())
    }
}

struct Flaky;

impl Guest for Flaky {
    fn handle(event: Event) -> Result<Output, Failure> {
        let data = event.data.unwrap_or_default();
        let payment: Payment =
            serde_json::from_slice(&data).map_err(|error| Failure::Reject(error.to_string()))?;

        // The id is the same in every attempt: a real payment would send it along as its
        // idempotency key.
        let execution = context::current();
        let fields = [("attempt".into(), json!(execution.attempt).to_string())];
        if let Err(failure) = payment.pay(execution.attempt) {
            log(Level::Warn, "payment failed", &fields);
            return Err(failure);
        }
        log(Level::Info, "payment made", &fields);

        let receipt = json!({ "payment": execution.id, "attempt": execution.attempt });
        Ok(Output { content_type: None, data: receipt.to_string().into_bytes(), emit: Vec::new() })
    }
}

export!(Flaky);

#[cfg(test)]
mod tests {
    use super::{Failure, Payment};

    #[test]
    fn fails_until_the_attempt_asked_for() {
        let payment = Payment { succeed_at: 3, delay_ms: Some(20), reject: false };
        for attempt in 1..3 {
            let Err(Failure::Retry(advice)) = payment.pay(attempt) else {
                panic!("attempt {attempt} should ask for another");
            };
            assert_eq!(advice.delay_ms, Some(20));
        }
        assert!(payment.pay(3).is_ok());
    }

    #[test]
    fn a_rejection_is_final() {
        let payment = Payment { reject: true, ..Payment::default() };
        assert!(matches!(payment.pay(1), Err(Failure::Reject(_))));
    }
}
