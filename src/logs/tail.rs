//! Where the last so many lines of a service begin, across its files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::folder::Part;

const CHUNK: u64 = 64 * 1024;

/// The file and the byte in it from which `lines` (at least 1) lines are left; `None`: there is no file.
pub(super) fn start(folder: &Path, logs: &[Part], lines: usize) -> io::Result<Option<(Part, u64)>> {
    let mut wanted = lines;
    for part in logs.iter().rev() {
        let file = match File::open(part.log_in(folder)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match search(&file, wanted)? {
            Found::At(offset) => return Ok(Some((*part, offset))),
            Found::Lines(fewer) => wanted -= fewer,
        }
    }
    Ok(logs.first().map(|part| (*part, 0)))
}

enum Found {
    At(u64),
    /// The file has only so many.
    Lines(usize),
}

fn search(file: &File, wanted: usize) -> io::Result<Found> {
    let mut end = file.metadata()?.len();
    let mut buffer = Vec::new();
    let mut lines = 0;
    let mut last = true;
    while end > 0 {
        let from = end.saturating_sub(CHUNK);
        buffer.resize(usize::try_from(end - from).unwrap_or(0), 0);
        file.read_exact_at(&mut buffer, from)?;
        if last {
            // The last line is there whether it has its end or not.
            last = false;
            lines = 1;
            if buffer.last() == Some(&b'\n') {
                buffer.pop();
            }
        }
        for at in memchr::memrchr_iter(b'\n', &buffer) {
            if lines == wanted {
                return Ok(Found::At(from + at as u64 + 1));
            }
            lines += 1;
        }
        end = from;
    }
    Ok(if lines == wanted { Found::At(0) } else { Found::Lines(lines) })
}
