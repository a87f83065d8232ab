//! `user`, `group`, `umask`, `nice`, `limits`: what a run, `exec` and `env` get of them.

use std::path::Path;

use devsup::sys::{accounts, limits};

use crate::means::{is_root, root_for};
use crate::project::{Foreground, Project, binary, misbehave};

const SOMEBODY: u32 = 65534;

const AS_SOMEBODY: &str = "name = 'shop'\n[services.a]\nuser = '65534'\ngroup = '65534'\nworking_dir = '/'\n\
    env = { OWN = 'yes' }\n\
    command = 'echo \"$(id -u) $(id -g) $(id -G) $HOME $USER $LOGNAME $(printenv SSH_AUTH_SOCK || echo none) $(printenv XDG_STATE_HOME || echo none) $OWN\"; exec sleep 600'\n";

/// What the line above comes to.
fn somebody() -> String {
    let known = accounts::by_uid(SOMEBODY).expect("a lookup");
    let (home, name) = known.map_or(("/".into(), SOMEBODY.to_string()), |user| (user.home, user.name));
    format!("65534 65534 65534 {} {name} {name} none none yes\n", home.display())
}

#[test]
fn a_service_has_its_users_numbers_and_home_and_nothing_of_the_callers_session() {
    if !root_for("becoming another user") {
        return;
    }
    let mut project = Project::new(AS_SOMEBODY);
    project.env.insert("SSH_AUTH_SOCK".into(), "/tmp/agent".into());
    project.up_sandbox();
    project.until_log("a", &somebody());
    assert_eq!(project.service("a").user.as_deref(), Some("65534"));
    project.devsup(&["restart", "a"]).ok();
    project.devsup(&["stop", "a"]).ok();
}

#[test]
fn exec_and_env_are_what_a_run_would_get() {
    if !root_for("becoming another user") {
        return;
    }
    let mut project = Project::new(AS_SOMEBODY);
    project.env.insert("SSH_AUTH_SOCK".into(), "/tmp/agent".into());
    project.up_sandbox();
    let script = "echo \"$(id -u) $(id -g) $(id -G) $HOME $USER $LOGNAME $(printenv SSH_AUTH_SOCK || echo none) $(printenv XDG_STATE_HOME || echo none) $OWN\"";
    let said = project.devsup(&["exec", "a", "--", "/bin/sh", "-c", script]).ok().stdout;
    assert_eq!(said, somebody());
    let status = project.devsup(&["exec", "a", "--", "cat", "/proc/self/status"]).ok().stdout;
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    let env = project.devsup(&["env", "a"]).ok();
    assert!(env.stdout.contains("USER=") && !env.stdout.contains("SSH_AUTH_SOCK="), "{env:?}");
    assert!(env.stderr.contains("SSH_AUTH_SOCK"), "what was removed is named: {env:?}");
}

#[test]
fn who_may_not_or_cannot_become_a_user_is_told_so_everywhere() {
    let root = is_root();
    let user = if root { "no-such-user-of-a-test" } else { "0" };
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\nuser = '{user}'\nrestart = 'never'\ncommand = 'sleep 600'\n"
    ));
    project.devsup(&["up", "-d", "--sandbox"]);
    let said = if root { "this machine has no such user" } else { "only root may start it so" };
    let words = format!("`user = \"{user}\"`: {said}");
    crate::project::wait_until("it is said why", || {
        project.events().iter().any(|event| event.reason.as_ref().is_some_and(|reason| reason.contains(&words)))
    });
    for args in [&["env", "a"][..], &["exec", "a", "true"][..]] {
        let output = project.devsup(args);
        assert!(output.status != 0 && output.stderr.contains(&words), "{output:?}");
    }
}

#[test]
fn a_service_that_stays_root_is_a_warning_of_the_project() {
    let warned = |output: &str| output.contains("a runs as root, as devsup does; `user`");
    let project = Project::new("name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n");
    let output = project.up_sandbox();
    assert_eq!(warned(&output.stderr), is_root(), "{output:?}");
    let seen = project.devsup(&["ps"]).ok();
    assert!(!warned(&seen.stderr), "once is enough: {seen:?}");
    if root_for("becoming another user") {
        project.write("services.toml", AS_SOMEBODY);
        let output = project.up_sandbox();
        assert!(!warned(&output.stderr), "{output:?}");
    }
}

/// Soft and hard, as `limits` of /proc has them.
fn limit<'a>(limits: &'a str, name: &str) -> [&'a str; 2] {
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {limits}"));
    let mut words = line.split_whitespace();
    [words.next().expect("soft"), words.next().expect("hard")]
}

#[test]
fn the_daemon_takes_all_the_files_it_may_open_and_services_have_the_limits_of_the_shell() {
    let show = format!("[{:?}, 'show', '/proc/self/limits', 'say', 'end', 'sleep', '600']", misbehave());
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = {show}\n[services.b]\ncommand = {show}\nlimits = {{ nofile = 64 }}\n"
    ));
    // So that there is something to take.
    let typed = "ulimit -Sn 300; ulimit -Hn 1000; exec \"$0\" up -d --wait --sandbox";
    let shell = project.command(Path::new("sh"), &["-c", typed, &binary().display().to_string()]);
    Foreground::start(shell).finish().ok();
    for (service, files) in [("a", ["300", "1000"]), ("b", ["64", "64"])] {
        project.until_log(service, "end\n");
        assert_eq!(limit(&project.log(service), "Max open files"), files, "{service}");
    }
    let core = limits::hard(limits::Resource::Core).map_or_else(|| "unlimited".to_owned(), |hard| hard.to_string());
    assert_eq!(limit(&project.log("a"), "Max core file size")[1], core, "only the daemon's own is taken away");
    let daemon = crate::faults::daemon(&project);
    let daemon = std::fs::read_to_string(format!("/proc/{daemon}/limits")).expect("everybody may");
    assert_eq!(limit(&daemon, "Max open files"), ["1000"; 2]);
    assert_eq!(limit(&daemon, "Max core file size")[0], "0");
}

#[test]
fn umask_nice_and_limits_of_the_manifest_reach_the_run() {
    let nice = limits::niceness().expect("our own").saturating_add(2).min(19);
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\numask = '027'\nnice = {nice}\nlimits = {{ nofile = 64, core = 0 }}\n\
         command = [{:?}, 'touch', 'made', 'show', '/proc/self/limits', 'show', '/proc/self/stat', 'say', 'end', 'sleep', '600']\n",
        misbehave()
    ));
    project.up_sandbox();
    project.until_log("a", "end\n");
    let log = project.log("a");
    assert_eq!(limit(&log, "Max open files"), ["64"; 2]);
    let stat = log.rsplit(") ").next().expect("a name in parentheses");
    assert_eq!(stat.split_whitespace().nth(16), Some(nice.to_string().as_str()), "{log}");
    let made = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(project.path("made")).expect("made"));
    assert_eq!(made & 0o777, 0o640);
}

/// Where the controller is there the kernel holds the tree to it; else nothing starts without what was asked for.
#[test]
fn a_limit_of_the_whole_tree_is_kept_or_refused_and_never_ignored() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\nrestart = 'never'\nlimits = { memory = '64MiB' }\ncommand = 'sleep 600'\n",
    );
    let up = project.devsup(&["up", "-d", "--wait", "--sandbox"]);
    if up.status == 0 {
        let most =
            project.cgroups().iter().find_map(|group| std::fs::read_to_string(group.join("a.1/memory.max")).ok());
        assert_eq!(most.as_deref().map(str::trim), Some("67108864"), "{:#?}", project.service("a"));
    } else {
        assert!(up.stderr.contains("`limits.memory` needs the cgroup controller `memory`: "), "{up:#?}");
        assert_eq!(project.alive(), [], "nothing was started");
    }
}
