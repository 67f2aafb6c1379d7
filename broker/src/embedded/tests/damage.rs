//! Logs that were cut short, and logs that were damaged.

use std::fs;
use std::path::{Path, PathBuf};

use super::{consume, contents, copy_of, next, open, publish, queue, settled, small};
use crate::embedded::EmbeddedSettings;
use crate::embedded::log::segment_path;
use crate::embedded::message::StoredMessage;
use crate::embedded::recovery::{OpenError, recover};
use crate::port::Publishing as _;

/// The numbers in the messages that are alive.
type Alive = Vec<String>;

fn alive_in(dir: &Path) -> Result<Alive, OpenError> {
    let recovered = recover(dir)?.expect("a log");
    let body = |(_, stored): &(u64, StoredMessage)| stored.message.body.to_vec();
    Ok(recovered.messages.iter().map(|message| String::from_utf8(body(message)).unwrap()).collect())
}

fn last_segment(dir: &Path) -> PathBuf {
    let logs = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

/// A log of one segment, and what was alive when its file was so long: one step each, the first
/// with nothing at all.
async fn history(dir: &Path) -> Vec<(usize, Alive)> {
    let settings = EmbeddedSettings { preallocate_bytes: 0, ..EmbeddedSettings::default() };
    let broker = open(dir, settings);
    let name = queue("q");
    broker.declare(&name).await.unwrap();
    let file = last_segment(dir);
    let mut alive = Alive::new();
    let mut history = Vec::new();
    let mut note = |alive: &Alive| history.push((fs::read(&file).unwrap().len(), alive.clone()));
    note(&alive);
    for number in 0..6_usize {
        let body = number.to_string().repeat(1 + number * 37);
        publish(&broker, &name, &body).await;
        alive.push(body);
        note(&alive);
    }
    let mut consumption = consume(&broker, &name, 3).await;
    let (first, second) = (next(&mut consumption).await, next(&mut consumption).await);
    consumption.settle.ack(&[second.tag]).await.unwrap();
    alive.remove(1);
    note(&alive);
    publish(&broker, &name, "7").await;
    alive.push("7".into());
    note(&alive);
    consumption.settle.ack(&[first.tag]).await.unwrap();
    alive.remove(0);
    note(&alive);
    settled(&broker).await;
    history
}

/// What is read from a cut log must be what was there at the cut: the last step that was complete,
/// or the one after it.
fn check_cut(history: &[(usize, Alive)], cut: usize, read: &Alive) {
    let complete = history.iter().rposition(|(length, _)| *length <= cut).unwrap();
    let steps = &history[complete..(complete + 2).min(history.len())];
    assert!(steps.iter().any(|(_, alive)| alive == read), "cut at {cut}: {read:?}");
}

#[tokio::test]
async fn a_tail_cut_anywhere_costs_only_what_was_not_complete() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(dir.path()).await;
    let whole = fs::read(last_segment(dir.path())).unwrap();
    let copy = copy_of(dir.path());
    let file = last_segment(copy.path());
    for cut in history[0].0..=whole.len() {
        // As a killed process leaves it, as a power failure may, and worse.
        let zeros = vec![0; whole.len() - cut + 100];
        let noise: Vec<u8> = (0..whole.len() - cut).map(|at| (at * 7919 + cut) as u8 | 1).collect();
        for tail in [&[][..], &zeros, &noise] {
            fs::write(&file, [&whole[..cut], tail].concat()).unwrap();
            check_cut(&history, cut, &alive_in(copy.path()).unwrap());
        }
    }
}

#[tokio::test]
async fn a_log_goes_on_behind_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(dir.path()).await;
    let whole = fs::read(last_segment(dir.path())).unwrap();
    for cut in (history[0].0..whole.len()).step_by(41) {
        let copy = copy_of(dir.path());
        let noise: Vec<u8> = (0..whole.len() - cut).map(|at| (at * 7919 + cut) as u8).collect();
        fs::write(last_segment(copy.path()), [&whole[..cut], &noise].concat()).unwrap();
        let broker = open(copy.path(), small());
        let name = queue("q");
        publish(&broker, &name, "and on").await;
        drop(broker);
        let broker = open(copy.path(), small());
        let mut read: Alive =
            contents(&broker, &name).await.into_iter().map(|(body, _)| body).collect();
        assert_eq!(read.pop().unwrap(), "and on");
        check_cut(&history, cut, &read);
    }
}

/// A log of several segments, properly closed.
async fn closed_log(dir: &Path) -> Alive {
    let broker = open(dir, small());
    let name = queue("q");
    broker.declare(&name).await.unwrap();
    for number in 0..30 {
        publish(&broker, &name, &format!("{number:0300}")).await;
    }
    let mut consumption = consume(&broker, &name, 10).await;
    for number in 0..10 {
        let delivery = next(&mut consumption).await;
        if number % 2 == 0 {
            consumption.settle.ack(&[delivery.tag]).await.unwrap();
        }
    }
    drop(consumption);
    broker.close().await;
    alive_in(dir).unwrap()
}

#[tokio::test]
async fn a_flipped_bit_is_reported_and_nothing_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let alive = closed_log(dir.path()).await;
    let (mut reported, mut harmless) = (0, 0);
    let last = last_segment(dir.path());
    for number in 1.. {
        let file = segment_path(dir.path(), number);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&file, &damaged).unwrap();
            match alive_in(dir.path()) {
                Err(OpenError::Damaged { file: named, offset, .. }) => {
                    assert_eq!(named, file);
                    assert!(
                        offset as usize <= at,
                        "byte {at} of segment {number}: {offset} is named"
                    );
                    reported += 1;
                }
                // The last batch has nothing in it, and behind it there are zeros.
                Ok(read) => {
                    assert_eq!(read, alive, "byte {at} of segment {number}");
                    harmless += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        fs::write(&file, &whole).unwrap();
        if file == last {
            break;
        }
    }
    assert_eq!(alive_in(dir.path()).unwrap(), alive);
    assert!(reported > 8_000 && harmless < 1_000, "{reported} reported, {harmless} harmless");
}

#[tokio::test]
async fn other_damage_is_reported_too() {
    let dir = tempfile::tempdir().unwrap();
    closed_log(dir.path()).await;
    let (first, last) = (segment_path(dir.path(), 1), last_segment(dir.path()));
    let refused = |copy: &Path| alive_in(copy).unwrap_err().to_string();
    let same = |path: &Path, copy: &Path| copy.join(path.file_name().unwrap());

    // Cut short, though another segment follows.
    let copy = copy_of(dir.path());
    let path = same(&first, copy.path());
    fs::File::options().write(true).open(&path).unwrap().set_len(1_000).unwrap();
    let said = refused(copy.path());
    assert!(
        said.contains("00000000000000000001.log at byte ")
            && said.contains("is not what was written"),
        "{said}"
    );

    // Gone.
    let copy = copy_of(dir.path());
    fs::remove_file(same(&segment_path(dir.path(), 2), copy.path())).unwrap();
    let said = refused(copy.path());
    assert!(said.contains("00000000000000000002.log") && said.contains("missing"), "{said}");

    // Another's.
    let (copy, foreign) = (copy_of(dir.path()), tempfile::tempdir().unwrap());
    closed_log(foreign.path()).await;
    fs::copy(same(&last, foreign.path()), same(&last, copy.path())).unwrap();
    assert!(refused(copy.path()).contains("belongs to another log"));

    // Empty, or something else.
    for content in [&b""[..], b"hello", &[0; 5_000]] {
        let copy = copy_of(dir.path());
        fs::write(same(&last, copy.path()), content).unwrap();
        assert!(refused(copy.path()).contains("the header cannot be read"));
    }

    // And nothing is changed by looking.
    let copy = copy_of(dir.path());
    let mut damaged = fs::read(same(&first, copy.path())).unwrap();
    damaged[500] ^= 1;
    fs::write(same(&first, copy.path()), &damaged).unwrap();
    let error = crate::embedded::EmbeddedBroker::open(copy.path(), small()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }));
    assert_eq!(fs::read(same(&first, copy.path())).unwrap(), damaged);
    assert_eq!(fs::read(same(&last, copy.path())).unwrap(), fs::read(&last).unwrap());
}
