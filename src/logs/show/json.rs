//! An entry as one JSON object a line: a promise to programs.

use std::fmt::Write;

use serde::Serialize;

use super::super::{Entry, Mark, Stream, What};
use super::time;

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
