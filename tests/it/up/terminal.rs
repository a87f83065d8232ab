//! What the person in front of a foreground `up` may do to it: Ctrl-C once, twice, or take the terminal away.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::project::{Foreground, Project, binary, misbehave, wait_until};

const MANIFEST: &str = r#"
name = "shop"
[services.a]
command = "sh -c 'echo hello; exec sleep 600'"
[services.b]
command = "sleep 600"
depends_on = ["a"]
"#;

#[test]
fn the_first_interrupt_stops_politely() {
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = ['{}', 'on', 'TERM', 'say', 'told', 'say', 'begun', 'wait-for', 'go']\n",
        misbehave()
    ));
    let mut up = project.spawn(&["up", "--sandbox"]);
    up.until_says("a | begun");
    up.until_says("devsup ps");
    up.signal(Signal::SIGINT);
    up.until_says("Ctrl-C again");
    up.until_says("a | told");
    assert!(up.lives(), "it stays until everything is gone");
    project.write("go", "");
    up.finish().ends(130);
    project.until_gone();
}

#[test]
fn the_second_interrupt_kills_what_does_not_listen() {
    let words = format!("'{}', 'ignore', 'TERM', 'fork', '[', 'ignore', 'TERM', 'sleep', '600', ']'", misbehave());
    let project = Project::new(&format!(
        "name = 'shop'\n[defaults]\nstop_timeout = '10m'\n\
         [services.a]\ncommand = [{words}, 'say', 'deaf', 'sleep', '600']\n\
         [services.b]\ncommand = [{words}, 'say', 'deaf', 'sleep', '600']\n"
    ));
    let mut up = project.spawn(&["up", "--sandbox"]);
    up.until_says("a | deaf");
    up.until_says("b | deaf");
    up.signal(Signal::SIGINT);
    up.until_says("Ctrl-C again");
    // Waiting is never silent.
    up.until_says("SIGKILL in");
    up.signal(Signal::SIGINT);
    let ended = up.finish().ends(130);
    assert!(ended.stderr.contains("killing"), "{ended:#?}");
    project.until_gone();
}

/// `up` with these words in a pipe, in a process group of its own, as a shell at a keyboard makes it. Its code is said at the end.
fn piped(project: &Project, words: &str, reader: &str) -> Foreground {
    let up = format!("{{ trap : INT; '{}' up {words}; echo \"code $?\" >&2; }}", binary().display());
    let mut command = project.command(Path::new("sh"), &["-c", &format!("trap : INT; {up} | {reader}")]);
    command.process_group(0);
    Foreground::start(command)
}

#[test]
fn an_interrupt_that_ends_its_reader_too_stops_all_the_same() {
    let project = Project::new(MANIFEST);
    let mut up = piped(&project, "--sandbox", "tee log");
    up.until_says("a | hello");
    up.until_says("devsup ps");
    killpg(Pid::from_raw(i32::try_from(up.pid()).expect("a pid")), Signal::SIGINT).expect("it has not been reaped");
    up.until_says("Ctrl-C again");
    let said = up.finish();
    assert!(said.stderr.contains("shop is down\n") && said.stderr.ends_with("code 130\n"), "{said:#?}");
    project.until_gone();
}

#[test]
fn a_reader_that_leaves_at_the_end_takes_no_exit_code_along() {
    let deaf = format!("['{}', 'on', 'TERM', 'say', 'told', 'say', 'begun', 'wait-for', 'go']", misbehave());
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = 'while ! test -e end; do sleep 0.05; done; exit 3'\nrestart = 'never'\n\
         [services.b]\ncommand = {deaf}\n"
    ));
    let mut up = piped(&project, "--sandbox --exit-code-from a", "sh -c 'echo $$ > reader; exec cat'");
    up.until_says("b | begun");
    project.write("end", "");
    up.until_says("b | told");
    let reader = std::fs::read_to_string(project.path("reader")).expect("it has begun");
    let reader = Pid::from_raw(reader.trim().parse().expect("a pid"));
    kill(reader, Signal::SIGKILL).expect("it lives");
    wait_until("the reader is gone", || kill(reader, None).is_err());
    project.write("go", "");
    let said = up.finish();
    assert!(said.stderr.ends_with("code 3\n"), "{said:#?}");
    project.until_gone();
}

/// The project is as it was, and another `up` only attaches.
fn stays(project: &Project, before: &[Option<u32>]) {
    let after: Vec<_> = project.ps().into_iter().map(|service| service.pid).collect();
    assert_eq!(after, before);
    let mut again = project.spawn(&["up", "--sandbox"]);
    again.until_says("attached to");
    again.signal(Signal::SIGINT);
    again.finish().ends(130);
    assert_eq!(project.ps().into_iter().map(|service| service.pid).collect::<Vec<_>>(), before);
}

fn running(project: &Project) -> Vec<Option<u32>> {
    let all = project.until(|all| all.len() == 2 && all.iter().all(|service| service.ready), "both run");
    all.into_iter().map(|service| service.pid).collect()
}

#[test]
fn a_client_that_is_hung_up_on_or_killed_stops_nothing() {
    for (signal, code) in [(Signal::SIGHUP, 129), (Signal::SIGTERM, 143), (Signal::SIGKILL, -1)] {
        let project = Project::new(MANIFEST);
        let mut up = project.spawn(&["up", "--sandbox"]);
        up.until_says("a | hello");
        let before = running(&project);
        up.signal(signal);
        up.finish().ends(code);
        stays(&project, &before);
    }
}

#[test]
fn a_lost_terminal_stops_nothing() {
    let project = Project::new(MANIFEST);
    // `script` holds the other end of the terminal: killed, it takes it away, as a closed window or a lost ssh does.
    let line = format!("exec {} up --sandbox", binary().display());
    let mut command = project.command(Path::new("script"), &["-q", "-f", "-e", "-c", &line, "typed"]);
    command.env("TERM", "xterm").env("SHELL", "/bin/sh");
    let mut script = Foreground::start(command);
    script.until_says("hello");
    let before = running(&project);
    script.signal(Signal::SIGKILL);
    script.finish();
    let client = |words: &str| words.contains(" up --sandbox");
    wait_until("the client has gone with its terminal", || !project.alive().iter().any(|(_, words)| client(words)));
    stays(&project, &before);
}

#[test]
fn an_interrupt_typed_at_a_terminal_reaches_no_service_by_itself() {
    let told = misbehave();
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = ['{told}', 'on', 'INT', 'say', 'typed at me', 'on', 'TERM', 'exit', '0', \
         'say', 'hello', 'sleep', '600']\n"
    ));
    let line = format!("exec {} up --sandbox", binary().display());
    let mut command = project.command(Path::new("script"), &["-q", "-f", "-e", "-c", &line, "typed"]);
    command.env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(std::process::Stdio::piped());
    let mut script = Foreground::start(command);
    script.until_says("hello");
    script.until_says("devsup ps");
    script.types(b"\x03");
    let ended = script.finish().ends(130);
    assert!(!ended.stdout.contains("typed at me") && !project.log("a").contains("typed at me"), "{ended:#?}");
    project.until_gone();
}
