//! Messages that no process could read.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use wasmill_domain::{AttemptKey, Dispatch, Outcome, State};

use super::sample::{
    dispatch, dispatches, execution_in, finished, name, now, outbox, state_of, tenant,
};
use crate::conformance::Store;
use crate::dead_letters::{DeadLetter, DeadLetterSummary};
use crate::port::Publication;

fn letter() -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        tenant: tenant(),
        function: name("total"),
        reason: "batches of version 7 cannot be read here\0 (ü)".into(),
        at: now(),
        headers: vec![("content-type".into(), "a/b".into()), ("x".into(), "\"1\"".into())],
        body: Bytes::from_static(b"\x07\0\xff not text"),
    }
}

fn summary(letter: &DeadLetter, executions: u64) -> DeadLetterSummary {
    DeadLetterSummary {
        id: letter.id,
        tenant: letter.tenant.clone(),
        function: letter.function.clone(),
        reason: letter.reason.clone(),
        at: letter.at,
        size: letter.body.len() as u64,
        executions,
    }
}

fn keys(dispatches: &[Dispatch]) -> Vec<AttemptKey> {
    dispatches.iter().map(Dispatch::key).collect()
}

pub(crate) async fn a_letter_is_kept_with_its_bytes(store: Arc<dyn Store>) {
    assert_eq!(store.dead_letters(None, 10).await.unwrap(), []);
    assert_eq!(store.dead_letter(Uuid::now_v7()).await.unwrap(), None);
    let letter = letter();
    store.put_dead_letter(&letter, &[]).await.unwrap();
    // Again, as where the answer got lost: the first one stands.
    store
        .put_dead_letter(&DeadLetter { body: "other".into(), ..letter.clone() }, &[])
        .await
        .unwrap();
    assert_eq!(store.dead_letter(letter.id).await.unwrap().as_ref(), Some(&letter));
    assert_eq!(store.dead_letters(None, 10).await.unwrap(), [summary(&letter, 0)]);
    assert!(store.delete_dead_letter(letter.id).await.unwrap());
    assert!(!store.delete_dead_letter(letter.id).await.unwrap());
    assert_eq!(store.dead_letter(letter.id).await.unwrap(), None);
}

pub(crate) async fn letters_come_in_pages(store: Arc<dyn Store>) {
    let letters: Vec<DeadLetter> = (0..5).map(|_| letter()).collect();
    for letter in &letters {
        store.put_dead_letter(letter, &[]).await.unwrap();
    }
    let mut newest_first: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    newest_first.reverse();
    let page = async |before, limit| -> Vec<Uuid> {
        store.dead_letters(before, limit).await.unwrap().iter().map(|letter| letter.id).collect()
    };
    assert_eq!(page(None, 2).await, newest_first[..2]);
    assert_eq!(page(Some(newest_first[1]), 2).await, newest_first[2..4]);
    assert_eq!(page(Some(newest_first[3]), 9).await, newest_first[4..]);
    assert!(page(Some(newest_first[4]), 9).await.is_empty());
}

pub(crate) async fn a_letter_ends_what_waits_for_it(store: Arc<dyn Store>) {
    let queued = dispatches(2);
    store.enqueue(&queued, Publication::Pending).await.unwrap();
    let running = execution_in(&*store, State::Running).await;
    let done = execution_in(&*store, State::Succeeded).await;
    let later = Dispatch { attempt: 7, ..queued[1].clone() };
    let without_row = dispatch("total");
    let letter = letter();
    let all = [queued[0].clone(), running.clone(), done.clone(), later, without_row.clone()];
    store.put_dead_letter(&letter, &keys(&all)).await.unwrap();
    for ended in [&queued[0], &running] {
        let summary = store.execution(&tenant(), ended.execution).await.unwrap().unwrap().summary;
        assert_eq!((summary.state, summary.outcome), (State::Failed, Some(Outcome::Poisoned)));
        assert_eq!(
            (summary.message.as_ref(), summary.finished_at),
            (Some(&letter.reason), Some(letter.at))
        );
        // Nothing that comes of it stands any more.
        assert_eq!(store.record(&[finished(ended, Outcome::Success)]).await.unwrap(), [false]);
        assert_eq!(store.unfinished(std::slice::from_ref(ended)).await.unwrap(), [false]);
    }
    assert_eq!(state_of(&*store, &queued[1]).await, (State::Queued, 1), "of another attempt");
    assert_eq!(state_of(&*store, &done).await, (State::Succeeded, 1));
    assert_eq!(store.execution(&tenant(), without_row.execution).await.unwrap(), None);
    assert_eq!(outbox(&*store).await, [(queued[1].execution, 1)]);
    assert_eq!(store.dead_letters(None, 1).await.unwrap(), [summary(&letter, 2)]);
    // The same letter once more ends nothing else.
    store.put_dead_letter(&letter, &keys(&queued)).await.unwrap();
    assert_eq!(state_of(&*store, &queued[1]).await, (State::Queued, 1));
}

pub(crate) async fn what_a_letter_ended_waits_again(store: Arc<dyn Store>) {
    let queued = dispatches(2);
    store.enqueue(&queued, Publication::Confirmed).await.unwrap();
    // One that was given up by a host has an attempt of its own, and is no letter's.
    let poisoned = dispatch("total");
    assert_eq!(store.record(&[finished(&poisoned, Outcome::Poisoned)]).await.unwrap(), [true]);
    let failed = execution_in(&*store, State::Failed).await;
    let letter = letter();
    let all = keys(&[queued[0].clone(), poisoned.clone(), failed.clone()]);
    store.put_dead_letter(&letter, &all).await.unwrap();
    assert_eq!(store.reopen_dead_letter(&letter, &all).await.unwrap(), 1);
    let summary = store.execution(&tenant(), queued[0].execution).await.unwrap().unwrap().summary;
    assert_eq!((summary.state, summary.outcome, summary.message), (State::Queued, None, None));
    assert_eq!(summary.finished_at, None);
    for other in [&poisoned, &failed] {
        assert_eq!(state_of(&*store, other).await, (State::Failed, 1));
    }
    assert_eq!(store.reopen_dead_letter(&letter, &all).await.unwrap(), 0, "it waits already");
    assert!(
        store.dead_letter(letter.id).await.unwrap().is_some(),
        "the letter stays until it is deleted"
    );
    assert_eq!(store.record(&[finished(&queued[0], Outcome::Success)]).await.unwrap(), [true]);
}

pub(crate) async fn a_letter_ends_nobody_elses(store: Arc<dyn Store>) {
    let others = [
        Dispatch { tenant: "other".parse().unwrap(), ..dispatch("total") },
        Dispatch { function: "other".parse().unwrap(), ..dispatch("total") },
    ];
    store.enqueue(&others, Publication::Confirmed).await.unwrap();
    let letter = letter();
    store.put_dead_letter(&letter, &keys(&others)).await.unwrap();
    for other in &others {
        assert_eq!(state_of(&*store, other).await, (State::Queued, 1));
    }
    assert_eq!(store.dead_letters(None, 1).await.unwrap(), [summary(&letter, 0)]);
    assert_eq!(store.reopen_dead_letter(&letter, &keys(&others)).await.unwrap(), 0);
}
