//! How attempts end, and what is told of it.

use wasmill_domain::Timestamp;

use super::*;

fn said(text: &str) -> Option<String> {
    let lines = text.split('\n').map(|message| line(LogLevel::Warn, LogSource::Stderr, message));
    last_words(&lines.collect::<Vec<_>>())
}

fn line(level: LogLevel, source: LogSource, message: &str) -> LogLine {
    LogLine {
        seq: 0,
        at: Timestamp::now(),
        level,
        source,
        message: message.to_owned(),
        fields: None,
    }
}

#[test]
fn a_guest_without_standard_error_says_it_in_its_log() {
    let mut logs = vec![line(LogLevel::Error, LogSource::Log, "integer overflow")];
    logs.push(line(LogLevel::Info, LogSource::Log, "another line"));
    assert_eq!(last_words(&logs).unwrap(), "the last error in its log: integer overflow");
    logs.push(line(LogLevel::Warn, LogSource::Stderr, "x"));
    assert_eq!(last_words(&logs).unwrap(), "standard error says: x");
}

/// What answers for a handler that has thrown an exception gives a status and no reason.
#[test]
fn a_handler_that_answers_with_an_error_says_why_on_its_standard_error() {
    let ended = |outcome, kind| {
        let message = "answered with 500 Internal Server Error".to_owned();
        let mut reason = Reason { outcome, message, backtrace: None };
        let said = "Error while running request handler: boom";
        reason.add_last_words(&[line(LogLevel::Warn, LogSource::Stderr, said)], kind);
        reason.message
    };
    assert_eq!(
        ended(Outcome::Error, Kind::Http),
        "answered with 500 Internal Server Error; standard error says: Error while running request handler: boom"
    );
    // A function of another kind has given its reason itself, and a refusal is one.
    for (outcome, kind) in [(Outcome::Error, Kind::Event), (Outcome::Rejected, Kind::Http)] {
        assert_eq!(ended(outcome, kind), "answered with 500 Internal Server Error");
    }
}

#[test]
fn go_s_own_network_is_called_what_it_is() {
    let ended = |message: &str, refusal| {
        let message = message.to_owned();
        let mut reason = Reason { outcome: Outcome::Error, message, backtrace: None };
        reason.add_refusal(refusal);
        reason.message
    };
    for said in [
        "dial tcp: lookup api.example.com: Connection reset by peer",
        "dial tcp 192.0.2.1:80: Connection refused",
        "lookup api.example.com on [::1]:53: Connection reset by peer",
    ] {
        let told = ended(said, None);
        assert!(told.starts_with(said) && told.contains("allowed_hosts"), "{told}");
        // What the host itself refused is known better.
        assert_eq!(ended(said, Some("refused")), format!("{said}; refused"));
    }
    for said in ["Connection refused", "the lookup of a price failed"] {
        assert_eq!(ended(said, None), said);
    }
}

#[test]
fn the_reason_of_a_panic_is_what_it_begins_with() {
    let go = "before\npanic: runtime error: index out of range [7] with length 3\n\ngoroutine 1 [running]:\nmain.pick(...)\n\t/src/a.go:7 +0x1\nmain.handle()\n\t/src/a.go:9";
    assert_eq!(
        said(go).unwrap(),
        "standard error says: panic: runtime error: index out of range [7] with length 3"
    );
    let again = "panic: one\n\tpanic: two\n\ngoroutine 1 [running]:\nmain.main()";
    assert_eq!(said(again).unwrap(), "standard error says: panic: one panic: two");
    let rust = "thread 'main' panicked at src/lib.rs:7:5:\nthe shelf is empty\nnote: run with `RUST_BACKTRACE=1`\na\nb\nc";
    assert_eq!(
        said(rust).unwrap(),
        "standard error says: thread 'main' panicked at src/lib.rs:7:5: the shelf is empty a"
    );
    let many = format!("panic: {}", "é".repeat(500));
    assert!(said(&many).unwrap().ends_with("é…"));
}

#[test]
fn a_runtime_s_panic_does_not_hide_the_exception_that_it_is_for() {
    // Newer releases of Rust's runtime write an empty line before a panic.
    for between in ["", "\n", " \n\n"] {
        let python = format!(
            "Traceback (most recent call last):\n  File \"app.py\", line 3, in answer\nKeyError: 'name'\n{between}\
             thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\nPython function threw an exception"
        );
        assert_eq!(
            said(&python).unwrap(),
            "standard error says: KeyError: 'name' thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29: \
             Python function threw an exception"
        );
    }
}

#[test]
fn without_a_panic_the_reason_may_be_first_or_last() {
    assert_eq!(
        said("one\ntwo\n\nthree\nfour\n").unwrap(),
        "standard error says: one two three four"
    );
    assert_eq!(said("\n \n"), None);
    let frame = "\t[C]: in function 'error'";
    let lua = format!("lua: main.lua:1: boom\nstack traceback:\n{frame}\n\t[C]: in ?");
    assert_eq!(
        said(&lua).unwrap(),
        "standard error says: lua: main.lua:1: boom stack traceback: [C]: in function 'error' [C]: in ?"
    );
    let deep =
        said(&format!("main.lua:1: boom\nstack traceback:{}", format!("\n{frame}").repeat(50)))
            .unwrap();
    assert!(
        deep.starts_with("standard error says: main.lua:1: boom stack traceback: [C]: in"),
        "{deep}"
    );
    assert!(deep.contains(" … ") && deep.ends_with(" [C]: in function 'error'"), "{deep}");
    let frame = "  File \"app.py\", line 3, in answer\n";
    let python =
        format!("Traceback (most recent call last):\n{}KeyError: 'name'", frame.repeat(50));
    let python = said(&python).unwrap();
    assert!(
        python.starts_with("standard error says: Traceback (most recent call last): File"),
        "{python}"
    );
    assert!(
        python.contains(" … ") && python.ends_with("line 3, in answer KeyError: 'name'"),
        "{python}"
    );
    let long = "standard error says: ".len() + LONGEST_WORDS + " … ".len();
    assert!([&deep, &python].iter().all(|shown| shown.chars().count() <= long), "{deep} {python}");
}

#[test]
fn a_line_that_is_too_long_keeps_its_beginning() {
    let long = |first: char| format!("{first}{}", "é".repeat(500));
    let one = said(&long('1')).unwrap();
    assert!(one.starts_with("standard error says: 1é") && one.ends_with("é…"), "{one}");
    let two = said(&format!("{}\n{}", long('1'), long('2'))).unwrap();
    assert!(two.contains("says: 1é") && two.contains("é… 2é") && two.ends_with("é…"), "{two}");
    let three = said(&format!("{}\nbetween\n{}", long('1'), long('3'))).unwrap();
    assert!(three.contains("é… … 3é") && !three.contains("between"), "{three}");
}
