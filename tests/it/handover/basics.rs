//! `socket`: bound by devsup for as long as the service is wanted, and passed to every run as new.

use std::fs;
use std::io::BufReader;
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use super::{Call, SERVES, call, one, refused, runs, served_by, until_runs, up};
use crate::faults::badly;
use crate::means::skipped;
use crate::project::{DEADLINE, Project, wait_until};
use crate::ready::address;

fn at_path(path: &std::path::Path) -> Call<UnixStream> {
    let stream = UnixStream::connect(path).expect("devsup listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    Call(BufReader::new(stream))
}

/// An address of IPv6 has one host only, so its number must be free.
fn address_v6() -> Option<String> {
    let found = TcpListener::bind("[::1]:0").and_then(|listener| listener.local_addr());
    found.map(|at| at.to_string()).map_err(|_| skipped("no IPv6 here")).ok()
}

#[test]
fn sockets_come_from_3_on_in_the_order_of_their_names() {
    let (http, v6) = (address(), address_v6());
    let admin = v6.unwrap_or_else(address);
    let mut project = Project::new("");
    // Whoever started devsup may have been started so himself.
    project.env.extend([("LISTEN_PID", "1"), ("LISTEN_FDS", "7")].map(|(name, value)| (name.into(), value.into())));
    let path = project.path("line.sock");
    let command = badly("sockets answer fd:3 answer fd:4 answer fd:5 say ready sleep 600");
    project.write(
        "services.toml",
        &format!(
            "name = 'shop'\n[services.a]\ncommand = {command}\nready = {{ log = '^ready' }}\n\
             [services.a.ports]\nline = {{ listen = '{}', handover = 'socket' }}\n\
             http = {{ listen = '{http}', handover = 'socket' }}\nadmin = {{ listen = '{admin}', handover = 'socket' }}\n",
            path.display()
        ),
    );
    // What an earlier life left, of which nobody takes callers.
    drop(UnixListener::bind(&path).expect("a socket"));
    project.devsup(&["up", "-d", "--wait"]).ok();
    let said = "sockets 3 admin:http:line for this process\nfd 3 listens blocking\nfd 4 listens blocking\nfd 5 listens blocking\n";
    assert!(project.log("a").starts_with(said), "{}", project.log("a"));
    for at in [&http, &admin] {
        assert_eq!(served_by(at).expect("served"), 1);
    }
    assert_eq!(at_path(&path).run().expect("served"), 1);
    let mode = |path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), mode(&project.path("services.toml")), "as the umask says");
    project.devsup(&["stop", "a"]).ok();
    assert!(!path.exists() && refused(&http) && refused(&admin));
}

#[test]
fn a_file_where_a_socket_should_be_is_named_and_left_alone() {
    for handover in ["socket", "forward"] {
        let project = Project::new("");
        let path = project.path("a.sock");
        project.write("a.sock", "mine");
        project.write("services.toml", &one(SERVES, path.to_str().expect("a path"), handover, ""));
        let _typed = project.spawn(&["up", "-d"]);
        let words = format!("{} cannot be bound: a file that is no socket is there", path.display());
        project.until_one("a", |a| a.why.as_ref().is_some_and(|why| why.contains(&words)), &words);
        assert_eq!(fs::read(&path).expect("a file"), b"mine");
        fs::remove_file(&path).expect("ours");
        project.until_one("a", |a| a.ready, "the place is free");
        assert_eq!(at_path(&path).run().expect("served"), 1);
    }
}

/// Far more than a program's own small backlog would take.
const MANY: usize = 300;

#[test]
fn callers_wait_while_it_restarts_whatever_the_last_run_did() {
    let at = address();
    let spoils = format!("if shrink [ shrink fd:3 ] if shut [ shut fd:3 ] if unblock [ unblock fd:3 ] {SERVES}");
    let project = Project::new(&one(&format!("sockets {spoils}"), &at, "socket", ""));
    for (round, spoil) in ["shrink", "shut", "unblock"].into_iter().enumerate() {
        let run = u32::try_from(2 * round + 1).expect("few");
        project.write(spoil, "");
        project.write("go", "");
        project.devsup(&["up", "-d", "--wait"]).ok();
        assert_eq!(served_by(&at).expect("its socket is mended when it is ready"), run, "{spoil}");
        fs::remove_file(project.path(spoil)).expect("ours");
        fs::remove_file(project.path("go")).expect("ours");
        project.write("slow", "");
        let typed = project.spawn(&["restart", "a"]);
        until_runs(&project, &[run + 1]);
        let mut waiting: Vec<_> = (0..MANY).map(|_| call(&at).expect("there is room")).collect();
        project.write("go", "");
        for caller in &mut waiting {
            assert_eq!(caller.run().expect("nobody is lost"), run + 1, "{spoil}");
        }
        typed.finish().ok();
        fs::remove_file(project.path("slow")).expect("ours");
        let log = project.log("a");
        assert!(log.ends_with("sockets 1 http for this process\nfd 3 listens blocking\nready\n"), "{spoil}: {log}");
        project.devsup(&["stop", "a"]).ok();
    }
}

#[test]
fn nobody_but_the_service_gets_the_sockets() {
    let at = address();
    let project = up(&format!(
        "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ exec = {} }}\nlive = {{ exec = {}, interval = '50ms' }}\n\
         stop_command = {}\nports.http = {{ listen = '{at}', handover = 'socket' }}\n",
        badly("on TERM exit 0 answer fd:3 sleep 600"),
        badly("to asked sockets fds"),
        badly("to looked sockets fds"),
        badly("to told sockets fds"),
    ));
    wait_until("its life was looked at", || project.path("looked").exists());
    project.devsup(&["stop", "a"]).ok();
    assert!(refused(&at), "no keeper holds it");
    for file in ["asked", "looked", "told"] {
        let said = fs::read_to_string(project.path(file)).expect("it was run");
        assert!(said.starts_with("sockets - - for nobody\n"), "{file}: {said}");
        assert!(!said.contains("socket:["), "{file}: {said}");
    }
}

#[test]
fn a_port_is_kept_while_it_is_wanted_and_let_go_when_it_is_not() {
    let services = ["socket", "forward"].map(|handover| {
        let [again, failed, stopped] = [address(), address(), address()];
        let text = format!(
            "[services.{handover}-again]\ncommand = 'exit 1'\nbackoff = {{ first = '1m' }}\n\
             ports.http = {{ listen = '{again}', handover = '{handover}' }}\n\
             [services.{handover}-failed]\ncommand = 'exit 1'\nrestart = 'never'\n\
             ports.http = {{ listen = '{failed}', handover = '{handover}' }}\n\
             [services.{handover}-stopped]\ncommand = 'sleep 600'\nready = {{ exec = 'true' }}\n\
             ports.http = {{ listen = '{stopped}', handover = '{handover}' }}\n"
        );
        (handover, again, failed, stopped, text)
    });
    let text: String = services.iter().map(|(.., text)| text.as_str()).collect();
    let project = Project::new(&format!("name = 'shop'\n{text}"));
    let _typed = project.spawn(&["up", "-d"]);
    for (handover, again, failed, stopped, _) in &services {
        let name = |end: &str| format!("{handover}-{end}");
        project.until_one(&name("again"), |one| one.status.contains("backoff") || one.crashes == 1, "it has crashed");
        call(again).expect("its callers wait");
        project.until_one(&name("failed"), |one| one.state == devsup::supervisor::State::Failed, "it has failed");
        wait_until("it is let go", || refused(failed));
        project.until_one(&name("stopped"), |one| one.ready, "it runs");
        call(stopped).expect("it is up");
        project.devsup(&["stop", &name("stopped")]).ok();
        assert!(refused(stopped), "at once");
        project.devsup(&["stop", &name("again")]).ok();
        assert!(refused(again), "at once");
    }
}

/// A connection that one run has taken is its own, whatever becomes of the socket.
#[test]
fn what_a_run_has_taken_is_not_the_next_ones() {
    let at = address();
    let project = up(&one(SERVES, &at, "socket", ""));
    let mut taken = call(&at).expect("up");
    assert_eq!(taken.run().expect("served"), 1);
    assert_eq!(taken.says("hi").expect("an answer"), "run 1: hi");
    project.devsup(&["restart", "a"]).ok();
    assert!(taken.says("still there?").is_err());
    taken.0.get_ref().shutdown(Shutdown::Both).ok();
    assert_eq!((served_by(&at).expect("served"), runs(&project)), (2, vec![2]));
}
