//! A service of one project at the socket of another of the same user.

use std::os::unix::fs::PermissionsExt;

use devsup::supervisor::State;

use crate::project::{Project, binary};

const TARGET: &str = "name = \"target\"\n[services.b]\ncommand = [\"sleep\", \"600\"]\n";

fn nosy(target: &Project, words: &str) -> String {
    let env = format!("env = {{ XDG_STATE_HOME = \"{}\" }}", target.path("state").display());
    let file = target.path("services.toml");
    format!(
        "name = \"nosy\"\n[services.a]\n{env}\ncommand = '''\n\
         tell() {{ \"$DEVSUP\" -f {} \"$@\" > /dev/null 2> why; echo \"$1: $? $(grep -c 'another project' why)\"; }}\n\
         {words}\necho tried; exec sleep 600\n'''\n",
        file.display()
    )
}

#[test]
fn a_service_of_another_project_may_look_and_not_command() {
    let target = Project::new(TARGET);
    target.devsup(&["up", "-d", "--wait"]).ok();
    let words = "tell ps; tell stop b; tell restart b; tell env b --reveal --force; tell reload\n\
                 ( setsid sh -c \"true\"; tell hold b; tell down; echo orphan > orphaned ) & wait";
    let other = Project::new(&nosy(&target, words));
    other.devsup(&["up", "-d", "--wait"]).ok();
    other.until_log("a", "tried");
    let log = other.log("a");
    assert!(log.contains("ps: 0 0\n"), "{log}");
    for verb in ["stop", "restart", "env", "reload", "hold", "down"] {
        assert!(log.contains(&format!("{verb}: 6 1\n")), "{verb} is not permitted: {log}");
    }
    let b = target.service("b");
    assert!(b.state == State::Running && b.restarts == 0 && b.held.is_none(), "{b:#?}");
    let refused = target.events().into_iter().filter(|event| event.event == "refused").count();
    assert_eq!(refused, 6, "each is an event");
}

/// Whoever brings a project up inside a service is its owner there.
#[test]
fn a_project_that_was_brought_up_inside_a_service_obeys_it() {
    let target = Project::new(TARGET);
    let other = Project::new(&nosy(&target, "tell up -d --wait; tell restart b; tell down"));
    other.devsup(&["up", "-d", "--wait"]).ok();
    other.until_log("a", "tried");
    let log = other.log("a");
    for verb in ["up", "restart", "down"] {
        assert!(log.contains(&format!("{verb}: 0 0\n")), "{log}");
    }
}

/// A name alone makes no keeper: what any script may call itself must not take its user's rights.
#[test]
fn a_script_that_is_called_like_a_keeper_is_none() {
    let target = Project::new(TARGET);
    target.devsup(&["up", "-d", "--wait"]).ok();
    let script = target.path("keep:me");
    std::fs::write(&script, format!("#!/bin/sh\n\"{}\" restart b\nexit $?\n", binary().display())).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let output = crate::project::Foreground::start(target.command(&script, &[])).finish();
    // Root's own processes cannot be told apart by what may be read of them: there the name counts.
    let expected = if crate::means::is_root() { 6 } else { 0 };
    assert_eq!(output.status, expected, "{output:#?}");
}
