//! `attach`: a person at a terminal, and the terminal of a service. The person's is made here, so that what becomes of it
//! can be looked at.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use devsup::sys::clock::monotonic;
use devsup::sys::pipe::{self, Read};
use devsup::sys::pty::{Pty, Size};
use nix::sys::signal::Signal;
use nix::sys::termios::{Termios, tcgetattr};

use crate::project::{DEADLINE, Foreground, Project, binary};

/// A loop that answers each line, under a name, by which runs are told apart.
const ECHO: &str = "echo here is run ${DEVSUP_RUN##*#}; while read line; do echo \"<$line>\"; done; exit 3";

fn project(more: &str, script: &str) -> Project {
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ntty = true\nrestart = 'never'\ncommand = ['sh', 'a.sh']\n{more}\n"
    ));
    project.write("a.sh", script);
    project.up_sandbox();
    project
}

/// A person's terminal with `devsup attach` at it.
struct Seat {
    pty: Pty,
    reader: OwnedFd,
    before: Termios,
    heard: String,
    client: Foreground,
}

impl Seat {
    fn take(project: &Project, args: &[&str]) -> Self {
        let pty = Pty::open(None).expect("a terminal");
        pty.resize(Size { rows: 30, cols: 100 }).expect("a size");
        let mut command = project.command(&binary(), &[&["attach"], args].concat());
        let end = || Stdio::from(pty.writer().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(end());
        let before = tcgetattr(pty.as_fd()).expect("a terminal");
        let client = Foreground::start(command);
        Self { reader: pty.reader().expect("a descriptor"), pty, before, heard: String::new(), client }
    }

    fn types(&self, keys: &str) {
        assert_eq!(self.pty.type_in(keys.as_bytes()).expect("a terminal"), keys.len());
    }

    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        while let Read::Bytes(n) = pipe::read(&self.reader, &mut buffer) {
            self.heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    }

    #[track_caller]
    fn until_sees(&mut self, words: &str) {
        let until = monotonic() + DEADLINE;
        while !self.heard.contains(words) {
            let lives = self.client.lives();
            self.hear();
            assert!(self.heard.contains(words) || (lives && monotonic() < until), "`{words}`: {}", self.heard);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, and looks at the terminal then.
    #[track_caller]
    fn ends(&mut self, code: Option<i32>) {
        let until = monotonic() + DEADLINE;
        let status = loop {
            self.hear();
            if let Some(status) = self.client.ended(Duration::from_millis(20)) {
                break status;
            }
            assert!(monotonic() < until, "it does not end: {}", self.heard);
        };
        self.hear();
        assert_eq!(status.code(), code, "{}", self.heard);
    }

    #[track_caller]
    fn is_restored(&self) {
        let now = tcgetattr(self.pty.as_fd()).expect("a terminal");
        assert_eq!(now.local_flags, self.before.local_flags);
        assert_eq!(now.input_flags, self.before.input_flags);
        assert_eq!(now.output_flags, self.before.output_flags);
    }
}

#[test]
fn what_is_typed_reaches_the_service_and_leaving_leaves_it_running() {
    let project = project("", ECHO);
    let before = project.service("a");
    assert!(before.tty);
    project.until_log("a", "here is run 1");
    let mut seat = Seat::take(&project, &["a"]);
    seat.until_sees("attached to a · run 1; Ctrl-P Ctrl-Q leaves it running");
    seat.types("hello\r");
    seat.until_sees("<hello>");
    project.until_log("a", "<hello>");
    seat.types("\x10\x11");
    seat.ends(Some(0));
    assert!(seat.heard.contains("left a; it stays up"), "{}", seat.heard);
    seat.is_restored();
    assert_eq!(project.service("a").pid, before.pid);
    assert!(project.events().iter().any(|event| event.event == "attached"));
    let mut seat = Seat::take(&project, &["--detach-keys", "ctrl-a,d", "a"]);
    seat.until_sees("Ctrl-A d leaves it running");
    seat.types("\x01d");
    seat.ends(Some(0));
}

#[test]
fn the_end_of_the_service_is_said_and_is_the_exit_code() {
    let project = project("", ECHO);
    let mut seat = Seat::take(&project, &["a"]);
    seat.until_sees("attached to a");
    // As at any terminal: no more input.
    seat.types("\x04");
    seat.ends(Some(3));
    assert!(seat.heard.contains("a ended: exit 3"), "{}", seat.heard);
    seat.is_restored();
    let refused = project.command_at_a_terminal(&["attach", "a"]);
    assert_eq!(refused.0, Some(3), "{}", refused.1);
    assert!(refused.1.contains("it is not running"), "{}", refused.1);
}

#[test]
fn a_replaced_service_is_attached_to_again() {
    let project = project("", ECHO);
    let mut seat = Seat::take(&project, &["a"]);
    seat.until_sees("attached to a · run 1");
    project.devsup(&["restart", "a"]).ok();
    seat.until_sees("── a restarted (restart (");
    seat.until_sees(" · run 2 ──");
    seat.types("again\r");
    seat.until_sees("<again>");
    assert!(project.log("a").contains("<again>"));
    project.devsup(&["stop", "a"]).ok();
    seat.until_sees("a ended: ");
    seat.client.ended(DEADLINE).expect("nothing more comes");
    seat.is_restored();
}

#[test]
fn a_client_that_is_ended_leaves_the_service_and_mends_the_terminal() {
    let project = project("", ECHO);
    let before = project.service("a").pid;
    for (signal, code) in [(Signal::SIGTERM, Some(143)), (Signal::SIGINT, Some(130)), (Signal::SIGHUP, Some(129))] {
        let mut seat = Seat::take(&project, &["a"]);
        seat.until_sees("attached to a");
        seat.types("x\r");
        seat.until_sees("<x>");
        seat.client.signal(signal);
        seat.ends(code);
        seat.is_restored();
    }
    // Killed, it can mend nothing; the service does not notice.
    let mut seat = Seat::take(&project, &["a"]);
    seat.until_sees("attached to a");
    seat.client.signal(Signal::SIGKILL);
    seat.ends(None);
    let mut seat = Seat::take(&project, &["a"]);
    seat.types("still there\r");
    seat.until_sees("<still there>");
    assert_eq!(project.service("a").pid, before);
}

/// Scenario 70.
#[test]
fn a_service_that_crashes_in_raw_mode_leaves_our_terminal_alone() {
    let script = "read go; stty raw -echo; printf '\\033[?1049h\\033[?25lfull screen'; read -r crash; kill -9 $$";
    let project = project("", script);
    let mut seat = Seat::take(&project, &["a"]);
    seat.until_sees("attached to a");
    seat.types("go\r");
    seat.until_sees("full screen");
    seat.types("\n");
    seat.ends(Some(137));
    seat.is_restored();
    let (_, after) = seat.heard.split_once("full screen").expect("seen");
    assert!(after.contains("\x1b[?25h\x1b[?1049l"), "{after:?}");
    assert!(after.contains("a ended: signal 9"), "{after:?}");
}

#[test]
fn a_size_goes_through() {
    let project = project("", "trap 'echo size=$(stty size)=' WINCH; echo waits; while :; do sleep 0.05; done");
    project.until_log("a", "waits");
    let mut seat = Seat::take(&project, &["a"]);
    seat.until_sees("size=30 100=");
    seat.pty.resize(Size { rows: 44, cols: 55 }).expect("a size");
    // The test's terminal is nobody's controlling one, so the kernel does not say it.
    seat.client.signal(Signal::SIGWINCH);
    seat.until_sees("size=44 55=");
    seat.types("\x10\x11");
    seat.ends(Some(0));
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let project = project("[services.b]\ncommand = 'sleep 600'", ECHO);
    let (code, said) = project.command_at_a_terminal(&["attach", "b"]);
    assert_eq!(code, Some(1), "{said}");
    for words in ["service `b`: it has no terminal", "`tty = true`", "devsup logs -f b", "devsup exec b"] {
        assert!(said.contains(words), "`{words}`: {said}");
    }
    let (code, said) = project.command_at_a_terminal(&["attach", "c"]);
    assert_eq!(code, Some(4), "{said}");
    let refused = project.devsup(&["attach", "a"]).ends(2);
    assert!(refused.stderr.contains("needs a terminal") && refused.stderr.contains("ssh -t"), "{}", refused.stderr);
}

#[test]
fn a_service_may_not_come_to_anothers_terminal() {
    let script =
        format!("while ! test -e go; do sleep 0.05; done; {} attach b; echo code=$?; sleep 600", binary().display());
    let project = project("[services.b]\ntty = true\ncommand = 'sleep 600'", &script);
    project.write("go", "");
    project.until_log("a", "code=6");
    assert!(project.log("a").contains("may not command devsup"), "{}", project.log("a"));
    assert!(project.events().iter().any(|event| event.event == "refused"));
}

impl Project {
    /// Its exit code, and all it said.
    fn command_at_a_terminal(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut seat = Seat::take(self, &args[1..]);
        let status = seat.client.ended(DEADLINE).expect("it ends");
        seat.hear();
        (status.code(), seat.heard.clone())
    }
}
