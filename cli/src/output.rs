//! What the client verbs print: tables and values for people, JSON for programs.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Prints a line on standard output. A reader that went away (`| head`) is no error.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints bytes as they are, and nothing after them.
pub(crate) fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a line on standard error: what a program that reads the results need not see.
pub(crate) fn aside(text: &str) {
    // Nobody may be reading; then nobody misses it.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a JSON document.
pub(crate) fn json(document: &Value) {
    line(serde_json::to_string_pretty(document).unwrap_or_default());
}

/// Prints rows under a heading, each column as wide as its widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(heading[column].chars().count())
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    print(&mut heading.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}

/// A value as a table's cell: text bare, null as a dash, the rest as JSON.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => single_line(text),
        other => other.to_string(),
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
pub(crate) fn short_digest(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".into(), |text| text.trim_start_matches("sha256:").chars().take(12).collect())
}

/// A number of bytes for people.
pub(crate) fn bytes(value: &Value) -> String {
    let Some(bytes) = value.as_u64() else { return "-".into() };
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A number of milliseconds for people.
pub(crate) fn millis(value: &Value) -> String {
    value.as_f64().map_or_else(
        || "-".into(),
        |ms| if ms < 10_000.0 { format!("{ms:.2} ms") } else { format!("{:.1} s", ms / 1000.0) },
    )
}

/// A count with separators.
pub(crate) fn count(value: &Value) -> String {
    let Some(count) = value.as_u64() else { return "-".into() };
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

/// Shows on a terminal that something is under way; quiet elsewhere, and gone when dropped.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins to show `message`.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_message(message.into());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }
}

/// Waits for `work`, and shows that it goes on: on a terminal at every moment, elsewhere by a line on standard error every 10 s.
pub(crate) async fn awaited<T>(what: &str, work: impl Future<Output = T>) -> T {
    let _progress = Progress::start(what);
    let (begun, mut work) = (Instant::now(), std::pin::pin!(work));
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(STILL_WAITING) => {
                if !std::io::stderr().is_terminal() {
                    aside(&format!("{what}: the server is still checking and compiling it ({} s)", begun.elapsed().as_secs()));
                }
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
    use serde_json::json;

    #[test]
    fn units() {
        assert_eq!(count(&json!(1_234_567)), "1,234,567");
        assert_eq!(count(&json!(123)), "123");
        assert_eq!(bytes(&json!(1536)), "1.5 KiB");
        assert_eq!(millis(&json!(0.1234)), "0.12 ms");
        assert_eq!(short_digest(&json!("sha256:0123456789abcdef")), "0123456789ab");
    }
}
