//! What the client verbs print: tables and values for people, JSON for programs.
//!
//! All text that people read passes through here, and with it what guests and senders wrote:
//! whatever a terminal would obey, or would show in another order than it was written, is escaped.
//! JSON for programs is printed as it is, but for a terminal, where it has the same values.

mod closed;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::exit::{Failure, Result};
use crate::json::{Json, pretty};

/// Why standard output took no more.
static BROKEN: OnceLock<io::Error> = OnceLock::new();

/// Prints a line on standard output.
pub(crate) fn line(text: impl AsRef<str>) {
    print(&with_end(&escaped(text.as_ref())));
}

/// Prints a line on standard output if it can be: for what does its work whether somebody reads it
/// or not.
pub(crate) fn note(text: impl AsRef<str>) {
    static TOLD: Once = Once::new();
    match write(&with_end(&escaped(text.as_ref()))) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            TOLD.call_once(|| {
                aside(&format!("standard output cannot be written ({error}); the work goes on"));
            });
        }
        _ => {}
    }
}

/// Prints bytes as they are, and nothing after them. A terminal gets text.
pub(crate) fn raw(bytes: &[u8]) {
    if io::stdout().is_terminal() {
        print(escaped(&String::from_utf8_lossy(bytes)).as_bytes());
    } else {
        print(bytes);
    }
}

/// Prints a line on standard error: what a program that reads the results need not see.
pub(crate) fn aside(text: &str) {
    // Nobody may be reading; then nobody misses it.
    let _ = writeln!(io::stderr().lock(), "{}", escaped(text));
}

/// Prints a JSON document, laid out and else as it is. What a terminal would obey is escaped for
/// it, as JSON may be.
pub(crate) fn json(document: &impl Serialize) {
    print(&with_end(&json_text(document, io::stdout().is_terminal())));
}

pub(crate) fn json_text(document: &impl Serialize, is_for_terminal: bool) -> String {
    // Every key is a string.
    let text = pretty(&serde_json::to_string(document).unwrap_or_default());
    if is_for_terminal { escaped(&text) } else { text }
}

/// Prints a JSON document for people.
pub(crate) fn json_for_people(document: Json<'_>) {
    line(pretty(&document.text()));
}

/// Says whether all that was to be printed was printed, as far as somebody wanted to read it.
///
/// # Errors
/// Where standard output could not be written.
pub(crate) fn printed() -> Result {
    match BROKEN.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(anyhow!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes on standard output, until that fails once: what is left to do is done without it, and
/// [`printed`] tells.
fn print(bytes: &[u8]) {
    if BROKEN.get().is_none()
        && let Err(error) = write(bytes)
    {
        let _ = BROKEN.set(error);
    }
}

/// Tells whether standard output was there when the process began.
///
/// # Errors
/// Where it was closed.
pub(crate) fn check_open() -> io::Result<()> {
    if closed::was_closed() { Err(rustix::io::Errno::BADF.into()) } else { Ok(()) }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    check_open()?;
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

fn with_end(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\n"].concat()
}

/// A text of which a terminal obeys nothing but the ends of its lines and tabs: control characters
/// (those of C1 too), and what changes the direction of text or ends a line without looking like
/// it, are written as JSON escapes them. So escaped JSON has the same value.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push_str("\\r"),
            _ if c.is_control() || is_format(c) => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => out.push(c),
        }
    }
    out
}

/// Whether a character changes how others are shown: the bidirectional controls, and the separators
/// of lines and paragraphs.
fn is_format(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text that stays within its line.
pub(crate) fn inline(text: &str) -> String {
    escaped(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// A text whose lines after the first stand under it, so that none looks like another line of what
/// is printed.
pub(crate) fn indented(text: &str, by: usize) -> String {
    text.trim_end().replace('\n', &format!("\n{:by$}", ""))
}

/// Prints rows under a heading, each column as wide as its widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) {
    table_lines(heading, rows).iter().for_each(line);
}

/// The heading and the rows as they are printed, a line each.
pub(crate) fn table_lines(heading: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| inline(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(heading[column].chars().count())
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let padded = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let heading = padded(&mut heading.iter().copied());
    let rows = rows.iter().map(|row| padded(&mut row.iter().map(String::as_str)));
    std::iter::once(heading).chain(rows).collect()
}

/// A value as a table's cell: text bare, null as a dash, the rest as JSON.
pub(crate) fn cell(value: Json<'_>) -> String {
    match value.string() {
        Some(text) => single_line(&text),
        None if value.is_null() => "-".into(),
        None => value.text(),
    }
}

/// The first line of a text, shortened to fit a table.
pub(crate) fn single_line(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    let first = text.lines().next().unwrap_or_default();
    match first.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None => first.to_owned(),
    }
}

/// The part of a digest that tells it from others at a glance.
pub(crate) fn short_digest(digest: Option<String>) -> String {
    digest.map_or_else(
        || "-".into(),
        |text| text.trim_start_matches("sha256:").chars().take(12).collect(),
    )
}

/// A number of bytes for people.
pub(crate) fn bytes(bytes: impl Into<Option<u64>>) -> String {
    let Some(bytes) = bytes.into() else { return "-".into() };
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A number of milliseconds for people.
pub(crate) fn millis(ms: impl Into<Option<f64>>) -> String {
    ms.into().map_or_else(
        || "-".into(),
        |ms| if ms < 10_000.0 { format!("{ms:.2} ms") } else { format!("{:.1} s", ms / 1000.0) },
    )
}

/// A count with separators.
pub(crate) fn count(count: impl Into<Option<u64>>) -> String {
    let Some(count) = count.into() else { return "-".into() };
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How often it is said that something goes on, where there is no terminal to show it on.
const STILL_WAITING: Duration = Duration::from_secs(10);

/// How often a terminal shows what is waited for.
const SHOWN_AGAIN: Duration = Duration::from_millis(200);

/// What is waited for at the moment, in words that follow the name of the whole: "the component is
/// uploaded".
pub(crate) struct Step(Mutex<String>);

impl Step {
    /// Begins with what is waited for first.
    pub(crate) fn new(step: &str) -> Self {
        Self(Mutex::new(step.to_owned()))
    }

    /// Something else is waited for from now on.
    pub(crate) fn set(&self, step: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = step.into();
    }

    fn of(&self, what: &str) -> String {
        format!("{what}: {}", self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Shows on a terminal that something is under way; quiet elsewhere, and gone when dropped.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins to show `message`.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_message(escaped(&message.into()));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }
}

/// Waits for `work`, and shows what it waits for: on a terminal at every moment, elsewhere by a
/// line on standard error every 10 s.
pub(crate) async fn awaited<T>(what: &str, step: &Step, work: impl Future<Output = T>) -> T {
    let progress = Progress::start(step.of(what));
    let Some(bar) = &progress.0 else {
        return reported(what, step, work, STILL_WAITING, aside).await;
    };
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(SHOWN_AGAIN) => bar.set_message(escaped(&step.of(what))),
        }
    }
}

/// Waits for `work`, and tells now and then what it waits for.
async fn reported<T>(
    what: &str,
    step: &Step,
    work: impl Future<Output = T>,
    every: Duration,
    tell: impl Fn(&str),
) -> T {
    let (begun, mut work) = (Instant::now(), std::pin::pin!(work));
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(every) => {
                tell(&format!("{} ({} s)", step.of(what), begun.elapsed().as_secs()));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(millis(0.1234), "0.12 ms");
        assert_eq!((count(None), bytes(None), millis(None)), ("-".into(), "-".into(), "-".into()));
        assert_eq!(short_digest(Some("sha256:0123456789abcdef".into())), "0123456789ab");
    }

    #[tokio::test]
    async fn what_is_waited_for_is_told() {
        let step = Step::new("the component is looked for");
        let (teller, mut lines) = tokio::sync::mpsc::unbounded_channel();
        let work = async {
            let mut await_line = async |beginning: &str| {
                while !lines.recv().await.is_some_and(|line: String| line.starts_with(beginning)) {}
            };
            await_line("deploying x: the component is looked for (0 s)").await;
            step.set("it is checked and compiled");
            await_line("deploying x: it is checked and compiled (").await;
            7
        };
        let tell = |line: &str| teller.send(line.to_owned()).unwrap();
        assert_eq!(reported("deploying x", &step, work, Duration::from_millis(1), tell).await, 7);
    }

    #[test]
    fn terminals_obey_nothing_of_a_text() {
        assert_eq!(
            escaped("a\u{1b}[2J\r\u{7}\u{9b}31m\u{7f}"),
            r"a\u001b[2J\r\u0007\u009b31m\u007f"
        );
        assert_eq!(
            escaped("\u{202e}x\u{2066}\u{200f}\u{61c}\u{2028}"),
            r"\u202ex\u2066\u200f\u061c\u2028"
        );
        let harmless = "Grüße, שלום 👩‍👩‍👧, \ttab\nline \\ ✓";
        assert_eq!(escaped(harmless), harmless);
        assert_eq!(inline("a\nb\tc"), r"a\nb\tc");
        assert_eq!(indented("a\nb\n", 4), "a\n    b");
        for c in ('\0'..=char::MAX).filter(|c| c.is_control() && !"\n\t".contains(*c)) {
            assert!(!escaped(&c.to_string()).contains(c), "{c:?}");
        }
    }

    #[test]
    fn json_on_a_terminal_has_the_same_values() {
        let document =
            serde_json::json!({"\u{202e}": ["\u{85}\u{7f}\u{9b}2J", "\t\r\n\u{2028}ä😀", 1.5]});
        let [piped, shown] =
            [false, true].map(|is_for_terminal| json_text(&document, is_for_terminal));
        assert_eq!(piped, pretty(&document.to_string()));
        assert!(
            piped.contains("\u{9b}")
                && !shown.contains(|c: char| is_format(c) || (c.is_control() && c != '\n'))
        );
        for text in [piped, shown] {
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), document);
        }
    }
}
