//! How `up` ends: how long it waits, for what, with which exit code; and what a second `up` applies.

use crate::project::Project;

#[test]
fn wait_counts_a_one_shot_that_ended_well() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n[services.once]\ncommand = 'sh -c \"echo migrated\"'\n",
    );
    let output = project.devsup(&["up", "-d", "--wait", "--sandbox"]).ok();
    assert!(output.stdout.is_empty() && output.stderr.contains("ready"), "{output:#?}");
    let all = project.ps();
    assert!(all.iter().any(|service| service.name == "a" && service.ready), "{all:#?}");
    assert!(all.iter().any(|service| service.name == "once" && service.status == "done"), "{all:#?}");
}

#[test]
fn one_that_fails_is_one_and_the_others_go_on() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n\
         [services.bad]\ncommand = 'sh -c \"exit 3\"'\nrestart = 'never'\n",
    );
    let output = project.devsup(&["up", "-d", "--wait", "--sandbox"]).ends(1);
    assert!(output.stderr.contains("`bad`") && output.stderr.contains("exit 3"), "{output:#?}");
    assert!(project.service("a").ready);
    project.devsup(&["up", "-d", "--wait", "--sandbox"]).ends(1);
}

#[test]
fn wait_gives_up_when_told_and_leaves_the_services_alone() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n\
         [services.slow]\ncommand = 'sh -c \"exit 1\"'\nbackoff = { first = '10m', max = '10m' }\n",
    );
    let output = project.devsup(&["up", "-d", "--wait", "--wait-timeout", "2s", "--sandbox"]).ends(124);
    assert!(output.stderr.contains("`slow`"), "{output:#?}");
    assert!(project.service("a").ready);
    project.devsup(&["wait", "slow", "--for", "ready", "--timeout", "1s"]).ends(124);
}

#[test]
fn a_command_that_is_not_there_is_said_with_its_name() {
    let project = Project::new("name = 'shop'\n[services.a]\ncommand = './no-such-thing'\nrestart = 'never'\n");
    let output = project.devsup(&["up", "-d", "--sandbox"]).ends(1);
    assert!(output.stderr.contains("no-such-thing"), "{output:#?}");
}

#[test]
fn in_the_foreground_the_exit_code_is_that_of_the_one_chosen() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n\
         [services.t]\ncommand = 'sh -c \"echo tested; exit 7\"'\nrestart = 'never'\n",
    );
    let output = project.devsup(&["up", "--sandbox", "--exit-code-from", "t"]).ends(7);
    assert!(output.stdout.contains("t | tested"), "{output:#?}");
    project.until_gone();
}

#[test]
fn in_the_foreground_it_ends_when_nothing_wanted_is_left() {
    for (end, code) in [("true", 0), ("exit 4", 1)] {
        let project = Project::new(&format!(
            "name = 'shop'\n[services.a]\ncommand = 'sh -c \"echo one; true\"'\n\
             [services.b]\ncommand = 'sh -c \"echo two; {end}\"'\nrestart = 'never'\n"
        ));
        let output = project.devsup(&["up", "--sandbox"]).ends(code);
        assert!(output.stdout.contains("a | one") && output.stdout.contains("b | two"), "{output:#?}");
        project.until_gone();
    }
}

const THREE: &str = r#"
name = "shop"
[services.a]
command = "sleep 600"
[services.b]
command = "sleep 600"
[services.c]
command = "sleep 600"
"#;

#[test]
fn up_again_applies_what_changed_and_nothing_else() {
    let project = Project::new(THREE);
    project.up_sandbox();
    let pid = |name: &str| project.service(name).pid;
    let before = (pid("a"), pid("b"));

    project.write("services.toml", &THREE.replace("[services.b]", "# a word\n[services.b]  # more"));
    project.up_sandbox();
    assert_eq!((pid("a"), pid("b")), before, "a comment means nothing");

    let edited = "name = 'shop'\n[services.d]\ncommand = 'sleep 600'\n\
                  [services.b]\nenv = { X = '1' }\ncommand = 'sleep 600'\n[services.a]\ncommand = 'sleep 600'\n";
    project.write("services.toml", edited);
    project.up_sandbox();
    let names = |all: &[devsup::control::api::Service]| all.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    let all = project.until(|all| names(all) == ["a", "b", "d"] && all.iter().all(|s| s.ready), "d came and c went");
    assert_eq!(all[0].pid, before.0, "a is untouched");
    assert_ne!(all[1].pid, before.1, "b has another environment");
    assert_eq!(all[1].crashes, 0);
    let said = project.devsup(&["logs", "b"]).ok().stdout;
    assert!(said.contains("manifest changed"), "{said}");
}

#[test]
fn up_starts_what_is_named_and_what_starts_by_itself() {
    let project = Project::new(&THREE.replace("[services.c]", "[services.c]\nautostart = false"));
    project.devsup(&["up", "-d", "--wait", "--sandbox", "b"]).ok();
    let up = |name: &str| project.ps().iter().any(|service| service.name == name && service.ready);
    assert_eq!([up("a"), up("b"), up("c")], [false, true, false]);
    project.up_sandbox();
    assert_eq!([up("a"), up("b"), up("c")], [true, true, false]);
    assert!(!project.devsup(&["ps"]).ok().stdout.contains("\nc "), "it was never meant to start");
    assert!(project.devsup(&["ps", "-a"]).ok().stdout.contains("\nc "));
    project.devsup(&["start", "--wait", "c"]).ok();
    assert!(up("c"));
}

#[test]
fn a_rehearsal_names_what_would_start_and_starts_nothing() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\ndepends_on = ['db']\n[services.db]\ncommand = 'sleep 600'\n\
         [services.b]\ncommand = 'sleep 600'\ndepends_on = ['other']\n[services.other]\ncommand = 'sleep 600'\n",
    );
    let would = |args: &[&str]| {
        let said = project.devsup(args).ok().stdout;
        said.lines().filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(would(&["up", "--dry-run"]).len(), 4);
    assert_eq!(would(&["up", "--dry-run", "a"]), ["a", "db"]);
    assert_eq!(would(&["up", "--dry-run", "--no-deps", "a"]), ["a"]);
    assert!(!project.path("state").exists());
}
