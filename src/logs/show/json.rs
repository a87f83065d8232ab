//! An entry as one JSON object a line: a promise to programs.

use std::fmt::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::{Entry, Mark, Stream, What};
use super::time;
use crate::manifest::Name;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    service: &'a str,
    run: u32,
    #[serde(flatten)]
    what: Kind<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Kind<'a> {
    Line {
        stream: Stream,
        line: String,
        /// A piece of a line that was written without its end.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
        /// Bytes that are no UTF-8 stand as `\xNN`.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        lossy: bool,
    },
    Mark(&'a Mark),
}

pub(super) fn line(entry: &Entry, out: &mut Vec<u8>) {
    let what = match &entry.what {
        What::Line { stream, bytes, whole } => {
            let (line, lossy) = escaped(bytes);
            Kind::Line { stream: *stream, line, partial: !whole, lossy }
        }
        What::Mark(mark) => Kind::Mark(mark),
    };
    let line = Line { time: time(entry).to_string(), service: entry.service.as_str(), run: entry.run, what };
    if serde_json::to_writer(&mut *out, &line).is_ok() {
        out.push(b'\n');
    }
}

/// Reads such a line again. What was no UTF-8 stays as it was written here.
pub(super) fn entry(line: &str) -> Option<Entry> {
    #[derive(Deserialize)]
    struct Read {
        time: Timestamp,
        service: String,
        run: u32,
        stream: Option<Stream>,
        line: Option<String>,
        #[serde(default)]
        partial: bool,
    }
    let read: Read = serde_json::from_str(line).ok()?;
    let what = match (read.stream, read.line) {
        (Some(stream), Some(text)) => What::Line { stream, bytes: text.into_bytes(), whole: !read.partial },
        _ => What::Mark(serde_json::from_str(line).ok()?),
    };
    let time_ns = i64::try_from(read.time.as_nanosecond()).ok()?;
    Some(Entry { service: Name::new(&read.service), run: read.run, time_ns, what })
}

fn escaped(bytes: &[u8]) -> (String, bool) {
    let mut text = String::with_capacity(bytes.len());
    let mut lossy = false;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            lossy = true;
            // Writing to memory does not fail.
            write!(text, "\\x{byte:02x}").ok();
        }
    }
    (text, lossy)
}
