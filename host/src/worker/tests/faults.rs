//! Stores that are away, messages that are damaged or come again, executions that bring hosts down.

use std::time::Duration;

use futures_util::future::join_all;
use wasmill_domain::{Outcome, State, TenantName};
use wasmill_store::{History as _, Ledger as _};

use super::{HELLO, System, WAIT_TIMEOUT, dispatch, only_attempt};
use crate::{HostSettings, RecorderSettings};

/// How often a message may come again.
const LIMIT: u32 = 5;

const ADA: &str = r#"{"name": "Ada"}"#;

pub(super) fn impatient() -> HostSettings {
    let recorder =
        RecorderSettings { max_pause: Duration::from_millis(20), ..RecorderSettings::default() };
    HostSettings { recorder, ..HostSettings::default() }
}

#[tokio::test]
async fn while_the_store_is_away_everything_is_held() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'\n[limits]\nconcurrency = 4").await;
    let host = system.start_with(impatient());
    let first = system.publish("hello", "greeting.requested", ADA).await;
    system.ended(first).await;

    system.store.hook().set_away(true);
    let ids = join_all((0..200).map(|_| system.publish("hello", "greeting.requested", ADA))).await;
    let tries = system.store.hook().records();
    let tried = async {
        while system.store.hook().records() < tries + 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, tried).await.expect("the recorder goes on trying");
    let depth = system.depth("hello").await;
    assert!(depth.unacked > 0 && depth.unacked <= 4, "{depth:?}");
    for id in &ids {
        assert!(
            system.store.inner().execution(&TenantName::default(), *id).await.unwrap().is_none()
        );
    }

    system.store.hook().set_away(false);
    for id in ids {
        let detail = system.ended(id).await;
        assert_eq!(detail.summary.state, State::Succeeded);
        only_attempt(&detail);
    }
    system.drained("hello").await;
    host.stop().await;
}

#[tokio::test]
async fn one_that_the_store_refuses_does_not_hold_up_the_others() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let bad = dispatch("hello", "greeting.requested", ADA);
    let bad_id = bad.execution;
    system.store.hook().refuse_content_of(bad_id);
    let good: Vec<_> = (0..40).map(|_| dispatch("hello", "greeting.requested", ADA)).collect();
    let good_ids: Vec<_> = good.iter().map(|dispatch| dispatch.execution).collect();
    // All in the queue before the host starts, so that they are committed together.
    join_all(good.into_iter().chain([bad]).map(|dispatch| system.publisher.publish(dispatch)))
        .await;
    let host = system.start();
    for id in good_ids {
        assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    }
    let detail = system.ended(bad_id).await;
    assert_eq!(
        (detail.summary.state, detail.summary.outcome),
        (State::Failed, Some(Outcome::Trap))
    );
    let message = detail.summary.message.unwrap();
    assert!(
        message.contains("cannot be stored") && message.contains("refused by the test"),
        "{message}"
    );
    system.drained("hello").await;
    host.stop().await;
}

#[tokio::test]
async fn a_batch_that_comes_again_runs_only_what_is_left() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let (done, open) = (
        dispatch("hello", "greeting.requested", ADA),
        dispatch("hello", "greeting.requested", ADA),
    );
    let (done_id, open_id) = (done.execution, open.execution);
    let mut finished = crate::tests::ended(done.clone(), Outcome::Rejected);
    finished.report.host = "a-host-that-died".into();
    assert_eq!(system.store.record(&[finished]).await.unwrap(), [true]);
    system.publish_redelivered("hello", vec![done, open], 1).await;

    let host = system.start();
    assert_eq!(only_attempt(&system.ended(open_id).await).host, "test-host");
    system.drained("hello").await;
    assert_eq!(only_attempt(&system.ended(done_id).await).host, "a-host-that-died");
    host.stop().await;
}

#[tokio::test]
async fn a_batch_that_comes_too_often_is_taken_apart() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let dispatches: Vec<_> = (0..3).map(|_| dispatch("hello", "greeting.requested", ADA)).collect();
    let ids: Vec<_> = dispatches.iter().map(|dispatch| dispatch.execution).collect();
    system.publish_redelivered("hello", dispatches, LIMIT).await;
    let host = system.start();
    for id in ids {
        let detail = system.ended(id).await;
        assert_eq!(detail.summary.state, State::Succeeded);
        only_attempt(&detail);
    }
    system.drained("hello").await;
    host.stop().await;
}

#[tokio::test]
async fn a_single_execution_that_comes_too_often_is_parked() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let poison = dispatch("hello", "greeting.requested", ADA);
    let id = poison.execution;
    system.publish_redelivered("hello", vec![poison], LIMIT).await;
    let host = system.start();
    let detail = system.ended(id).await;
    assert_eq!(
        (detail.summary.state, detail.summary.outcome),
        (State::Failed, Some(Outcome::Poisoned))
    );
    assert!(detail.summary.message.unwrap().contains("delivered 6 times"));
    system.drained("hello").await;
    host.stop().await;
}
