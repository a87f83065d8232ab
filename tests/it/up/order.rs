//! Who starts after whom, and who stops before whom.

use crate::project::{Project, misbehave};

#[test]
fn starts_after_its_dependency_and_stops_before_it() {
    let program = misbehave();
    // Each tells when it is asked to end and when it does; `a` takes its time.
    let project = Project::new(&format!(
        "name = 'shop'\n\
         [services.db]\ncommand = ['{program}', 'to', 'told', 'on', 'TERM', 'say', 'db told', 'say', 'db up', 'wait-for', 'never']\n\
         stop_timeout = '1s'\n\
         [services.a]\ncommand = ['{program}', 'to', 'told', 'on', 'TERM', 'touch', 'go', 'say', 'a up', 'wait-for', 'go', \
         'ms', '500', 'say', 'a ends']\ndepends_on = ['db']\n"
    ));
    project.up_sandbox();
    let told = || std::fs::read_to_string(project.path("told")).unwrap_or_default();
    crate::project::wait_until("both have begun", || told().lines().count() == 2);
    assert_eq!(told(), "db up\na up\n");
    let output = project.devsup(&["down"]).ok();
    assert_eq!(told(), "db up\na up\na ends\ndb told\n", "{output:#?}");
    project.until_gone();
}

#[test]
fn a_dependent_of_a_failure_says_for_whom_it_waits() {
    let project = Project::new(
        "name = 'shop'\n[services.db]\ncommand = './no-such-database'\nrestart = 'never'\n\
         [services.a]\ncommand = 'sleep 600'\ndepends_on = ['db']\n",
    );
    let output = project.devsup(&["up", "-d", "--sandbox"]).ends(1);
    assert!(output.stderr.contains("`db`") && output.stderr.contains("`a`: waits for `db`"), "{output:#?}");
    let a = project.service("a");
    assert!(a.pid.is_none() && a.status.contains("waiting for db"), "{a:#?}");
}

#[test]
fn a_failed_service_shows_how_its_runs_ended_and_its_last_lines() {
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = ['{}', 'say', 'no such table: users', 'exit', '3']\nmax_restarts = 1\n\
         backoff = {{ first = '10ms' }}\n",
        misbehave()
    ));
    project.devsup(&["up", "-d", "--sandbox"]);
    crate::project::wait_until("it has given up", || project.service("a").status == "failed: exit 3");
    let a = project.service("a");
    let ended: Vec<_> = a.exits.iter().map(|past| (past.run, past.what.as_str())).collect();
    assert_eq!(ended, [(1, "crashed"), (2, "crashed")], "{a:#?}");
    let shown = project.devsup(&["ps", "a"]).ends(3).stdout;
    for words in [
        "status       failed: exit 3",
        "why          gave up after 2 crashes (max_restarts = 1)",
        "next         `devsup restart a` tries again",
        "last exits",
        "run 2  exit 3 after 0s, crashed",
        "last lines",
        "no such table: users",
    ] {
        assert!(shown.contains(words), "{words} is missing in\n{shown}");
    }
}

#[test]
fn down_says_for_whom_it_waits() {
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = ['{}', 'ignore', 'TERM', 'say', 'deaf', 'sleep', '600']\nstop_timeout = '3s'\n",
        misbehave()
    ));
    project.up_sandbox();
    project.until_log("a", "deaf");
    let output = project.devsup(&["down"]).ok();
    assert!(output.stderr.contains("stopping") && output.stderr.contains("SIGKILL in"), "{output:#?}");
    project.until_gone();
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = ['{}', 'ignore', 'TERM', 'say', 'deaf', 'sleep', '600']\nstop_timeout = '10m'\n",
        misbehave()
    ));
    project.up_sandbox();
    project.until_log("a", "deaf");
    project.devsup(&["down", "-t", "1s"]).ok();
    project.until_gone();
}

/// Scenario 13: a one-shot that ends with 0, with 1, by a signal, and what waits for its completion.
#[test]
fn only_a_one_shot_that_ended_well_has_completed() {
    for (ends, starts) in [(&["exit", "0"][..], true), (&["exit", "1"], false), (&["die", "KILL"], false)] {
        let words: Vec<String> = ends.iter().map(|word| format!(", '{word}'")).collect();
        let project = Project::new(&format!(
            "name = 'shop'\n[services.migrate]\ncommand = ['{}'{}]\nrestart = 'never'\n\
             [services.a]\ncommand = 'sleep 600'\ndepends_on = {{ migrate = 'completed' }}\n",
            misbehave(),
            words.concat()
        ));
        let up = project.devsup(&["up", "-d", "--wait"]);
        let a = project.service("a");
        if starts {
            assert!(up.status == 0 && a.ready, "{up:#?} {a:#?}");
            assert_eq!(project.service("migrate").status, "done");
        } else {
            assert!(up.status == 1 && up.stderr.contains("migrate"), "{up:#?}");
            assert!(a.pid.is_none() && a.status.contains("waiting for migrate, which failed"), "{a:#?}");
        }
    }
}
