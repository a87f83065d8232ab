//! `devsup logs` of real services: over restarts, several together, from the end, into a pipe that closes.

use std::path::Path;

use crate::project::{Foreground, Project, binary};

const MANIFEST: &str = r#"
name = "shop"
[services.a]
command = 'i=0; while :; do i=$((i+1)); echo "a says $i"; sleep 0.1; done'
[services.billing]
command = "echo one; echo two; echo three; echo wrong >&2; exec sleep 600"
"#;

#[test]
fn follow_goes_on_over_a_restart() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    let mut follow = project.spawn(&["logs", "-f", "a"]);
    follow.until_says("a says 2\n");
    project.devsup(&["restart", "a"]).ok();
    follow.until_says("a restarted (restart");
    let said = follow.so_far().stdout;
    let (_, since) = said.split_once("a restarted (restart").expect("just seen");
    assert!(since.contains("run 2"), "{said}");
    project.devsup(&["stop", "a"]).ok();
    project.devsup(&["start", "a"]).ok();
    follow.until_says("run 3");
    project.devsup(&["stop", "a"]).ok();
    let all = project.devsup(&["logs", "a", "--no-log-prefix"]).ok().stdout;
    let last = all.lines().rfind(|line| line.starts_with("a says ")).expect("it said something").to_owned();
    follow.until_says(&last);
    let ones = all.lines().filter(|line| *line == "a says 1").count();
    assert_eq!(ones, 3, "three runs, no line lost or doubled: {all}");
}

#[test]
fn several_together_have_prefixes_and_can_be_cut() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    project.until_log("billing", "wrong");
    project.until_log("a", "a says 3");
    let both = project.devsup(&["logs"]).ok();
    assert!(both.stdout.contains("\na       | a says 1\n") && both.stdout.contains("\nbilling | two\n"), "{both:#?}");
    let last = project.devsup(&["logs", "-n", "2", "--no-log-prefix", "billing"]).ok().stdout;
    assert_eq!(last, "three\nwrong\n");
    assert_eq!(project.devsup(&["logs", "-n", "0", "billing"]).ok().stdout, "");
    let json = project.devsup(&["logs", "billing", "--format", "json"]).ok().stdout;
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert!(lines.iter().any(|line| line["line"] == "wrong" && line["stream"] == "stderr" && line["run"] == 1));
    let path = project.devsup(&["logs", "--path", "billing"]).ok().stdout;
    assert!(std::fs::read_to_string(path.trim_end()).expect("a log").contains("three\n"));
    project.devsup(&["down"]).ok();
    assert!(project.devsup(&["logs", "billing"]).ok().stdout.contains("three"), "the logs stay");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    project.until_log("a", "a says 1");
    for verb in ["logs -f", "logs", "up --sandbox", "events -f", "ps --watch"] {
        let line = format!("{{ '{}' {verb}; echo \"code $?\" >&2; }} | head -n 1", binary().display());
        // What ends when its reader has gone must write once more to notice.
        let piped = Foreground::start(project.command(Path::new("sh"), &["-c", &line]));
        if verb.starts_with("events") || verb.starts_with("ps") {
            project.devsup(&["restart", "billing"]).ok();
        }
        let said = piped.finish().ok();
        assert_eq!(said.stdout.lines().count(), 1, "{verb}: {said:#?}");
        assert!(said.stderr.ends_with("code 0\n") && !said.stderr.contains("error"), "{verb}: {said:#?}");
    }
    project.until(|all| all.iter().any(|one| one.name == "a" && one.ready), "a goes on");
}
