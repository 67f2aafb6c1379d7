//! The log of one attempt: lines that the guest writes, within a budget.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_domain::{LogLevel, LogLine, LogSource, Timestamp};

/// What a line costs besides its text, so that empty lines come to an end as well.
pub(crate) const LINE_COST: usize = 32;

/// What a log of short lines takes in memory, in times of what it counts.
pub(crate) const LOG_FACTOR: u64 = 8;

/// The longest piece of standard output that becomes one line.
pub(crate) const LONGEST_LINE: usize = 8 << 10;

/// A log that the guest's streams and its calls of `log` share. It outlives an attempt where the
/// instance does, and is emptied between two.
#[derive(Clone, Default)]
pub(crate) struct SharedLog(Arc<Mutex<Log>>);

/// The lines of one attempt.
#[derive(Default)]
pub(crate) struct Log {
    lines: Vec<LogLine>,
    /// How many bytes are left; `None` once a line was dropped: later, shorter ones would make a
    /// log with holes.
    left: Option<usize>,
    dropped: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl SharedLog {
    // Never held across an await or a call into a guest. After a panic the log is still a log.
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew, for an attempt that may log `budget` bytes.
    pub(crate) fn begin(&self, budget: usize) {
        *self.lock() = Log { left: Some(budget), ..Log::default() };
    }

    /// Adds a line of the guest's call of `log`. `fields` is called only if there is room.
    pub(crate) fn line(
        &self,
        level: LogLevel,
        message: String,
        fields: impl FnOnce() -> Option<String>,
    ) {
        let mut log = self.lock();
        if log.left.is_some_and(|left| left >= message.len() + LINE_COST) {
            log.push(level, LogSource::Log, message, fields());
        } else {
            log.drop_line();
        }
    }

    /// Adds a line of the host's own, about the guest.
    pub(crate) fn note(&self, level: LogLevel, message: String) {
        self.lock().push(level, LogSource::Host, message, None);
    }

    /// Adds bytes of standard output or standard error; each whole line becomes a log line.
    pub(crate) fn bytes(&self, source: LogSource, bytes: &[u8]) {
        self.lock().append(source, bytes);
    }

    /// Ends the attempt: the lines, and how many were dropped.
    pub(crate) fn finish(&self) -> (Vec<LogLine>, u64) {
        let mut log = self.lock();
        for source in [LogSource::Stdout, LogSource::Stderr] {
            log.flush(source);
        }
        let log = std::mem::take(&mut *log);
        (log.lines, log.dropped)
    }
}

impl Log {
    fn push(
        &mut self,
        level: LogLevel,
        source: LogSource,
        message: String,
        fields: Option<String>,
    ) {
        let cost = message.len() + fields.as_ref().map_or(0, String::len) + LINE_COST;
        match self.left.and_then(|left| left.checked_sub(cost)) {
            Some(left) => {
                self.left = Some(left);
                let seq = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
                self.lines.push(LogLine {
                    seq,
                    at: Timestamp::now(),
                    level,
                    source,
                    message,
                    fields,
                });
            }
            None => self.drop_line(),
        }
    }

    fn drop_line(&mut self) {
        self.left = None;
        self.dropped += 1;
    }

    fn append(&mut self, source: LogSource, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let partial = self.partial(source);
            let remaining = LONGEST_LINE - partial.len().min(LONGEST_LINE);
            let (piece, after, ends) =
                match rest.iter().take(remaining + 1).position(|&byte| byte == b'\n') {
                    Some(end) => (&rest[..end], &rest[end + 1..], true),
                    None if rest.len() > remaining => {
                        (&rest[..remaining], &rest[remaining..], true)
                    }
                    None => (rest, &rest[..0], false),
                };
            partial.extend_from_slice(piece);
            let is_cut = ends && after.len() + piece.len() == rest.len();
            rest = after;
            if ends {
                // A character that the cut goes through begins the next piece.
                let begun = if is_cut {
                    partial.split_off(partial.len() - unfinished(partial))
                } else {
                    Vec::new()
                };
                self.end_line(source);
                *self.partial(source) = begun;
            }
        }
    }

    /// What is written of a line that has not ended yet.
    fn partial(&mut self, source: LogSource) -> &mut Vec<u8> {
        if source == LogSource::Stderr { &mut self.stderr } else { &mut self.stdout }
    }

    fn flush(&mut self, source: LogSource) {
        if !self.partial(source).is_empty() {
            self.end_line(source);
        }
    }

    fn end_line(&mut self, source: LogSource) {
        let partial = self.partial(source);
        let message =
            String::from_utf8_lossy(partial.strip_suffix(b"\r").unwrap_or(partial)).into_owned();
        partial.clear();
        let level = if source == LogSource::Stderr { LogLevel::Warn } else { LogLevel::Info };
        self.push(level, source, message, None);
    }
}

/// How many bytes at the end begin a character of UTF-8 that is not whole.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let is_begun = !last.is_empty()
        && std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    if is_begun { last.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(log: &SharedLog) -> (Vec<String>, u64) {
        let (lines, dropped) = log.finish();
        assert!(lines.iter().enumerate().all(|(i, line)| line.seq as usize == i));
        (lines.into_iter().map(|line| line.message).collect(), dropped)
    }

    #[test]
    fn output_becomes_lines() {
        let log = SharedLog::default();
        log.begin(10_000);
        log.bytes(LogSource::Stdout, b"one\ntw");
        log.bytes(LogSource::Stderr, b"oh no\n");
        log.bytes(LogSource::Stdout, b"o\r\n\nlast \xff");
        let (lines, dropped) = log.finish();
        let seen: Vec<_> =
            lines.iter().map(|line| (line.source, line.level, line.message.as_str())).collect();
        assert_eq!(
            seen,
            [
                (LogSource::Stdout, LogLevel::Info, "one"),
                (LogSource::Stderr, LogLevel::Warn, "oh no"),
                (LogSource::Stdout, LogLevel::Info, "two"),
                (LogSource::Stdout, LogLevel::Info, ""),
                (LogSource::Stdout, LogLevel::Info, "last \u{fffd}"),
            ]
        );
        assert_eq!(dropped, 0);
    }

    #[test]
    fn an_endless_line_is_cut_in_pieces() {
        let log = SharedLog::default();
        log.begin(1 << 20);
        log.bytes(LogSource::Stdout, &[b'x'; 2 * LONGEST_LINE + 5]);
        log.bytes(LogSource::Stdout, b"y\n");
        let (lines, _) = texts(&log);
        assert_eq!(
            lines.iter().map(String::len).collect::<Vec<_>>(),
            [LONGEST_LINE, LONGEST_LINE, 6]
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        for character in ["é", "€", "😀"] {
            for shift in 0..4 {
                let text = format!(
                    "{}{}",
                    "x".repeat(shift),
                    character.repeat(2 * LONGEST_LINE / character.len())
                );
                // Written at once, and byte by byte.
                for size in [text.len(), 1] {
                    let log = SharedLog::default();
                    log.begin(1 << 20);
                    text.as_bytes()
                        .chunks(size)
                        .for_each(|chunk| log.bytes(LogSource::Stdout, chunk));
                    let (lines, _) = texts(&log);
                    assert!(lines.len() > 1 && lines.iter().all(|line| line.len() <= LONGEST_LINE));
                    assert_eq!(lines.concat(), text);
                }
            }
        }
        // What is no UTF-8 is no character.
        let log = SharedLog::default();
        log.begin(1 << 20);
        log.bytes(LogSource::Stdout, &[b'\xff'; LONGEST_LINE + 1]);
        assert_eq!(
            texts(&log).0.iter().map(|line| line.chars().count()).collect::<Vec<_>>(),
            [LONGEST_LINE, 1]
        );
    }

    #[test]
    fn a_line_that_just_fits_is_one_line() {
        let log = SharedLog::default();
        log.begin(1 << 20);
        log.bytes(LogSource::Stdout, &[&[b'x'; LONGEST_LINE][..], b"\nz\n"].concat());
        assert_eq!(texts(&log).0.iter().map(String::len).collect::<Vec<_>>(), [LONGEST_LINE, 1]);
    }

    #[test]
    fn past_the_budget_lines_are_counted_only() {
        let log = SharedLog::default();
        log.begin(100);
        log.line(LogLevel::Info, "x".repeat(40), || None);
        log.line(LogLevel::Info, "x".repeat(40), || None);
        // It would fit, but the log would have a hole.
        log.line(LogLevel::Info, String::new(), || None);
        log.bytes(LogSource::Stdout, &b"\n".repeat(10));
        let (lines, dropped) = texts(&log);
        assert_eq!((lines.len(), dropped), (1, 12));
    }

    #[test]
    fn fields_count() {
        let log = SharedLog::default();
        log.begin(100);
        log.line(LogLevel::Info, "x".into(), || Some("y".repeat(90)));
        assert_eq!(texts(&log), (vec![], 1));
    }

    #[test]
    fn a_log_takes_no_more_memory_than_is_said() {
        let budget = 256 << 10;
        for line in ["", "x", "twelve bytes"] {
            let log = SharedLog::default();
            log.begin(budget);
            while log.lock().left.is_some() {
                log.line(LogLevel::Info, line.into(), || Some("{}".into()));
            }
            let log = log.lock();
            // An allocation takes 16 bytes at least.
            let texts: usize =
                log.lines.iter().map(|line| line.message.capacity().max(16) + 16).sum();
            let taken = log.lines.capacity() * size_of::<LogLine>() + texts;
            assert!(taken as u64 <= LOG_FACTOR * budget as u64, "{line:?}: {taken}");
        }
    }

    #[test]
    fn empty_lines_come_to_an_end() {
        let log = SharedLog::default();
        log.begin(64 << 10);
        log.bytes(LogSource::Stdout, &b"\n".repeat(100_000));
        let (lines, dropped) = texts(&log);
        assert_eq!(lines.len(), (64 << 10) / LINE_COST);
        assert_eq!(lines.len() as u64 + dropped, 100_000);
    }
}
