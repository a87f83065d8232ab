//! `up --system` as systemd sees it: its main process, what it is told, how it ends; and what everybody else finds.

use std::fs;

use devsup::supervisor::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::{Unit, alive, ends, mode};
use crate::means::root_for;
use crate::project::{Foreground, Project, binary, misbehave, wait_until};

const CALM: &str = "name = \"calm\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n[services.b]\ncommand = [\"sleep\", \"600\"]\ndepends_on = [\"a\"]\n";

#[test]
fn it_says_ready_when_all_are_and_ends_in_order_when_it_is_told_to() {
    let unit = Unit::new(CALM);
    let daemon = unit.start();
    let heard = unit.until_told("READY=1");
    assert!(heard.contains("STATUS=0 of 2 ready; waiting for a, b"), "{heard}");
    assert_eq!(heard.matches("READY=1").count(), 1, "{heard}");
    assert!(heard.contains("STATUS=2 of 2 ready"), "{heard}");
    let folders = ["run/calm", "run/calm/control.sock", "run/calm/project.json", "var/state", "var/logs"];
    let modes = folders.map(|folder| mode(&unit.project.path(folder)));
    assert_eq!(modes, [0o755, 0o666, 0o644, 0o700, 0o700]);
    let pids: Vec<u32> = unit.project.ps().iter().filter_map(|service| service.pid).collect();
    daemon.signal(Signal::SIGTERM);
    let heard = unit.until_told("STOPPING=1");
    assert!(heard.contains("stopping a, b"), "{heard}");
    let output = daemon.finish().ok();
    assert!(output.stdout.is_empty() && output.stderr.contains("shuts down"), "its log is on stderr: {output:#?}");
    assert!(pids.len() == 2 && pids.iter().all(|pid| !alive(*pid)));
    assert!(!unit.project.path("run/calm/control.sock").exists());
    unit.project.devsup(&["ps"]).ends(5);
}

/// Folders, sockets and names that are devsup's own affair.
#[test]
fn nothing_that_systemd_tells_devsup_reaches_a_service() {
    let mut unit = Unit::new("name = \"own\"\n[services.a]\ncommand = \"env; echo end; exec sleep 600\"\n");
    let told = [
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
        "LOGS_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "WATCHDOG_USEC",
        "SYSTEMD_EXEC_PID",
        "MAINPID",
        "MANAGERPID",
    ];
    for name in told {
        let folder = unit.project.path("run/own").display().to_string();
        unit.project.env.entry(name.into()).or_insert(folder);
    }
    let daemon = unit.start();
    unit.until_told("READY=1");
    unit.project.env.remove("RUNTIME_DIRECTORY");
    wait_until("the service has said all", || unit.project.devsup(&["logs", "a"]).stdout.contains("a | end"));
    let log = unit.project.devsup(&["logs", "a"]).ok().stdout;
    assert!(log.contains("a | DEVSUP_SERVICE=a\n"), "{log}");
    let leaked: Vec<&str> = told.into_iter().filter(|name| log.contains(&format!("a | {name}="))).collect();
    assert!(leaked.is_empty(), "{leaked:?} in {log}");
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
}

#[test]
fn what_cannot_get_ready_is_named_and_holds_nobody_up() {
    let manifest = "name = \"half\"\n[services.good]\ncommand = [\"sleep\", \"600\"]\n\
                    [services.bad]\ncommand = \"exit 3\"\nrestart = \"never\"\n\
                    [services.after]\ncommand = [\"sleep\", \"600\"]\ndepends_on = [\"never\"]\n\
                    [services.never]\ncommand = [\"/nonexistent/program\"]\nrestart = \"never\"\n";
    let (unit, daemon) = Unit::up(manifest);
    let heard = unit.told();
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
    let unit = Unit::new(manifest);
    let daemon = unit.start();
    let heard = format!("{heard}{}", unit.until_told("READY=1"));
    assert!(heard.contains("1 of 4 ready") && heard.contains("bad: failed"), "{heard}");
    assert!(heard.contains("after: waits for never"), "{heard}");
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
}

/// The same as a person without a project of their own, and as one who has one.
#[test]
fn commands_go_to_ones_own_project_first_and_else_to_the_shared_one() {
    let (unit, daemon) = Unit::up(CALM);
    let project = &unit.project;
    let found = project.devsup(&["ps"]).ok();
    assert_eq!(found.stderr.matches("system project `calm`").count(), 1, "{found:#?}");
    let list = project.devsup(&["ls"]).ok().stdout;
    let owner = devsup::sys::users::name(Uid::effective().as_raw());
    assert!(list.contains("KIND") && list.contains("system") && list.contains(&owner), "{list}");
    let refused = project.devsup(&["up", "-d"]).ends(1);
    assert!(refused.stderr.contains("system project `calm`") && refused.stderr.contains("--own"), "{refused:#?}");
    let shared = project.service("a").pid;
    project.devsup(&["up", "-d", "--own", "--wait"]).ok();
    let own = project.devsup(&["-p", "calm", "ps"]).ok();
    assert!(!own.stderr.contains("system project"), "{own:#?}");
    assert_ne!(project.service("a").pid, shared, "one's own comes first");
    project.devsup(&["-p", "calm@system", "stop", "b"]).ok();
    assert_eq!(project.service("b").state, State::Running);
    project.devsup(&["up", "-d"]).ok();
    project.devsup(&["down"]).ok();
    assert_eq!(project.service("a").pid, shared, "what is down does not stand before what is up");
    project.devsup(&["down"]).ok();
    ends(daemon, 0);
}

#[test]
fn a_second_one_and_a_bad_manifest_end_with_a_reason() {
    let (unit, daemon) = Unit::up(CALM);
    let second = unit.start().finish().ends(1);
    assert!(second.stderr.contains("is up already"), "{second:#?}");
    unit.project.write("services.toml", "[services.a]\ncomand = \"x\"\n");
    let bad = unit.start().finish().ends(2);
    assert!(bad.stderr.contains("comand"), "{bad:#?}");
    unit.project.write("services.toml", &super::fit(&format!("{CALM}[access]\nlook = \"no-such-group\"\n")));
    let bad = unit.start().finish().ends(2);
    assert!(bad.stderr.contains("there is no such group") && bad.stderr.contains("services.toml:"), "{bad:#?}");
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
}

#[test]
fn as_root_each_service_needs_a_user() {
    if !root_for("that services need a user") {
        return;
    }
    let unit = Unit::new("name = \"x\"");
    unit.project.write("services.toml", CALM);
    let refused = unit.start().finish().ends(2);
    for name in ["a", "b"] {
        assert!(refused.stderr.contains(&format!("service `{name}` has no `user`")), "{refused:#?}");
    }
    assert!(refused.stderr.contains("services.toml:2: ") && refused.stderr.contains("[defaults]"), "{refused:#?}");
    let warned = unit.project.devsup(&["up", "-d"]).ok();
    assert!(warned.stderr.contains("a, b run as root"), "a personal project only warns: {warned:#?}");
}

/// The unit's `ExecStopPost`: what the keepers still end is waited for, however devsup died.
#[test]
fn the_end_of_a_killed_devsups_services_is_waited_for() {
    let manifest = format!(
        "name = \"stubborn\"\n[services.a]\nstop_timeout = \"2s\"\ncommand = [\"{}\", \"ignore\", \"TERM\", \"say\", \"up\", \"sleep\", \"600\"]\n",
        misbehave()
    );
    let (unit, mut daemon) = Unit::up(&manifest);
    let await_empty = |within: &str| {
        Foreground::start(unit.project.command(&binary(), &["__await-empty", "--within", within])).finish()
    };
    let pid = unit.project.service("a").pid.expect("it runs");
    let still = await_empty("0").ends(1);
    assert!(still.stderr.contains("`a` (run 1, keeper "), "{still:#?}");
    kill(Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid")), Signal::SIGKILL).expect("it lives");
    assert!(daemon.ended(crate::project::DEADLINE).is_some());
    await_empty("60").ok();
    assert!(!alive(pid), "it was waited for");
    let daemon = unit.start();
    unit.until_told("READY=1");
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
}

/// At boot the machine's identity may come up after us.
#[test]
fn a_missing_base_identity_is_no_lasting_reason_so_soon() {
    let mut unit = Unit::new(
        "name = \"early\"\n[aws]\nregion = \"us-east-1\"\n\
         [services.a]\ncommand = [\"sleep\", \"600\"]\nrole = \"arn:aws:iam::033145145979:role/a\"\n",
    );
    unit.project.env.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
    let daemon = unit.start();
    let refused = |service: &devsup::control::api::Service| {
        service.credentials.as_ref().and_then(|held| held.error.clone()).map(|error| (error.code, error.lasting))
    };
    let mut found = None;
    wait_until("it was asked for", || {
        let output = unit.project.devsup(&["ps", "--format", "json"]);
        let services = output.stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
        found = services.into_iter().find_map(|service| refused(&service));
        found.is_some()
    });
    assert_eq!(found, Some(("NoBaseCredentials".to_owned(), false)));
    let heard = unit.told();
    assert!(heard.contains("waiting for a") && !heard.contains("READY=1"), "{heard}");
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
}

/// A user unit: a project of one's own, whose devsup is the unit's main process.
#[test]
fn a_unit_of_ones_own_is_a_personal_project() {
    let project = Project::new(CALM);
    let mut command = project.command(&binary(), &["up", "--unit"]);
    command.env("JOURNAL_STREAM", "1:2");
    let daemon = Foreground::start(command);
    let up = project.until(|all| all.len() == 2 && all.iter().all(|service| service.ready), "both are ready");
    assert_eq!(up.len(), 2);
    let state = project.state().expect("a state folder of its own");
    assert_eq!(mode(&state.join("control.sock")), 0o600);
    assert!(fs::read_dir(project.path("run")).is_err(), "nothing is published");
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
    let waited = project.command(&binary(), &["__await-empty", "--manifest", "services.toml"]);
    Foreground::start(waited).finish().ok();
}
