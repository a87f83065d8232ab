//! A run with a terminal: what the service finds, what the log holds, and who is attached.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use devsup::control::attach::{Word, Words};
use devsup::keeper::protocol::Order;
use devsup::supervisor::{Exit, StopWhy};
use devsup::sys::clock::monotonic;
use devsup::sys::pty::Size;

use super::kept::{Kept, Setup, wait_until};
use super::{LONG, stop};

const SMALL: Size = Size { rows: 10, cols: 33 };

fn setup() -> Setup {
    let mut setup = Setup::new();
    setup.spec.birth.tty = true;
    setup.spec.env.push(("TERM".into(), "xterm".into()));
    setup
}

/// All that the run wrote.
fn log(setup: &Setup) -> String {
    let entries = std::fs::read_dir(setup.path("logs")).expect("the folder").flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "log"));
    files.map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("a log")).into_owned()).collect()
}

/// What `seq` writes to a terminal.
fn numbers(last: u32) -> String {
    let mut lines: Vec<String> = (1..=last).map(|number| number.to_string()).collect();
    lines.push(String::new());
    lines.join("\r\n")
}

fn until_log(setup: &Setup, words: &str) {
    wait_until(&format!("the log says `{words}`"), || log(setup).contains(words));
}

/// Somebody at the run's terminal.
struct Guest {
    socket: UnixStream,
    words: Words,
    seen: String,
    exit: Option<Exit>,
    left: bool,
}

impl Guest {
    fn come(kept: &mut Kept, size: Size) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("a socket");
        kept.attach(size, theirs.into());
        Self { socket: ours, words: Words::default(), seen: String::new(), exit: None, left: false }
    }

    fn say(&mut self, word: &Word) {
        let mut bytes = Vec::new();
        word.put(&mut bytes);
        self.socket.write_all(&bytes).expect("the keeper listens");
    }

    fn types(&mut self, keys: &str) {
        self.say(&Word::Keys(keys.as_bytes().to_vec()));
    }

    fn hear(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => break self.left = true,
                Ok(n) => self.words.take(&bytes[..n]),
                Err(_) => break,
            }
        }
        while let Some(word) = self.words.next_word().expect("words") {
            match word {
                Word::Output(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Word::Ended(exit) => self.exit = Some(exit),
                other => panic!("{other:?}"),
            }
        }
    }

    fn until_sees(&mut self, words: &str) {
        let until = monotonic() + Duration::from_secs(30);
        while !self.seen.contains(words) {
            assert!(monotonic() < until && !self.left, "`{words}` is not seen: {:?}", self.seen);
            thread::sleep(Duration::from_millis(2));
            self.hear();
        }
    }

    fn until_left(&mut self) {
        wait_until("the keeper has closed", || {
            self.hear();
            self.left
        });
    }
}

#[test]
fn the_service_has_a_terminal_of_its_own_and_the_log_has_what_it_writes() {
    let setup = setup();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo all three; stty size; echo to-tty > /dev/tty; \
                  echo oops >&2; ps -o tpgid= -p $$ | tr -d ' ' > group; echo $$ > own; printf unended";
    let mut kept = setup.start_argv(&["/bin/sh", "-c", script]);
    kept.until_gone();
    for words in ["all three", "24 80", "to-tty", "oops", "unended"] {
        assert!(log(&setup).contains(words), "`{words}`: {}", log(&setup));
    }
    assert_eq!(kept.exit(), Some(Exit::Code(0)));
    assert_eq!(setup.read("group"), setup.read("own"), "it is in the foreground of its own terminal");
    assert_eq!(kept.reaped(), Exit::Code(0));
    kept.nothing_is_left();
}

#[test]
fn no_other_descriptor_leaks_into_it() {
    let setup = setup();
    let mut kept = setup.start(&["to", "out", "fds", "exit", "0"]);
    kept.until_gone();
    let out = setup.read("out");
    let fds: Vec<&str> = out.lines().collect();
    assert_eq!(fds.len(), 3, "{out}");
    for (at, fd) in fds.iter().enumerate() {
        assert!(fd.starts_with(&format!("fd {at} /dev/pts/")), "{out}");
    }
}

#[test]
fn a_big_burst_is_in_the_log_whole() {
    let setup = setup();
    let mut kept = setup.start_argv(&["/bin/sh", "-c", "seq 1 60000"]);
    kept.until_gone();
    let written = log(&setup);
    let expected = numbers(60_000);
    assert!(written == expected, "{} bytes of {}", written.len(), expected.len());
}

#[test]
fn who_closes_the_terminal_and_opens_it_again_is_heard() {
    let setup = setup();
    let script = "exec </dev/null >/dev/null 2>&1; touch closed; while ! test -e go; do sleep 0.01; done; \
                  echo again >/dev/tty";
    let mut kept = setup.start_argv(&["/bin/sh", "-c", script]);
    setup.wait_for("closed");
    std::fs::write(setup.path("go"), "").expect("a file");
    kept.until_gone();
    assert!(log(&setup).contains("again"), "{}", log(&setup));
}

#[test]
fn nobody_attached_nobody_types_and_nobody_waits() {
    let setup = setup();
    let mut kept = setup.start_argv(&["/bin/sh", "-c", "seq 1 20000; touch written; read line; echo \"got $line\""]);
    // It could write all that, though nobody looks; and it waits for its line.
    setup.wait_for("written");
    until_log(&setup, "20000");
    assert!(!log(&setup).contains("got"));
    let mut guest = Guest::come(&mut kept, SMALL);
    guest.types("hello\r");
    guest.until_sees("got hello");
    kept.until_gone();
    assert!(log(&setup).contains("got hello"));
}

#[test]
fn several_see_the_same_and_all_may_type() {
    let setup = setup();
    let script = "while read line; do echo \"<$line>\"; done; echo over";
    let mut kept = setup.start_argv(&["/bin/sh", "-c", script]);
    kept.started();
    let (mut one, mut two) = (Guest::come(&mut kept, SMALL), Guest::come(&mut kept, SMALL));
    one.types("from one\r");
    one.until_sees("<from one>");
    two.until_sees("<from one>");
    two.types("from two\r");
    one.until_sees("<from two>");
    two.until_sees("<from two>");
    // One leaves, the other stays.
    drop(one);
    two.types("still\r");
    two.until_sees("<still>");
    two.types("\x04");
    two.until_left();
    assert!(two.seen.contains("over"), "{}", two.seen);
    assert_eq!(two.exit, Some(Exit::Code(0)));
    kept.until_gone();
    kept.nothing_is_left();
}

#[test]
fn a_size_is_told_at_the_beginning_and_at_each_change() {
    let setup = setup();
    let script = "trap 'echo size=$(stty size)=' WINCH; echo waits; while :; do sleep 0.01; done";
    let mut kept = setup.start_argv(&["/bin/sh", "-c", script]);
    until_log(&setup, "waits");
    let mut guest = Guest::come(&mut kept, SMALL);
    guest.until_sees("size=10 33=");
    guest.say(&Word::Size(Size { rows: 50, cols: 132 }));
    guest.until_sees("size=50 132=");
    // One of the same size: the screen is drawn anew for him all the same.
    let mut other = Guest::come(&mut kept, Size { rows: 50, cols: 132 });
    other.until_sees("size=50 132=");
    kept.order(&stop(LONG));
    kept.until_gone();
}

#[test]
fn an_interrupt_typed_is_one_for_the_service() {
    let setup = setup();
    let mut kept = setup.start(&["on", "INT", "exit", "42", "say", "ready", "sleep", "60"]);
    until_log(&setup, "ready");
    let mut guest = Guest::come(&mut kept, SMALL);
    guest.types("\x03");
    guest.until_left();
    assert_eq!(guest.exit, Some(Exit::Code(42)));
    kept.until_gone();
}

#[test]
fn one_who_does_not_read_holds_up_nobody() {
    let setup = setup();
    let mut kept = setup.start_argv(&["/bin/sh", "-c", "read go; seq 1 400000; echo done"]);
    kept.started();
    let mut sleeps = Guest::come(&mut kept, SMALL);
    sleeps.types("go\r");
    // More than all the buffers on the way to him: it is in the log, and the keeper ends.
    until_log(&setup, "\ndone");
    kept.until_gone();
    kept.reaped();
    kept.nothing_is_left();
    sleeps.hear();
    let expected = numbers(400_000);
    let seen = sleeps.seen.strip_prefix("go\r\n").expect("the echo of what was typed");
    assert!(seen.len() > 50_000 && expected.starts_with(seen), "{} bytes: {}", seen.len(), &seen[..50]);
}

#[test]
fn what_is_stopped_has_its_terminal_until_the_end() {
    let setup = setup();
    let mut kept = setup.start(&["on", "TERM", "say", "told", "say", "ready", "wait-for", "go"]);
    until_log(&setup, "ready");
    let mut guest = Guest::come(&mut kept, SMALL);
    kept.order(&Order::Stop { timeout: LONG, why: StopWhy::Asked });
    guest.until_sees("told");
    std::fs::write(setup.path("go"), "").expect("a file");
    guest.until_left();
    assert_eq!(guest.exit, Some(Exit::Code(0)));
    kept.until_gone();
}

#[test]
fn a_stop_command_writes_to_the_log_and_does_not_take_the_terminal() {
    let mut setup = setup();
    let command = "echo draining; (exec </dev/tty) 2>/dev/null || echo has none";
    setup.spec.stop.command = Some(vec!["/bin/sh".into(), "-c".into(), command.into()]);
    let mut kept = setup.start(&["say", "ready", "sleep", "60"]);
    until_log(&setup, "ready");
    kept.order(&stop(LONG));
    kept.until_gone();
    assert!(log(&setup).contains("draining") && log(&setup).contains("has none"), "{}", log(&setup));
}

#[test]
fn a_run_without_a_terminal_closes_at_once() {
    let setup = Setup::new();
    let mut kept = setup.start(&["touch", "ready", "sleep", "60"]);
    setup.wait_for("ready");
    let mut guest = Guest::come(&mut kept, SMALL);
    guest.until_left();
    assert_eq!(guest.exit, None);
    kept.order(&stop(LONG));
    kept.until_gone();
}
