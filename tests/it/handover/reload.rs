//! A manifest that changes: ports of what did not change stay, the others move.

use super::{Callers, SERVES, call, one, refused, served_by, until_runs, up};
use crate::project::{Project, wait_until};
use crate::ready::address;

fn reload(project: &Project, manifest: &str) {
    project.write("services.toml", manifest);
    project.devsup(&["reload"]).ok();
}

#[test]
fn ports_of_untouched_services_stay_bound() {
    for handover in ["socket", "forward"] {
        let (at, moved, to) = (address(), address(), address());
        let manifest = |where_b: &str, word: &str| {
            let b = one(SERVES, where_b, handover, "")
                .replace("name = 'shop'\n", "")
                .replace("[services.a]", "[services.b]");
            format!("{}\n{b}\nenv = {{ WORD = '{word}' }}\n", one(SERVES, &at, handover, ""))
        };
        let manifest = |where_b: &str, word: &str| manifest(where_b, word).replace("\n\n\nenv", "\nenv");
        let project = up(&manifest(&moved, "before"));
        let before = project.service("a").pid;
        let callers = Callers::begin(&at);
        let mut held = call(&at).expect("up");
        assert_eq!(held.run().expect("served"), 1);
        project.write("services.toml", &manifest(&to, "before"));
        let dry = project.devsup(&["reload", "--dry-run"]).ok();
        assert!(dry.stdout.contains('b') || dry.stderr.contains('b'), "{dry:#?}");
        assert_eq!(served_by(&moved).expect("nothing has changed"), 1);
        assert!(refused(&to));
        reload(&project, &manifest(&to, "before"));
        project.until_one("b", |b| b.run == Some(2) && b.ready, "it has moved");
        assert!(refused(&moved), "let go");
        assert_eq!(served_by(&to).expect("served"), 2);
        reload(&project, &manifest(&to, "after"));
        project.until_one("b", |b| b.run == Some(3) && b.ready, "it has changed");
        // Gone with its service.
        reload(&project, &one(SERVES, &at, handover, ""));
        wait_until("b is let go", || refused(&to));
        assert_eq!(held.says("hi").expect("served all along"), "run 1: hi");
        assert_eq!(project.service("a").pid, before);
        callers.end_well();
    }
}

/// Each hands it over in another way, at the same address.
#[test]
fn a_port_may_be_handed_over_in_another_way_from_now_on() {
    let at = address();
    let project = up(&one(SERVES, &at, "none", ""));
    for (run, handover) in (2..).zip(["socket", "forward", "none", "forward", "socket", "none"]) {
        reload(&project, &one(SERVES, &at, handover, ""));
        project.until_one("a", |a| a.run == Some(run) && a.ready, handover);
        until_runs(&project, &[run]);
        assert_eq!(served_by(&at).expect("served"), run, "{handover}");
        let a = project.service("a");
        assert_eq!((a.ports[0].handover.as_str(), a.crashes), (handover, 0), "{a:#?}");
    }
    project.devsup(&["stop", "a"]).ok();
    assert!(refused(&at));
}

/// Until now devsup knew nothing of its port. It is taken over from the service's own run, whatever `replace` says.
#[test]
fn a_port_that_the_manifest_did_not_know_is_taken_over() {
    for replace in ["restart", "overlap"] {
        let at = address();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.sock").display().to_string();
        for at in [at, path] {
            let command = crate::faults::badly(&SERVES.replace("WHERE", &at));
            let project =
                up(&format!("name = 'shop'\n[services.a]\ncommand = {command}\nready = {{ log = '^ready' }}\n"));
            reload(&project, &one(SERVES, &at, "forward", &format!("replace = '{replace}'")));
            project.until_one("a", |a| a.run == Some(2) && a.ready, "it is replaced");
            if !at.starts_with('/') {
                assert_eq!(served_by(&at).expect("served"), 2);
            }
        }
    }
}

#[test]
fn a_port_that_is_gone_from_the_manifest_is_refused() {
    for handover in ["socket", "forward"] {
        let (at, other) = (address(), address());
        let two = |more: &str| {
            format!(
                "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\nready = {{ exec = 'true' }}\n\
                 ports.http = {{ listen = '{at}', handover = '{handover}' }}\n{more}"
            )
        };
        let project = up(&two(&format!("ports.other = {{ listen = '{other}', handover = '{handover}' }}\n")));
        call(&other).expect("devsup listens");
        reload(&project, &two(""));
        project.until_one("a", |a| a.run == Some(2) && a.ready, "it is replaced");
        assert!(refused(&other));
        call(&at).expect("devsup listens");
        reload(&project, "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n");
        project.until_one("a", |a| a.run == Some(3) && a.ready, "it is replaced");
        assert!(refused(&at));
    }
}
