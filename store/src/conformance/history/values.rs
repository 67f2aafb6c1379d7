//! Odd and large values.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::strategy::{Strategy as _, ValueTree as _};
use wasmill_domain::event::arbitrary::any_event;
use wasmill_domain::{Dispatch, Event, EventParts, LogLevel, LogLine, LogSource, Outcome, Output};

use super::super::sample::{
    at_attempt, detail, dispatch, event_parts, finished, line, made, soon, tenant,
};
use crate::conformance::Store;
use crate::port::{Finished, Publication, StoreError};

pub(crate) async fn any_text_round_trips(store: Arc<dyn Store>) {
    for text in
        ["", "nul \0 inside", "\0", "'; DROP TABLE logs; --", "🦀 ü \u{202e}", "a\u{7f}\u{1}\n"]
    {
        let (good, odd) = (finished(&dispatch("total"), Outcome::Success), dispatch("total"));
        let mut entry = Finished {
            logs: vec![LogLine {
                level: LogLevel::Error,
                source: LogSource::Stderr,
                fields: None,
                ..line(0, text)
            }],
            ..finished(&odd, Outcome::Rejected)
        };
        entry.report.message = Some(text.into());
        entry.report.backtrace = Some(text.into());
        entry.report.host = text.into();
        entry.report.output =
            Some(Output { content_type: text.into(), data: text.to_owned().into() });
        match store.record(std::slice::from_ref(&entry)).await {
            Ok(stands) => {
                assert_eq!(stands, [true]);
                let seen = detail(&*store, odd.execution).await;
                assert_eq!(seen.summary.message.as_deref(), Some(text));
                assert_eq!(
                    seen.attempts[0].1,
                    wasmill_domain::AttemptReport { output: None, ..entry.report }
                );
                let logs = store.logs(&tenant(), odd.execution, None, 10).await.unwrap();
                assert_eq!(logs[0].line, entry.logs[0]);
            }
            Err(error) => assert!(matches!(error, StoreError::Rejected(_)), "{error}"),
        }
        assert_eq!(store.record(&[good]).await.unwrap(), [true], "after {text:?}");
    }
}

/// Whatever is an event comes back as it is, to be shown and to be sent again.
pub(crate) async fn any_event_is_read_back(store: Arc<dyn Store>) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut any = || Arc::new(any_event().new_tree(&mut runner).unwrap().current());
    let all: Vec<Dispatch> =
        (0..200).map(|_| Dispatch { event: any(), ..dispatch("total") }).collect();
    store.enqueue(&all, Publication::Pending).await.unwrap();
    for dispatch in &all {
        assert_eq!(detail(&*store, dispatch.execution).await.event.as_ref(), Ok(&*dispatch.event));
    }
    let sent = store.outbox(soon(), 1_000).await.unwrap();
    assert_eq!(sent.len(), all.len());
    for dispatch in sent {
        let accepted =
            all.iter().find(|accepted| accepted.execution == dispatch.execution).unwrap();
        assert_eq!(dispatch.event, accepted.event);
    }
}

pub(crate) async fn large_values_are_kept(store: Arc<dyn Store>) {
    let data = Bytes::from(vec![0xee; 2 << 20]);
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    let big = Dispatch {
        event: made(EventParts { data: Some(text.into()), ..event_parts() }),
        ..dispatch("total")
    };
    let mut entry = finished(&at_attempt(&big, u32::MAX), Outcome::Success);
    entry.report.output =
        Some(Output { content_type: "application/octet-stream".into(), data: data.clone() });
    entry.report.fuel_used = u64::MAX;
    entry.report.peak_memory = u64::MAX;
    entry.report.run_time = Duration::MAX;
    entry.logs = vec![line(u32::MAX, &"y".repeat(1 << 20))];
    assert_eq!(store.record(&[entry]).await.unwrap(), [true]);
    let seen = detail(&*store, big.execution).await;
    assert_eq!(
        (seen.summary.attempt, seen.output.unwrap().data, seen.event),
        (u32::MAX, data, Ok(Event::clone(&big.event)))
    );
    // More than a database counts: kept as the most that it does.
    assert!(
        seen.attempts[0].1.fuel_used >= i64::MAX as u64
            && seen.attempts[0].1.run_time.as_secs() > 86_400 * 365
    );
    assert_eq!(
        store.logs(&tenant(), big.execution, None, 1).await.unwrap()[0].line.message.len(),
        1 << 20
    );
}
