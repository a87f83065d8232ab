//! `user`, `group`, `umask`, `nice`, `limits`: what a run, `exec` and `env` get of them.

use devsup::sys::{accounts, users};

use crate::project::{Project, misbehave};

const SOMEBODY: u32 = 65534;

#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn is_root() -> bool {
    let root = users::own_uid() == 0;
    if !root {
        println!("SKIPPED: becoming another user needs root");
    }
    root
}

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
    if !is_root() {
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
    if !is_root() {
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
    let root = users::own_uid() == 0;
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
    assert_eq!(warned(&output.stderr), users::own_uid() == 0, "{output:?}");
    let seen = project.devsup(&["ps"]).ok();
    assert!(!warned(&seen.stderr), "once is enough: {seen:?}");
    if is_root() {
        project.write("services.toml", AS_SOMEBODY);
        let output = project.up_sandbox();
        assert!(!warned(&output.stderr), "{output:?}");
    }
}

#[test]
fn umask_nice_and_limits_of_the_manifest_reach_the_run() {
    let nice = devsup::sys::limits::niceness().expect("our own").saturating_add(2).min(19);
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\numask = '027'\nnice = {nice}\nlimits = {{ nofile = 64, core = 0 }}\n\
         command = [{:?}, 'touch', 'made', 'show', '/proc/self/limits', 'show', '/proc/self/stat', 'say', 'end', 'sleep', '600']\n",
        misbehave()
    ));
    project.up_sandbox();
    project.until_log("a", "end\n");
    let log = project.log("a");
    let files = log.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a line");
    assert_eq!(files.split_whitespace().next(), Some("64"), "{log}");
    let stat = log.rsplit(") ").next().expect("a name in parentheses");
    assert_eq!(stat.split_whitespace().nth(16), Some(nice.to_string().as_str()), "{log}");
    let made = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(project.path("made")).expect("made"));
    assert_eq!(made & 0o777, 0o640);
}
