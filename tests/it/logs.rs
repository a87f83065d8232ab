//! The log store as its users see it: the keeper writes, `devsup logs -f` shows, the daemon bounds.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use devsup::logs::show::{Format, Printer, Style};
use devsup::logs::{Bounds, Capture, Filter, Mark, Query, Reader, Stream, last_run, retain};
use devsup::manifest::Name;
use devsup::supervisor::{Exit, Reason, StopWhy};

const DEADLINE: Duration = Duration::from_secs(20);
const PLAIN: Style = Style { format: Format::Text, prefix: true, times: false, color: false, terminal: false };

fn capture(logs: &Path, service: &str, redact: Vec<(String, String)>) -> Capture {
    let folder = logs.join(service);
    std::fs::create_dir_all(&folder).expect("made");
    let run = last_run(&folder) + 1;
    Capture::create(File::open(folder).expect("opened").into(), run, 1 << 20, redact).expect("created")
}

fn names(services: &[&str]) -> Vec<Name> {
    services.iter().map(|name| Name::new(name)).collect()
}

fn reader(logs: &Path, services: &[&str], follow: bool) -> Reader {
    let filter = Filter::default();
    let query = Query { logs: logs.to_owned(), services: names(services), tail: None, follow, all: false, filter };
    Reader::open(query).expect("opened")
}

/// What the next so many entries look like.
fn screen(reader: &mut Reader, printer: &mut Printer, entries: usize) -> String {
    let mut out = Vec::new();
    for seen in 0..entries {
        let entry = reader.next(Some(DEADLINE)).expect("read");
        let entry = entry.unwrap_or_else(|| panic!("only {seen} of {entries}: {}", String::from_utf8_lossy(&out)));
        printer.line(&entry, &mut out);
    }
    String::from_utf8(out).expect("text")
}

/// A rotation as a person sees it who follows two services, one of which has never run before.
#[test]
fn a_follower_sees_a_rotation() {
    let logs = tempfile::tempdir().expect("a folder");
    let logs = logs.path().join("not/there/yet");
    let mut reader = reader(&logs, &["api", "b"], true);
    let mut printer = Printer::new(PLAIN, &names(&["api", "b"]));

    let mut b = capture(&logs, "b", Vec::new());
    b.mark(&Mark::Started { pid: 7, why: Vec::new() });
    b.write(Stream::Stdout, b"listening\nhalf a ");
    b.write(Stream::Stdout, b"line\n");
    assert_eq!(screen(&mut reader, &mut printer, 3), "── b started · run 1 ──\nb   | listening\nb   | half a line\n");

    b.mark(&Mark::Stopping { why: StopWhy::Replaced(vec![Reason::Credentials]) });
    b.write(Stream::Stderr, b"bye");
    b.end(Stream::Stderr);
    b.mark(&Mark::Exited { exit: Exit::Code(0) });
    b.mark(&Mark::Ended);
    b.finish();
    let mut b = capture(&logs, "b", Vec::new());
    b.mark(&Mark::Started { pid: 8, why: vec![Reason::Credentials] });
    let mut api = capture(&logs, "api", Vec::new());
    let expected =
        "── b stopping (credentials) ──\nb   | bye\n── b exited (exit 0) ──\n── b restarted (credentials) · run 2 ──\n";
    assert_eq!(screen(&mut reader, &mut printer, 5), expected);
    api.write(Stream::Stdout, b"hello\n");
    assert_eq!(screen(&mut reader, &mut printer, 1), "api | hello\n");
    assert!(reader.notice().is_none());
}

/// Invariant 8, for logs: what devsup injected is in no file, however the service wrote it.
#[test]
fn no_injected_secret_is_in_any_file() {
    let logs = tempfile::tempdir().expect("a folder");
    let (key, token) = ("Zm9vYmFyYmF6c2VjcmV0a2V5MTIzNDU2Nzg5MGFi", "IQoJb3JpZ2luX2VjEXAMPLE".repeat(40));
    let redact =
        vec![("[devsup: secret access key of a]".to_owned(), key.to_owned()), ("[token]".to_owned(), token.clone())];
    let mut a = capture(logs.path(), "a", redact);
    let text = format!("AWS_SECRET_ACCESS_KEY={key}\nAWS_SESSION_TOKEN={token}\nboth {key}{token}.\n");
    for size in [1, 7, 64, 4096] {
        for (at, piece) in text.as_bytes().chunks(size).enumerate() {
            a.write(if size == 7 { Stream::Stderr } else { Stream::Stdout }, piece);
            if at % 100 == 0 {
                a.tick();
            }
        }
    }
    a.write(Stream::Stdout, &token.as_bytes()[..token.len() - 1]);
    a.finish();
    for file in std::fs::read_dir(logs.path().join("a")).expect("listed") {
        let bytes = std::fs::read(file.expect("a name").path()).expect("read");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(key) && !text.contains(&token[..token.len() - 1]));
    }
    let mut reader = reader(logs.path(), &["a"], false);
    let shown = screen(&mut reader, &mut Printer::new(PLAIN, &names(&["a"])), 13);
    assert_eq!(shown.matches("[devsup: secret access key of a]").count(), 8);
    assert!(shown.ends_with("a | [token]\n"), "{shown}");
}

/// Runs go on being numbered, and a bounded folder stays bounded while it is written.
#[test]
fn a_service_that_restarts_for_ever_stays_within_its_bound() {
    let logs = tempfile::tempdir().expect("a folder");
    for run in 1..=30 {
        let mut a = capture(logs.path(), "a", Vec::new());
        a.write(Stream::Stdout, &vec![b'x'; 20_000]);
        a.mark(&Mark::Ended);
        let bounds = Bounds { services: [].into(), others: 200_000, in_all: 1 << 30 };
        retain(logs.path(), &bounds, &|_| [run].into()).expect("bounded");
        a.finish();
    }
    assert_eq!(last_run(&logs.path().join("a")), 30);
    let files = || std::fs::read_dir(logs.path().join("a")).expect("listed").map(|file| file.expect("a name").path());
    let total: u64 = files().map(|path| std::fs::symlink_metadata(path).expect("seen").len()).sum();
    assert!((20_000..=200_000).contains(&total), "{total}");
    assert!(files().all(|path| !path.to_string_lossy().contains("000001")));
}
