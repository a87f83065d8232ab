//! What must hold of what a service says, whatever it says: the bodies of the fuzz targets, and of tests that run them a
//! little.

use std::time::Duration;

use super::notify::Notify;
use super::ready_line::LineWatch;
use crate::logs::{Secrets, Stream};
use crate::sys::process;

/// Datagrams, parted by `\xff\xfe`: the status stays short, plain and without secrets.
pub fn notify(input: &[u8]) {
    let mut notify = Notify::open(process::own_uid()).expect("a socket");
    let secrets = Secrets::new(vec![("[masked]".into(), "a-long-secret".into())]);
    let mut rest = input;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\xff\xfe").unwrap_or(rest.len());
        let datagram = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        let ready = notify.hear(datagram, &secrets);
        assert_eq!(ready, datagram.split(|byte| *byte == b'\n').any(|line| line == b"READY=1"));
        let status = notify.status();
        assert!(status.chars().count() <= 201 && !status.chars().any(char::is_control), "{status:?}");
        assert!(!status.contains("a-long-secret"), "{status:?}");
    }
}

/// Output that is cut anywhere: the line is seen in it if it is seen in the whole.
pub fn ready_line(input: &[u8]) {
    const NOW: Duration = Duration::from_secs(1);
    let (kind, sizes) = input.split_first().unwrap_or((&0, &[]));
    let pattern = ["ready", "^re+ady$", "a.*b", "(a|b)+\n?x"][usize::from(kind % 4)];
    let (whole, cut) = (LineWatch::new(pattern), LineWatch::new(pattern));
    let (mut whole, mut cut) = (whole.expect("an expression"), cut.expect("an expression"));
    let in_whole = whole.feed(Stream::Stdout, input, NOW) || whole.end(Stream::Stdout, NOW);
    let (mut rest, mut seen) = (input, false);
    for size in sizes.iter().map(|byte| usize::from(byte >> 3)) {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        seen = seen || cut.feed(Stream::Stdout, piece, NOW);
    }
    seen = seen || cut.feed(Stream::Stdout, rest, NOW) || cut.end(Stream::Stdout, NOW);
    assert_eq!(seen, in_whole, "{pattern} in {:?}", String::from_utf8_lossy(input));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Words that mean something among bytes that do not.
    fn said() -> impl Strategy<Value = Vec<u8>> {
        let scrap = prop_oneof![
            proptest::sample::select(vec![
                "READY=1",
                "STATUS=",
                "RELOADING=1",
                "STOPPING=1",
                "a-long-",
                "secret",
                "ready"
            ])
            .prop_map(|word| word.as_bytes().to_vec()),
            proptest::sample::select(vec![&b"\n"[..], b"\xff\xfe", b"\x1b[2J", b"\r", b"a", b"b"])
                .prop_map(<[u8]>::to_vec),
            proptest::collection::vec(any::<u8>(), 0..40),
        ];
        proptest::collection::vec(scrap, 0..30).prop_map(|scraps| scraps.concat())
    }

    proptest! {
        #[test]
        fn any_datagrams_leave_a_plain_status(input in said()) {
            super::notify(&input);
        }

        #[test]
        fn the_line_is_seen_however_the_output_is_cut(input in said()) {
            super::ready_line(&input);
        }
    }
}
