//! How an entry looks: a line of text for people, an object for programs. Pure: bytes out, no terminal asked.

mod json;
mod screen;

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Entry, Mark, Stream, What};
use crate::manifest::Name;
use crate::supervisor::{Reason, StopWhy};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `name | line`
    Text,
    /// One object a line: `time, service, run, stream, line`; a mark has `mark` and its own fields instead.
    Json,
}

/// What a person asked for and what the screen can do.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub format: Format,
    /// `name | ` before each line; without it a service's bytes come as they are.
    pub prefix: bool,
    /// Local time with milliseconds before each line.
    pub times: bool,
    pub color: bool,
    /// A terminal: what several services write to it may not move its cursor.
    pub terminal: bool,
}

/// Readable on light and dark; picked by a hash of the name, so that a service keeps its colour.
const PALETTE: [&str; 10] = ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"];

pub struct Printer {
    style: Style,
    width: usize,
    /// Of several services; one that comes later makes it so too.
    shared: bool,
    only: Option<Name>,
    zone: TimeZone,
    /// A piece without its line end was the last thing printed.
    open: Option<(Name, Stream)>,
}

impl Printer {
    /// `names`: all that will be shown, as far as they are known.
    pub fn new(style: Style, names: &[Name]) -> Self {
        Self::in_zone(style, names, TimeZone::system())
    }

    fn in_zone(style: Style, names: &[Name], zone: TimeZone) -> Self {
        let width = names.iter().map(|name| name.as_str().len()).max().unwrap_or(0);
        Self { style, width, shared: names.len() > 1, only: names.first().cloned(), zone, open: None }
    }

    /// One that nobody knew of at the beginning may come while others are followed.
    fn meet(&mut self, name: &Name) {
        self.width = self.width.max(name.as_str().len());
        if !self.shared && self.only.as_ref() != Some(name) {
            self.shared = self.only.is_some();
            self.only.get_or_insert_with(|| name.clone());
        }
    }

    /// Adds one entry with its line end. Nothing for [`Mark::Ended`] as text: `exited` was said already.
    pub fn line(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        match (&entry.what, self.style.format) {
            (_, Format::Json) => json::line(entry, out),
            (What::Line { stream, bytes, whole }, Format::Text) => self.text(entry, *stream, bytes, *whole, out),
            (What::Mark(mark), Format::Text) => {
                if let Some(words) = words(entry, mark) {
                    self.close(out);
                    self.head(entry, out);
                    self.painted(&format!("── {words} ──"), "2", out);
                    out.push(b'\n');
                }
            }
        }
    }

    fn text(&mut self, entry: &Entry, stream: Stream, bytes: &[u8], whole: bool, out: &mut Vec<u8>) {
        self.meet(&entry.service);
        let goes_on = self.open.as_ref().is_some_and(|(name, open)| *name == entry.service && *open == stream);
        if !goes_on {
            self.close(out);
            self.head(entry, out);
            if self.style.prefix {
                let name = format!("{:width$} |", entry.service, width = self.width);
                self.painted(&name, color(&entry.service), out);
                out.push(b' ');
            }
        }
        if self.style.terminal && self.shared {
            screen::tame(bytes, out);
        } else {
            out.extend_from_slice(bytes);
        }
        self.open = None;
        if whole || self.style.prefix {
            out.push(b'\n');
        } else {
            self.open = Some((entry.service.clone(), stream));
        }
    }

    /// Ends a line that a piece left open, for somebody else.
    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            out.push(b'\n');
        }
    }

    fn head(&self, entry: &Entry, out: &mut Vec<u8>) {
        if self.style.times {
            let time = time(entry).to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f ").to_string();
            self.painted(&time, "2", out);
        }
    }

    fn painted(&self, text: &str, color: &str, out: &mut Vec<u8>) {
        if self.style.color {
            // Writing to memory does not fail.
            drop(write!(out, "\x1b[{color}m{text}\x1b[0m"));
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Reads a line of [`Format::Json`] again; `None`: it is none.
pub fn entry(line: &str) -> Option<Entry> {
    json::entry(line)
}

fn time(entry: &Entry) -> Timestamp {
    Timestamp::from_nanosecond(entry.time_ns.into()).unwrap_or_default()
}

fn color(name: &Name) -> &'static str {
    let hash = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = name.as_str().as_bytes().iter().fold(0x811c_9dc5, hash);
    PALETTE[hash as usize % PALETTE.len()]
}

/// A mark as a sentence.
fn words(entry: &Entry, mark: &Mark) -> Option<String> {
    let (service, run) = (&entry.service, entry.run);
    Some(match mark {
        Mark::Started { why, .. } if why.is_empty() => format!("{service} started · run {run}"),
        Mark::Started { why, .. } => format!("{service} restarted ({}) · run {run}", reasons(why)),
        Mark::Exited { exit } => format!("{service} exited ({exit})"),
        Mark::Stopping { why: StopWhy::Asked } => format!("{service} stopping"),
        Mark::Stopping { why: StopWhy::Replaced(why) } => format!("{service} stopping ({})", reasons(why)),
        Mark::Stopping { why: StopWhy::Leftover } => format!("{service} stopping what it left behind"),
        Mark::Ended => return None,
        Mark::Dropped { bytes, what } => format!("{service}: {bytes} {} of log lost: {what}", plural(*bytes)),
        Mark::Recovered { bytes } => {
            format!("{service}: {bytes} {} recovered, written as its keeper was killed", plural(*bytes))
        }
        Mark::KeeperKilled => format!("{service} ended: its keeper was killed · run {run}"),
    })
}

fn plural(bytes: u64) -> &'static str {
    if bytes == 1 { "byte" } else { "bytes" }
}

fn reasons(why: &[Reason]) -> String {
    why.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Exit;

    const PLAIN: Style = Style { format: Format::Text, prefix: true, times: false, color: false, terminal: false };

    fn line(bytes: &[u8]) -> What {
        What::Line { stream: Stream::Stdout, bytes: bytes.to_vec(), whole: true }
    }

    fn piece(stream: Stream, bytes: &[u8]) -> What {
        What::Line { stream, bytes: bytes.to_vec(), whole: false }
    }

    fn shown(style: Style, names: &[&str], whats: Vec<(&str, What)>) -> String {
        let names: Vec<Name> = names.iter().map(|name| Name::new(name)).collect();
        let mut printer = Printer::in_zone(style, &names, TimeZone::UTC);
        let mut out = Vec::new();
        for (service, what) in whats {
            let entry = Entry { service: service.into(), run: 3, time_ns: 1_700_000_000_123_456_789, what };
            printer.line(&entry, &mut out);
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn names_are_padded_and_times_are_local() {
        let out = shown(PLAIN, &["api", "b"], vec![("b", line(b"hi")), ("api", line(b"ho"))]);
        assert_eq!(out, "b   | hi\napi | ho\n");
        let out = shown(Style { times: true, ..PLAIN }, &["b"], vec![("b", line(b"hi"))]);
        assert_eq!(out, "2023-11-14 22:13:20.123 b | hi\n");
    }

    #[test]
    fn marks_are_sentences() {
        let marks = [
            Mark::Started { pid: 1, why: Vec::new() },
            Mark::Started { pid: 1, why: vec![Reason::Credentials] },
            Mark::Started { pid: 1, why: vec![Reason::Restart { by: "alice".into() }, Reason::ManifestChanged] },
            Mark::Stopping { why: StopWhy::Asked },
            Mark::Stopping { why: StopWhy::Replaced(vec![Reason::Credentials]) },
            Mark::Exited { exit: Exit::Code(1) },
            Mark::Ended,
            Mark::Dropped { bytes: 4096, what: "disk full".into() },
            Mark::Recovered { bytes: 1 },
            Mark::KeeperKilled,
        ];
        let out = shown(PLAIN, &["b"], marks.into_iter().map(|mark| ("b", What::Mark(mark))).collect());
        let expected = [
            "── b started · run 3 ──",
            "── b restarted (credentials) · run 3 ──",
            "── b restarted (restart (alice), manifest changed) · run 3 ──",
            "── b stopping ──",
            "── b stopping (credentials) ──",
            "── b exited (exit 1) ──",
            "── b: 4096 bytes of log lost: disk full ──",
            "── b: 1 byte recovered, written as its keeper was killed ──",
            "── b ended: its keeper was killed · run 3 ──",
            "",
        ];
        assert_eq!(out, expected.join("\n"));
    }

    #[test]
    fn without_prefix_pieces_join_and_another_stream_begins_a_line() {
        let style = Style { prefix: false, ..PLAIN };
        let whats = vec![
            ("b", piece(Stream::Stdout, b"50%.")),
            ("b", piece(Stream::Stdout, b".")),
            ("b", line(b"done")),
            ("b", piece(Stream::Stdout, b"> ")),
            ("b", piece(Stream::Stderr, b"oops")),
            ("b", What::Mark(Mark::Exited { exit: Exit::Signal(9) })),
        ];
        assert_eq!(shown(style, &["b"], whats), "50%..done\n> \noops\n── b exited (signal 9) ──\n");
    }

    #[test]
    fn a_name_keeps_its_colour() {
        let style = Style { color: true, ..PLAIN };
        let alone = shown(style, &["api"], vec![("api", line(b"x"))]);
        let among = shown(style, &["api", "b"], vec![("api", line(b"x"))]);
        assert_eq!(alone, among);
        assert!(alone.starts_with("\x1b[") && alone.ends_with("\x1b[0m x\n"), "{alone:?}");
    }

    #[test]
    fn only_a_shared_terminal_is_guarded() {
        let bytes = b"\x1b[2Jhi";
        let shared = Style { terminal: true, ..PLAIN };
        assert_eq!(shown(shared, &["a", "b"], vec![("a", line(bytes))]), "a | hi\n");
        assert_eq!(shown(shared, &["a"], vec![("a", line(bytes))]), "a | \x1b[2Jhi\n");
        assert_eq!(shown(PLAIN, &["a", "b"], vec![("a", line(bytes))]), "a | \x1b[2Jhi\n");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let style = Style { format: Format::Json, ..PLAIN };
        let whats = vec![
            ("b", line(b"say \"hi\"\t\xe2\x82\xac")),
            ("b", piece(Stream::Stderr, b"bad \xff\xfe.")),
            ("b", What::Mark(Mark::Exited { exit: Exit::Code(2) })),
        ];
        let time = r#"{"time":"2023-11-14T22:13:20.123456789Z","service":"b","run":3"#;
        let expected = [
            format!(r#"{time},"stream":"stdout","line":"say \"hi\"\t€"}}"#),
            format!(r#"{time},"stream":"stderr","line":"bad \\xff\\xfe.","partial":true,"lossy":true}}"#),
            format!(r#"{time},"mark":"exited","exit":{{"code":2}}}}"#),
            String::new(),
        ];
        assert_eq!(shown(style, &["b"], whats), expected.join("\n"));
    }

    #[test]
    fn what_is_said_as_json_is_read_again() {
        let marks = [
            Mark::Started { pid: 7, why: vec![Reason::ManifestChanged] },
            Mark::Dropped { bytes: 4096, what: "disk full".into() },
            Mark::Ended,
        ];
        let whats =
            marks.into_iter().map(What::Mark).chain([line("a \"b\" €".as_bytes()), piece(Stream::Stderr, b"50%")]);
        for what in whats {
            let before = Entry { service: "b".into(), run: 3, time_ns: 1_700_000_000_123_456_789, what };
            let mut text = Vec::new();
            Printer::new(Style { format: Format::Json, ..PLAIN }, &[]).line(&before, &mut text);
            let text = String::from_utf8(text).expect("text");
            assert_eq!(entry(text.trim_end()), Some(before), "{text}");
        }
        assert_eq!(entry("{}"), None);
    }
}
