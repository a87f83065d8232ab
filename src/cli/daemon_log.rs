//! `logs --daemon`: devsup's own log, which is plain text; followed over new daemons and the files they begin.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::values::Tail;
use crate::sys::inotify::Inotify;

/// How often it is looked at when the kernel has no inotify instance or watch left.
const POLL: Duration = Duration::from_millis(250);

/// Its last lines, or all of it; then, if it is followed, what comes.
pub(crate) fn print(context: &Context, path: &Path, tail: Option<Tail>, follow: bool) -> Result<(), Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(Kind::Failed, format!("devsup's own log `{}` cannot be read", path.display())).cause(error)
    };
    // Watched before it is read: what comes in between wakes us.
    let watched = follow.then(|| watch(context, path)).flatten();
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    show(last(&bytes, tail))?;
    if !follow {
        return Ok(());
    }
    loop {
        match &watched {
            Some(inotify) => inotify.wait(None).and_then(|()| inotify.changes().map(drop)).map_err(unreadable)?,
            None => std::thread::sleep(POLL),
        }
        // A new daemon may have begun a new file; what the old one got to the last is shown first.
        let next = File::open(path).ok();
        bytes.clear();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        if let Some(mut next) = next.filter(|next| !same(&file, next)) {
            next.read_to_end(&mut bytes).map_err(unreadable)?;
            file = next;
        }
        show(&bytes)?;
    }
}

/// `None`: it has to be looked at again and again, which is said.
fn watch(context: &Context, path: &Path) -> Option<Inotify> {
    let folder = path.parent()?;
    let watched = Inotify::new().and_then(|inotify| inotify.watch(folder).map(|_| inotify));
    watched
        .inspect_err(|error| {
            let every = POLL.as_millis();
            context.terminal.say(format_args!(
                "no inotify watch to be had ({error}): new lines are looked for every {every} ms; raise `fs.inotify.max_user_instances` or `max_user_watches`"
            ));
        })
        .ok()
}

fn same(one: &File, other: &File) -> bool {
    let named = |file: &File| file.metadata().map(|seen| (seen.dev(), seen.ino())).ok();
    named(one) == named(other)
}

fn show(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// The last lines of a text, or all of it.
fn last(bytes: &[u8], tail: Option<Tail>) -> &[u8] {
    let Some(Tail::Lines(lines)) = tail else { return bytes };
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if lines == 0 {
        return &[];
    }
    let start = memchr::memrchr_iter(b'\n', body).nth(lines - 1).map_or(0, |at| at + 1);
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_text_is_whole_lines() {
        let text = b"one\ntwo\nthree\n";
        assert_eq!(last(text, Some(Tail::Lines(2))), b"two\nthree\n");
        assert_eq!(last(text, Some(Tail::Lines(9))), text);
        assert_eq!(last(text, Some(Tail::Lines(0))), b"");
        assert_eq!(last(text, Some(Tail::All)), text);
        assert_eq!(last(b"a\nb", Some(Tail::Lines(1))), b"b");
    }
}
