//! A keeper hears that its service is ready: by NOTIFY_SOCKET, by a descriptor, by a line of output.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use devsup::keeper::protocol::{Order, ReadyBy, Report};
use devsup::supervisor::Exit;
use devsup::sys::{signal, tree};

use crate::keeper::kept::{Kept, Setup, misbehave};

fn by(ready: ReadyBy) -> Setup {
    let mut setup = Setup::new();
    setup.spec.ready = ready;
    setup
}

fn until_ready(kept: &mut Kept) {
    kept.until("ready", |report| matches!(report, Report::Ready).then_some(()));
}

fn until_status(kept: &mut Kept, wanted: &str) {
    let says = |report: &Report| matches!(report, Report::Said { status } if status == wanted).then_some(());
    kept.until(&format!("it says `{wanted}`"), says);
}

/// All that came before this is heard.
fn everything_is_heard(kept: &mut Kept) {
    kept.order(&Order::LookForDebugger);
    kept.until("an answer", |report| matches!(report, Report::Traced { .. }).then_some(()));
}

fn is_ready(kept: &mut Kept) -> bool {
    kept.said().contains(&Report::Ready)
}

#[test]
fn a_grandchild_in_a_session_of_its_own_may_notify() {
    let setup = by(ReadyBy::Notify);
    let words =
        ["fork", "setsid", "[", "notify", "STATUS=warm\\nREADY=1\\nMAINPID=1", "sleep", "60", "]", "sleep", "60"];
    let mut kept = setup.start(&words);
    until_ready(&mut kept);
    until_status(&mut kept, "warm");
    let said = kept.said();
    let place = |what: fn(&Report) -> bool| said.iter().position(what);
    let started = place(|report| matches!(report, Report::Started { .. }));
    assert!(started < place(|report| *report == Report::Ready), "{said:?}");
}

#[test]
fn a_stranger_of_the_same_user_may_not() {
    let setup = by(ReadyBy::Notify);
    let mut kept = setup.start(&["touch", "up", "wait-for", "go", "notify", "READY=1", "sleep", "60"]);
    let pid = kept.started();
    setup.wait_for("up");
    let name = tree::environment(pid, "NOTIFY_SOCKET").expect("it is told where");
    let to = SocketAddr::from_abstract_name(name.strip_prefix('@').expect("abstract")).expect("a name");
    let stranger = UnixDatagram::unbound().expect("a socket");
    stranger.send_to_addr(b"READY=1\nSTATUS=stranger", &to).expect("anybody may send");
    everything_is_heard(&mut kept);
    assert!(!is_ready(&mut kept), "{:?}", kept.said());
    std::fs::write(setup.path("go"), "").expect("a file");
    until_ready(&mut kept);
    assert!(!kept.said().iter().any(|report| matches!(report, Report::Said { .. })), "{:?}", kept.said());
}

/// `systemd-notify` in a shell script: nobody finds its ancestors any more when its word is read.
#[test]
fn one_that_has_ended_meanwhile_counts_by_its_uid() {
    let setup = by(ReadyBy::Notify);
    let script = format!("{} touch up wait-for go notify READY=1; touch sent; exec sleep 60", misbehave());
    let mut kept = setup.start_argv(&["/bin/sh", "-c", &script]);
    setup.wait_for("up");
    kept.started();
    signal::send(kept.keeper(), signal::STOP).expect("our child");
    std::fs::write(setup.path("go"), "").expect("a file");
    setup.wait_for("sent");
    signal::send(kept.keeper(), signal::CONT).expect("our child");
    until_ready(&mut kept);
}

#[test]
fn nothing_that_is_sent_does_harm() {
    let setup = by(ReadyBy::Notify);
    let mut kept = setup.start(&[
        "notify-bytes",
        "100000",
        "notify-bytes",
        "0",
        "notify",
        "\u{1b}[2J\\n=\\nREADY=2\\nREADY",
        "notify-fd",
        "STATUS=along",
        "touch",
        "odd",
        "wait-for",
        "go",
        "notify-flood",
        "300",
        "notify",
        "STATUS=\u{1b}[31mred\u{7}\\nREADY=1",
        "sleep",
        "60",
    ]);
    setup.wait_for("odd");
    until_status(&mut kept, "along");
    everything_is_heard(&mut kept);
    assert!(!is_ready(&mut kept), "{:?}", kept.said());
    std::fs::write(setup.path("go"), "").expect("a file");
    until_ready(&mut kept);
    until_status(&mut kept, "red");
    // It is still there for orders.
    kept.order(&Order::Kill);
    kept.until_gone();
}

#[test]
fn reloading_and_stopping_are_shown_and_end_nothing() {
    let setup = by(ReadyBy::Notify);
    let words = ["notify", "READY=1", "notify", "RELOADING=1", "wait-for", "go", "notify", "READY=1", "sleep", "60"];
    let mut kept = setup.start(&words);
    until_status(&mut kept, "reloading");
    std::fs::write(setup.path("go"), "").expect("a file");
    until_status(&mut kept, "");
}

#[test]
fn a_secret_in_a_status_is_masked() {
    let mut setup = by(ReadyBy::Notify);
    setup.spec.logs.redact = vec![("[masked]".into(), "a-long-secret".into())];
    let mut kept = setup.start(&["notify", "STATUS=key a-long-secret", "sleep", "60"]);
    until_status(&mut kept, "key [masked]");
}

#[test]
fn a_line_on_the_promised_descriptor_is_ready() {
    // Numbers that the shim itself has in use, and others.
    for number in [3, 4, 10, 11, 63] {
        let setup = by(ReadyBy::Fd(number));
        let n = number.to_string();
        let mut kept = setup.start(&["to", "fds", "fds", "write-fd", &n, "up", "sleep", "60"]);
        until_ready(&mut kept);
        let fds = setup.read("fds");
        let beyond = |line: &&str| line.split(' ').nth(1).is_some_and(|fd| fd.parse::<u32>().is_ok_and(|fd| fd > 2));
        assert!(fds.contains(&format!("fd {n} pipe:")), "{fds}");
        assert_eq!(fds.lines().filter(beyond).count(), 1, "nothing else is inherited: {fds}");
    }
}

#[test]
fn a_descriptor_closed_without_a_line_says_that_it_never_will() {
    let setup = by(ReadyBy::Fd(3));
    let mut kept = setup.start_argv(&["/bin/sh", "-c", "printf half >&3; exec 3>&-; touch closed; exec sleep 60"]);
    let what = kept.until("not ready", |report| match report {
        Report::NotReady { what } => Some(what.clone()),
        _ => None,
    });
    assert!(what.contains("closed descriptor 3 without a line"), "{what}");
    assert!(!is_ready(&mut kept));
}

#[test]
fn a_descriptor_beyond_the_limit_is_refused_with_its_mend() {
    let setup = by(ReadyBy::Fd(1_500_000_000));
    let mut kept = setup.start(&["sleep", "60"]);
    let what = kept.start_failure();
    assert!(
        what.contains("`ready.fd`: 1500000000 is beyond its limit of open files") && what.contains("such as 3"),
        "{what}"
    );
    kept.until_gone();
}

#[test]
fn a_line_of_either_stream_is_ready() {
    for word in ["say", "cry"] {
        let setup = by(ReadyBy::Log("^listening on [0-9]+$".into()));
        let words =
            ["say", "not listening on 1", "touch", "up", "wait-for", "go", word, "listening on 80", "sleep", "60"];
        let mut kept = setup.start(&words);
        setup.wait_for("up");
        everything_is_heard(&mut kept);
        assert!(!is_ready(&mut kept));
        std::fs::write(setup.path("go"), "").expect("a file");
        until_ready(&mut kept);
    }
}

#[test]
fn a_line_without_an_end_is_ready_after_a_while() {
    let setup = by(ReadyBy::Log("psql> $".into()));
    let mut kept = setup.start(&["mutter", "psql> ", "sleep", "60"]);
    until_ready(&mut kept);
}

#[test]
fn what_was_said_before_the_exit_comes_before_it() {
    let fd = ["write-fd", "3", "done", "exit", "0"];
    let notify = ["notify", "READY=1", "exit", "0"];
    let log = ["say", "done", "exit", "0"];
    for (ready, words) in [(ReadyBy::Fd(3), &fd[..]), (ReadyBy::Notify, &notify), (ReadyBy::Log("done".into()), &log)] {
        let setup = by(ready.clone());
        let mut kept = setup.start(words);
        assert_eq!(kept.exited(), Exit::Code(0));
        kept.until_gone();
        let said = kept.said();
        let at = |wanted: fn(&Report) -> bool| said.iter().position(wanted).expect("it was said");
        let (ready_at, exit_at) =
            (at(|report| *report == Report::Ready), at(|report| matches!(report, Report::Exited { .. })));
        assert!(ready_at < exit_at, "{ready:?}: {said:?}");
    }
}

#[test]
fn an_expression_that_cannot_be_read_starts_nothing() {
    let mut kept = by(ReadyBy::Log("(".into())).start(&["sleep", "60"]);
    let what = kept.start_failure();
    assert!(what.contains("`ready.log` is no regular expression"), "{what}");
    kept.until_gone();
}
