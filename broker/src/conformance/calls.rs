//! Calls and their lines.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::in_time;
use crate::line::{Call, LINE_WINDOW, Line};
use crate::port::{Broker, Calls, Error, QueueName};

/// A service that no other test has, and its first half: who answers, at most `most` at a time.
async fn service(broker: &Arc<dyn Broker>, most: u16) -> (QueueName, Box<dyn Calls>) {
    let name: QueueName = format!("conformance.calls.{}", Uuid::new_v4()).parse().unwrap();
    let calls = in_time(broker.answer(&name, NonZeroU16::new(most).unwrap())).await.unwrap();
    (name, calls)
}

async fn next(calls: &mut Box<dyn Calls>) -> Call {
    in_time(calls.next()).await.expect("calls have ended")
}

/// Both ends of a call.
async fn connect(broker: &Arc<dyn Broker>) -> (Line, Line, Box<dyn Calls>) {
    let (service, mut calls) = service(broker, 4).await;
    let here = in_time(broker.call(&service, "hello".into())).await.unwrap();
    let Call { opening, line } = next(&mut calls).await;
    assert_eq!(opening, "hello");
    (here, line, calls)
}

async fn hear(line: &mut Line) -> Option<Bytes> {
    in_time(line.listener.hear()).await
}

pub(super) async fn both_ends_are_heard_in_order(broker: Arc<dyn Broker>) {
    let (mut here, mut there, _calls) = connect(&broker).await;
    assert!(in_time(here.listener.answered()).await);
    // More than a window each way, so that what is taken must be told.
    let count = 5 * LINE_WINDOW;
    let speakers = (here.speaker.clone(), there.speaker.clone());
    let speaking = tokio::spawn(async move {
        for number in 0..count {
            in_time(speakers.0.say(format!("to {number}").into())).await.unwrap();
            in_time(speakers.1.say(format!("back {number}").into())).await.unwrap();
        }
    });
    for number in 0..count {
        assert_eq!(hear(&mut there).await.unwrap(), format!("to {number}"));
        assert_eq!(hear(&mut here).await.unwrap(), format!("back {number}"));
    }
    in_time(speaking).await.unwrap();
}

pub(super) async fn whoever_says_no_more_still_hears(broker: Arc<dyn Broker>) {
    let (here, mut there, _calls) = connect(&broker).await;
    let Line { speaker, mut listener } = here;
    in_time(speaker.say("last".into())).await.unwrap();
    drop(speaker);
    assert_eq!(hear(&mut there).await.unwrap(), "last");
    assert_eq!(hear(&mut there).await, None);
    let large = Bytes::from(vec![7; 300_000]);
    in_time(there.speaker.say(large.clone())).await.unwrap();
    drop(there);
    assert_eq!(in_time(listener.hear()).await, Some(large));
    assert_eq!(in_time(listener.hear()).await, None);
}

pub(super) async fn hanging_up_is_noticed(broker: Arc<dyn Broker>) {
    let (here, mut there, _calls) = connect(&broker).await;
    drop(here);
    in_time(there.speaker.hung_up()).await;
    assert_eq!(hear(&mut there).await, None);
    assert!(in_time(there.speaker.say("x".into())).await.is_err());

    let (mut here, there, _calls) = connect(&broker).await;
    drop(there);
    assert_eq!(hear(&mut here).await, None);
    in_time(here.speaker.hung_up()).await;
}

pub(super) async fn a_speaker_waits_for_whoever_listens(broker: Arc<dyn Broker>) {
    let (here, mut there, _calls) = connect(&broker).await;
    // What fits on the way, in both ends and between them, is bounded.
    let bound = 4 * LINE_WINDOW;
    let mut said = 0;
    while said <= bound {
        let saying = here.speaker.say("x".into());
        if tokio::time::timeout(super::SILENCE, saying).await.is_err() {
            break;
        }
        said += 1;
    }
    assert!((LINE_WINDOW..=bound).contains(&said), "{said} frames were taken with nobody listening");
    for _ in 0..said {
        assert_eq!(hear(&mut there).await.unwrap(), "x");
    }
}

pub(super) async fn nobody_answers(broker: Arc<dyn Broker>) {
    let name: QueueName = format!("conformance.calls.{}", Uuid::new_v4()).parse().unwrap();
    let called = in_time(broker.call(&name, "x".into())).await;
    assert!(matches!(called, Err(Error::NoQueue(queue)) if queue == name));
}

pub(super) async fn calls_are_shared_and_each_answered_once(broker: Arc<dyn Broker>) {
    let (service, mut first) = service(&broker, 1).await;
    let mut second = in_time(broker.answer(&service, NonZeroU16::MIN)).await.unwrap();
    let one = in_time(broker.call(&service, "1".into())).await.unwrap();
    let two = in_time(broker.call(&service, "2".into())).await.unwrap();
    let mut openings = [next(&mut first).await, next(&mut second).await].map(|call| (call.opening, call.line));
    openings.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!([&openings[0].0, &openings[1].0], ["1", "2"]);
    drop((one, two));
}
