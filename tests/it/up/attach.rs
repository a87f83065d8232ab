//! One project, one daemon: two `up` at once, shells that differ, and `down` from elsewhere.

use nix::sys::signal::Signal;

use crate::project::{Foreground, Project};

const MANIFEST: &str = r#"
name = "shop"
[services.a]
command = "sh -c 'while :; do echo tick; sleep 0.2; done'"
[services.b]
command = "sleep 600"
"#;

/// Those who attached say so.
fn attached(up: &Foreground) -> bool {
    up.so_far().stderr.contains("attached to")
}

/// How many processes go by this name.
fn called(name: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("there is one").flatten();
    processes
        .filter(|one| std::fs::read_to_string(one.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name))
        .count()
}

#[test]
fn two_at_once_are_one_daemon_and_the_second_only_looks() {
    // A name of its own: a daemon's memory, folder and environment are its own, but its name is there for everybody.
    let project = Project::new(&MANIFEST.replace("shop", "two-ups"));
    let mut ups = [project.spawn(&["up", "--sandbox"]), project.spawn(&["up", "--sandbox"])];
    for up in &mut ups {
        up.until_says("a | tick");
    }
    let second = usize::from(!attached(&ups[0]));
    assert!(attached(&ups[second]) && !attached(&ups[1 - second]), "{:#?}", ups.map(|up| up.so_far()));
    assert_eq!(called("devsup:two-ups"), 1);

    let [one, two] = ups;
    let (first, second) = if second == 1 { (one, two) } else { (two, one) };
    let before = project.ps();
    second.signal(Signal::SIGINT);
    let left = second.finish().ends(130);
    assert!(left.stderr.contains("stays up") && left.stderr.contains("devsup down"), "{left:#?}");
    let after = project.ps();
    assert!(before.iter().zip(&after).all(|(was, is)| was.pid == is.pid), "it only left");

    first.signal(Signal::SIGINT);
    first.finish().ends(130);
    project.devsup(&["ps"]).ends(5);
    project.until_gone();
}

#[test]
fn a_second_up_when_all_is_up_starts_nothing() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    let before = project.ps();
    let again = project.up_sandbox();
    assert!(again.stderr.contains("is up already"), "{again:#?}");
    let after = project.ps();
    assert!(before.iter().zip(&after).all(|(was, is)| was.pid == is.pid && was.run == is.run));
}

#[test]
fn a_shell_with_a_runtime_folder_and_one_without_find_the_same_daemon() {
    let mut project = Project::new(MANIFEST);
    // So deep that the socket cannot lie in the state folder and must be found by what the lock says.
    let deep = project.path(&"deep/".repeat(20));
    let runtime = project.path("runtime");
    std::fs::create_dir(&runtime).expect("a folder");
    let runtime = runtime.display().to_string();
    for (state, with) in [(None, true), (None, false), (Some(&deep), true), (Some(&deep), false)] {
        let state = state.map_or_else(|| project.path("state"), Clone::clone);
        project.env.insert("XDG_STATE_HOME".into(), state.display().to_string());
        let turn = |project: &mut Project, on: bool| {
            let name = "XDG_RUNTIME_DIR".to_owned();
            if on {
                project.env.insert(name, runtime.clone())
            } else {
                project.env.remove(&name)
            };
        };
        turn(&mut project, with);
        project.up_sandbox();
        let pids = |project: &Project| project.ps().into_iter().map(|service| service.pid).collect::<Vec<_>>();
        let before = pids(&project);
        turn(&mut project, !with);
        assert_eq!(pids(&project), before);
        assert!(project.up_sandbox().stderr.contains("is up already"));
        assert_eq!(pids(&project), before);
        project.devsup(&["down"]).ok();
        project.until_gone();
    }
}

#[test]
fn down_from_another_terminal_ends_the_one_in_the_foreground() {
    let project = Project::new(MANIFEST);
    let mut up = project.spawn(&["up", "--sandbox"]);
    up.until_says("devsup ps");
    up.until_says("a | tick");
    let down = project.devsup(&["down"]).ok();
    assert!(down.stderr.contains("shop is down"), "{down:#?}");
    let ended = up.finish().ok();
    assert!(ended.stderr.contains("brought down"), "{ended:#?}");
    project.until_gone();
    project.devsup(&["down"]).ends(5);
}
