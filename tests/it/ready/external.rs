//! Services that others run: asked, shown, waited for, never started.

use std::net::TcpListener;

use devsup::supervisor::State;

use super::address;
use crate::project::Project;

#[test]
fn a_dependent_waits_until_the_other_is_there_and_it_is_seen_to_go() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n\
         [services.db]\nready = {{ tcp = '{at}', interval = '50ms' }}\n\
         [services.a]\ncommand = 'sleep 600'\ndepends_on = {{ db = 'ready' }}\n"
    ));
    // It waits until `a` is started.
    let up = project.spawn(&["up", "-d"]);
    let refused = |text: &String| text.contains("connection refused");
    let all = project.until(
        |all| all.iter().any(|one| one.name == "db" && (refused(&one.status) || one.why.as_ref().is_some_and(refused))),
        "it says why it is not there",
    );
    assert!(all.iter().all(|one| one.pid.is_none()), "{all:#?}");
    let db = TcpListener::bind(&at).expect("nobody else has it");
    project.until(|all| all.iter().all(|one| one.ready), "both are ready");
    up.finish().ok();
    assert!(project.service("db").external && project.service("db").pid.is_none());
    drop(db);
    project.until_one("db", |db| !db.ready, "it went away");
    let _db = TcpListener::bind(&at).expect("it is free again");
    project.until_one("db", |db| db.ready, "it is back");
    let a = project.service("a");
    assert_eq!((a.run, a.ready), (Some(1), true), "who depends on it is left alone: {a:#?}");
}

#[test]
fn another_address_is_asked_after_the_manifest_changed() {
    let (before, after) = (address(), address());
    let manifest = |at: &str| {
        format!(
            "name = 'shop'\n[services.db]\nready = {{ tcp = '{at}', interval = '50ms' }}\n[services.a]\ncommand = 'sleep 600'\n"
        )
    };
    let _db = TcpListener::bind(&before).expect("nobody else has it");
    let project = Project::new(&manifest(&before));
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.write("services.toml", &manifest(&after));
    project.devsup(&["up", "-d"]);
    let says = |text: &String| text.contains(&after);
    project.until_one(
        "db",
        |db| !db.ready && (says(&db.status) || db.why.as_ref().is_some_and(says)),
        "the other is asked",
    );
    let _moved = TcpListener::bind(&after).expect("nobody else has it");
    project.until_one("db", |db| db.ready, "it is there");
}

#[test]
fn what_cannot_be_asked_of_it_says_why() {
    let at = address();
    let db = TcpListener::bind(&at).expect("nobody else has it");
    let project = Project::new(&format!(
        "name = 'shop'\n[services.db]\nready = {{ tcp = '{at}', interval = '50ms' }}\n[services.a]\ncommand = 'exit 3'\nrestart = 'never'\n\
         [services.b]\ncommand = 'sleep 600'\nautostart = false\n"
    ));
    project.devsup(&["up", "-d", "db"]).ok();
    for (args, code) in [
        (&["kill", "db"][..], 1),
        (&["stop", "db"], 1),
        (&["hold", "db"], 1),
        (&["env", "db"], 1),
        (&["exec", "db"], 125),
        (&["exec", "db", "--", "true"], 125),
    ] {
        let refused = project.devsup(args).ends(code);
        assert!(refused.stderr.contains("service `db`: devsup does not run it, it only watches it"), "{refused:#?}");
    }
    for name in ["db", "b"] {
        let empty = project.devsup(&["logs", name]).ok();
        assert_eq!(empty.stderr, format!("{name} has no log: devsup has not run it\n"));
        assert!(project.devsup(&["logs", "--path", name]).ok().stderr.contains("devsup has not run it"));
    }
    // A word of the shell's own is no program that could be missing.
    project.devsup(&["up", "-d", "a"]);
    // The exit is told before the tree is known to be empty.
    let a = project.until_one("a", |a| a.exit.is_some() && a.state != State::Stopping, "it has ended");
    assert_eq!(a.status, "failed: exit 3");
    project.devsup(&["restart", "b", "--wait"]).ok();
    let waited = project.devsup(&["wait", "b", "--for", "exit", "--timeout", "3s"]).ends(124);
    assert!(waited.stderr.contains("running   b") && !waited.stderr.contains("starting"), "{waited:#?}");
    drop(db);
}
