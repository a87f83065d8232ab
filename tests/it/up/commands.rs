//! The verbs that concern one service: what each does, what it leaves alone, and its exit codes.

use devsup::supervisor::State;

use crate::project::{Project, misbehave, wait_until};

const MANIFEST: &str = r#"
name = "shop"
[services.a]
command = "sleep 600"
depends_on = ["db"]
[services.b]
command = "sleep 600"
[services.db]
command = "sleep 600"
"#;

fn state(project: &Project, name: &str) -> State {
    project.service(name).state
}

#[test]
fn stop_and_start_concern_the_named_alone() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    let (a, b) = (project.service("a").pid, project.service("b").pid);
    project.devsup(&["stop", "a"]).ok();
    assert_eq!(state(&project, "a"), State::Stopped);
    assert!(project.devsup(&["stop", "a"]).ok().stderr.contains("stopped already"), "no silent no-op");
    project.devsup(&["start", "--wait", "a"]).ok();
    assert_eq!(state(&project, "a"), State::Running);
    assert_ne!(project.service("a").pid, a);
    assert_eq!(project.service("b").pid, b);
    assert!(project.devsup(&["start", "a"]).ok().stderr.contains("up already"), "no silent no-op");

    project.devsup(&["stop", "--all"]).ok();
    assert!(project.ps().iter().all(|service| service.state == State::Stopped && service.pid.is_none()));
    project.devsup(&["start", "--wait", "a"]).ok();
    let up = |name: &str| state(&project, name) == State::Running;
    assert_eq!([up("a"), up("b"), up("db")], [true, false, true], "with what it depends on");
    project.devsup(&["stop", "a", "db"]).ok();
    project.devsup(&["start", "--wait", "--no-deps", "a"]).ok();
    assert_eq!([up("a"), up("b"), up("db")], [true, false, false], "without");
    project.devsup(&["start", "--all", "--wait"]).ok();
    let before = project.ps();
    project.devsup(&["restart", "--wait", "--all"]).ok();
    assert!(before.iter().zip(project.ps()).all(|(was, is)| was.pid != is.pid && is.ready));
}

#[test]
fn names_that_do_not_fit_are_usage_or_no_such_service() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    for verb in ["start", "stop", "restart"] {
        project.devsup(&[verb]).ends(2);
        project.devsup(&[verb, "--all", "a"]).ends(2);
    }
    let many: [&[&str]; 9] = [
        &["start", "aa"],
        &["stop", "aa"],
        &["restart", "aa"],
        &["ps", "aa"],
        &["logs", "aa"],
        &["kill", "aa"],
        &["hold", "aa"],
        &["creds", "aa"],
        &["wait", "aa", "--for", "ready"],
    ];
    for args in many {
        let output = project.devsup(args).ends(4);
        assert!(output.stderr.contains("`aa`") && output.stderr.contains("did you mean `a`"), "{output:#?}");
    }
    project.devsup(&["env", "aa"]).ends(4);
    project.devsup(&["exec", "aa", "true"]).ends(125);
}

#[test]
fn ps_tells_by_its_exit_code() {
    let project = Project::new(MANIFEST);
    project.devsup(&["ps"]).ends(5);
    project.up_sandbox();
    project.devsup(&["ps", "a", "b"]).ok();
    project.devsup(&["stop", "b"]).ok();
    project.devsup(&["ps", "a"]).ok();
    project.devsup(&["ps", "b"]).ends(3);
    project.devsup(&["ps", "a", "b"]).ends(3);
    project.devsup(&["status", "nobody"]).ends(4);
    project.devsup(&["ps"]).ok();
    project.devsup(&["-p", "shop", "ps"]).ok();
    assert!(project.devsup(&["ls"]).ok().stdout.contains("shop"));
    let detail = project.devsup(&["ps", "a"]).ok().stdout;
    assert!(detail.contains("SANDBOX") && detail.contains("db"), "{detail}");
}

#[test]
fn wait_for_ready_for_exit_and_for_nothing() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n\
         [services.once]\ncommand = 'sh -c \"while [ ! -e go ]; do sleep 0.05; done\"'\nrestart = 'never'\n",
    );
    project.up_sandbox();
    project.devsup(&["wait", "--for", "ready"]).ok();
    let late = project.devsup(&["wait", "a", "--for", "exit", "--timeout", "1s"]).ends(124);
    assert!(late.stderr.contains("`a`"), "{late:#?}");
    let mut waiting = project.spawn(&["wait", "once", "--for", "exit"]);
    waiting.until_says("once");
    project.write("go", "");
    waiting.finish().ok();
    project.devsup(&["wait", "once", "--for", "exit"]).ok();
    project.devsup(&["wait", "once", "--for", "soon"]).ends(2);
}

#[test]
fn kill_sends_a_signal_to_the_tree_or_to_the_main_process() {
    let words = |said: &str| format!("'on', 'USR1', 'say', '{said}', 'say', 'up', 'sleep', '600'");
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\nbackoff = {{ first = '100ms' }}\n\
         command = ['{}', 'fork', '[', {}, ']', {}]\n",
        misbehave(),
        words("child told"),
        words("main told")
    ));
    project.up_sandbox();
    wait_until("both are up", || project.log("a").matches("up\n").count() == 2);
    project.devsup(&["kill", "-s", "USR1", "--main", "a"]).ok();
    project.until_log("a", "main told");
    assert!(!project.log("a").contains("child told"));
    project.devsup(&["kill", "-s", "SIGUSR1", "a"]).ok();
    project.until_log("a", "child told");
    let before = project.service("a");
    assert_eq!((before.crashes, before.run), (0, Some(1)));
    project.devsup(&["kill", "a"]).ok();
    let after = project.until_one("a", |a| a.run > Some(1) && a.ready, "it is up again");
    assert_ne!(after.pid, before.pid);
    let events = project.events();
    assert!(
        events.iter().any(|event| event.event == "exited" && event.more.get("crash") == Some(&true.into())),
        "what was not asked to stop has crashed: {events:#?}"
    );
    project.devsup(&["kill", "-s", "NONSENSE", "a"]).ends(2);
    project.devsup(&["stop", "a"]).ok();
    project.devsup(&["kill", "a"]).ends(3);
}

#[test]
fn events_say_who_did_what() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    project.devsup(&["restart", "--wait", "b"]).ok();
    project.devsup(&["stop", "a"]).ok();
    let events = project.events();
    let asked = |service: &str| {
        let mut of = events.iter().filter(|event| event.service.as_deref() == Some(service) && event.by.is_some());
        of.next_back().expect("somebody asked for it").by.clone().expect("just looked")
    };
    let me = devsup::sys::users::own_uid();
    assert_eq!((asked("a").uid, asked("b").uid), (me, me));
    assert!(!asked("a").user.is_empty());
    assert!(events.iter().any(|event| event.event == "replaced" && event.service.as_deref() == Some("b")));
    let times: Vec<&String> = events.iter().map(|event| &event.time).collect();
    assert!(times.is_sorted(), "{times:?}");
    let table = project.devsup(&["events"]).ok().stdout;
    assert!(table.lines().count() == events.len() && table.contains(&asked("b").user), "{table}");
    let mut follow = project.spawn(&["events", "-f", "--format", "json"]);
    follow.until_says("\"stopped\"");
    project.devsup(&["start", "a"]).ok();
    follow.until_says("\"run\":2");
}
