//! Looks through a service's output for the line that says it is ready. Given up once it was seen: no cost after.

use std::time::Duration;

use memchr::memchr;
use memchr::memmem::Finder;
use regex_lite::Regex;

use crate::logs::Stream;

/// More of one line is not looked at.
const LONGEST: usize = 8 << 10;
/// A line without an end is looked at when it is this old: as long as the log waits for its end.
const PATIENCE: Duration = Duration::from_secs(2);

enum Pattern {
    /// It has no special letter: many times faster to look for.
    Words(Box<Finder<'static>>),
    Expression(Regex),
}

#[derive(Default)]
struct Line {
    /// The beginning of an unfinished line.
    begun: Vec<u8>,
    since: Option<Duration>,
}

pub(super) struct LineWatch {
    pattern: Pattern,
    stdout: Line,
    stderr: Line,
}

impl LineWatch {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let pattern = if regex_lite::escape(pattern) == pattern {
            Pattern::Words(Box::new(Finder::new(pattern).into_owned()))
        } else {
            let expression = Regex::new(pattern);
            Pattern::Expression(expression.map_err(|e| format!("`ready.log` is no regular expression: {e}"))?)
        };
        Ok(Self { pattern, stdout: Line::default(), stderr: Line::default() })
    }

    /// Is one of these lines the one?
    pub(super) fn feed(&mut self, stream: Stream, bytes: &[u8], now: Duration) -> bool {
        let Self { pattern, stdout, stderr } = self;
        let line = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let (piece, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if line.take(piece, |whole| pattern.is_in(whole)) {
                return true;
            }
        }
        line.begin(rest, now);
        false
    }

    pub(super) fn due(&self) -> Option<Duration> {
        [&self.stdout, &self.stderr].into_iter().filter_map(|line| line.since).min().map(|since| since + PATIENCE)
    }

    /// Is one of the lines that wait for their end the one?
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        let Self { pattern, stdout, stderr } = self;
        [stdout, stderr].into_iter().any(|line| {
            let old = line.since.is_some_and(|since| since + PATIENCE <= now);
            if old {
                line.since = None;
            }
            old && pattern.is_in(&line.begun)
        })
    }

    /// The stream is over, and with it its last line.
    pub(super) fn end(&mut self, stream: Stream, now: Duration) -> bool {
        self.feed(stream, b"\n", now)
    }
}

impl Line {
    /// The line that ends here.
    fn take(&mut self, piece: &[u8], so: impl Fn(&[u8]) -> bool) -> bool {
        self.since = None;
        if self.begun.is_empty() {
            return so(piece.get(..LONGEST).unwrap_or(piece));
        }
        self.append(piece);
        so(&std::mem::take(&mut self.begun))
    }

    fn begin(&mut self, bytes: &[u8], now: Duration) {
        if !bytes.is_empty() {
            self.append(bytes);
            self.since.get_or_insert(now);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.begun.len());
        self.begun.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

impl Pattern {
    fn is_in(&self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self {
            Self::Words(finder) => finder.find(line).is_some(),
            Self::Expression(expression) => expression.is_match(&String::from_utf8_lossy(line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn watch(pattern: &str) -> LineWatch {
        LineWatch::new(pattern).unwrap()
    }

    #[test]
    fn a_line_counts_however_it_comes() {
        let mut lines = watch("^listening on [0-9]+$");
        assert!(!lines.feed(Stream::Stdout, b"not listening on 1\nlisten", NOW));
        assert!(!lines.feed(Stream::Stderr, b"ing on 2\n", NOW), "the streams are not mixed");
        assert!(!lines.feed(Stream::Stdout, b"ing on 80", NOW));
        assert!(lines.feed(Stream::Stdout, b"80\r\nmore", NOW));
        assert!(watch("on 8.80").feed(Stream::Stderr, b"a\n\nlistening on 8080\n", NOW));
        assert!(watch("a.b").feed(Stream::Stdout, b"\xff a.b \n", NOW));
        assert!(watch("ready").feed(Stream::Stdout, b"it is ready!\n", NOW));
    }

    #[test]
    fn a_line_without_an_end_counts_when_it_is_old_or_its_stream_ends() {
        let mut lines = watch("ready>");
        assert!(!lines.feed(Stream::Stdout, b"ready>", NOW));
        assert_eq!(lines.due(), Some(NOW + PATIENCE));
        assert!(!lines.tick(NOW));
        assert!(lines.tick(NOW + PATIENCE));
        assert_eq!(lines.due(), None, "it is not looked at again before more of it comes");
        assert!(lines.end(Stream::Stdout, NOW));
        assert!(!lines.end(Stream::Stderr, NOW));
    }

    #[test]
    fn a_line_as_long_as_a_disk_takes_no_memory() {
        let mut lines = watch("end$");
        for _ in 0..1000 {
            assert!(!lines.feed(Stream::Stdout, &[b'x'; 4096], NOW));
        }
        assert!(lines.stdout.begun.capacity() <= 2 * LONGEST);
        assert!(!lines.feed(Stream::Stdout, b"end\n", NOW), "what is beyond is not looked at");
        assert!(lines.feed(Stream::Stdout, b"end\n", NOW), "the next line is");
    }

    #[test]
    fn what_is_no_expression_is_said() {
        let error = LineWatch::new("(").err().unwrap();
        assert!(error.starts_with("`ready.log` is no regular expression"), "{error}");
    }
}
