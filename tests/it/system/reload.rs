//! `reload`: what changed is applied, what did not is not touched, and a manifest with an error changes nothing.

use devsup::control::api::Reloaded;
use devsup::supervisor::State;

use crate::project::Project;

const BEFORE: &str = r#"
name = "shop"
[services.same]
command = ["sleep", "600"]
[services.other]
command = ["sleep", "601"]
[services.gone]
command = ["sleep", "602"]
[services.down]
command = ["sleep", "603"]
"#;

/// `same` is written in another way and means the same.
const AFTER: &str = r#"
name = "shop"
[services.new]
command = ["sleep", "604"]
[services.asleep]
command = ["sleep", "605"]
autostart = false
[services.other]
command = ["sleep", "606"]
[services.down]
command = ["sleep", "607"]
# as it was
[services.same]
autostart = true
command = ["sleep", "600"]
"#;

fn reloaded(project: &Project, args: &[&str]) -> Reloaded {
    let args: Vec<&str> = [&["reload", "--format", "json"], args].concat();
    serde_json::from_str(&project.devsup(&args).ok().stdout).expect("an object")
}

#[test]
fn what_changed_is_applied_and_the_rest_keeps_its_pids() {
    let project = Project::new(BEFORE);
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.devsup(&["stop", "down"]).ok();
    let before = project.ps();
    let pid = |name: &str| before.iter().find(|service| service.name == name).and_then(|service| service.pid);
    let same = project.devsup(&["reload"]).ok();
    assert!(same.stderr.contains("no service has changed"), "no silent no-op: {same:#?}");
    project.write("services.toml", AFTER);
    let said = reloaded(&project, &["--dry-run"]);
    let lists = [&said.added, &said.changed, &said.removed, &said.untouched];
    assert_eq!(lists.map(|list| list.join(" ")), ["asleep new", "down other", "gone", "same"]);
    assert_eq!(project.ps(), before_again(&project, &before), "it was only said");
    let done = reloaded(&project, &[]);
    assert_eq!(done, said);
    let after = project.until(
        |all| {
            let one = |name: &str| all.iter().find(|service| service.name == name);
            one("new").is_some_and(|new| new.ready)
                && one("gone").is_none()
                && one("other").is_some_and(|other| other.ready && other.pid != pid("other"))
        },
        "it is applied",
    );
    let one = |name: &str| after.iter().find(|service| service.name == name).expect("it is in the manifest");
    assert_eq!(one("same").pid, pid("same"), "untouched");
    assert_eq!((one("same").restarts, one("other").restarts), (0, 1));
    assert_eq!(one("down").state, State::Stopped, "what a person has stopped stays so");
    project.devsup(&["ps", "asleep"]).ends(3);
}

/// Uptime goes on; all else is as it was.
fn before_again(project: &Project, before: &[devsup::control::api::Service]) -> Vec<devsup::control::api::Service> {
    let now = project.ps();
    let uptime = |name: &str| now.iter().find(|service| service.name == name).and_then(|service| service.uptime_s);
    before
        .iter()
        .map(|service| devsup::control::api::Service { uptime_s: uptime(&service.name), ..service.clone() })
        .collect()
}

#[test]
fn a_manifest_with_an_error_changes_nothing_and_is_said() {
    let project = Project::new(BEFORE);
    project.devsup(&["up", "-d", "--wait"]).ok();
    let before: Vec<_> = project.ps().into_iter().map(|service| (service.name, service.pid)).collect();
    project.write("services.toml", &format!("{AFTER}[services.bad]\ncomand = \"x\"\n"));
    for args in [&["reload"][..], &["reload", "--dry-run"]] {
        let refused = project.devsup(args).ends(2);
        assert!(refused.stderr.contains("comand") && refused.stderr.contains("services.toml"), "{refused:#?}");
    }
    let after: Vec<_> = project.ps().into_iter().map(|service| (service.name, service.pid)).collect();
    assert_eq!(before, after);
    project.devsup(&["down"]).ok();
    project.devsup(&["reload"]).ends(5);
}

#[test]
fn what_had_failed_is_tried_again_with_its_new_meaning() {
    let project =
        Project::new("name = \"shop\"\n[services.a]\ncommand = [\"/nonexistent/program\"]\nrestart = \"never\"\n");
    project.devsup(&["up", "-d"]).ends(1);
    project.write("services.toml", "name = \"shop\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n");
    project.devsup(&["reload"]).ok();
    project.until_one("a", |a| a.ready, "it runs");
}

/// Scenario 90: one is being started, its dependent waits, and the manifest says something else of both.
#[test]
fn a_change_while_services_start_is_what_they_are_started_with() {
    let manifest = |word: &str, port: u16| {
        format!(
            "name = \"shop\"\n[services.slow]\ncommand = ['sh', '-c', 'echo {word}; exec sleep 600']\n\
             ready = {{ tcp = \"127.0.0.1:{port}\" }}\n[services.later]\ncommand = ['sh', '-c', 'echo {word}; exec sleep 601']\n\
             depends_on = {{ slow = \"ready\" }}\n"
        )
    };
    // Nobody ever listens there, so it goes on starting.
    let project = Project::new(&manifest("before", 1));
    let typed = project.spawn(&["up", "-d"]);
    project.until_log("slow", "before");
    let first = project.service("slow").pid;
    project.write("services.toml", &manifest("after", 1).replace("ready = { tcp = \"127.0.0.1:1\" }\n", ""));
    project.devsup(&["reload"]).ok();
    let all = project.until(|all| all.iter().all(|one| one.ready), "both are up with the new meaning");
    typed.finish().ok();
    assert!(all.iter().all(|one| one.crashes == 0 && (one.name != "slow" || one.pid != first)), "{all:#?}");
    assert_eq!((project.log("slow"), project.log("later")), ("before\nafter\n".into(), "after\n".into()));
}
