//! Ports that somebody else may have: `auto` goes out of their way, `none` waits until they let go.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};

use devsup::control::api::Service;
use devsup::supervisor::State;

use super::{SERVES, call, one, served_by, up};
use crate::faults::badly;
use crate::means::root_for;
use crate::project::{Foreground, Project, wait_until};
use crate::ready::address;
use crate::system::{Person, open_folder};

fn place(project: &Project) -> String {
    project.service("a").ports[0].listen.clone()
}

#[test]
fn an_auto_port_stays_is_nobody_elses_and_makes_way_for_a_stranger() {
    let manifest = format!(
        "{}\n[services.b]\ncommand = {}\nenv = {{ PEER = '${{ports.a.http}}' }}\n[services.c]\ncommand = 'echo number ${{ports.a.http.port}}; exec sleep 600'\n",
        one(SERVES, "127.0.0.1:auto", "forward", ""),
        badly("value PEER sleep 600")
    );
    let (first, other) = (up(&manifest), up(&manifest));
    let at = place(&first);
    assert_ne!(at, place(&other), "two at once");
    assert_eq!(served_by(&at).expect("served"), 1);
    first.until_log("b", &format!("PEER={at}\n"));
    first.until_log("c", &format!("number {}\n", at.strip_prefix("127.0.0.1:").expect("an address")));
    let again = |project: &Project| {
        project.devsup(&["down"]).ok();
        project.devsup(&["up", "-d", "--wait"]).ok();
        place(project)
    };
    assert_eq!(again(&first), at, "it stays");
    first.devsup(&["down"]).ok();
    let stranger = TcpListener::bind(&at).expect("nobody has it");
    first.devsup(&["up", "-d", "--wait"]).ok();
    let next = place(&first);
    assert_ne!(next, at, "a stranger has it");
    call(&next).expect("ours").run().expect("served");
    drop(stranger);
    assert_eq!(again(&first), next, "it is remembered");
    first.until_log("b", &format!("PEER={next}\n"));
}

#[test]
fn two_people_with_one_manifest_have_two_numbers() {
    if !root_for("two people") {
        return;
    }
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\nready = { exec = 'true' }\n\
         ports.http = { listen = '127.0.0.1:auto', handover = 'socket' }\n",
    );
    let binary = open_folder(&project);
    fs::set_permissions(project.path("services.toml"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let people = [65_534, 65_533].map(|uid| {
        let home = project.path(&format!("home-{uid}"));
        fs::create_dir(&home).expect("a home");
        chown(&home, Some(uid), Some(uid)).expect("given away");
        let person = Person { project: &project, binary: binary.clone(), uid, group: uid };
        move |args: &[&str]| {
            let mut command = person.command(args);
            command.env("HOME", &home).env("XDG_STATE_HOME", home.join("state"));
            Foreground::start(command).finish()
        }
    });
    let places = people.each_ref().map(|one| {
        one(&["up", "-d", "--wait"]).ok();
        let ps: Service = serde_json::from_str(&one(&["ps", "--format", "json"]).ok().stdout).expect("a service");
        ps.ports[0].listen.clone()
    });
    let reached = places.each_ref().map(|at| call(at).is_ok());
    for one in &people {
        one(&["down"]).ok();
    }
    assert!(places[0] != places[1] && reached == [true, true], "{places:?} {reached:?}");
}

#[test]
fn a_start_waits_until_a_stranger_lets_the_port_go_and_names_them() {
    for handover in ["none", "socket", "forward"] {
        let at = address();
        let stranger = TcpListener::bind(&at).expect("nobody else has it");
        let project = Project::new(&one(SERVES, &at, handover, ""));
        let _typed = project.spawn(&["up", "-d"]);
        let user = devsup::sys::users::name(devsup::sys::users::own_uid());
        let comm = devsup::sys::tree::look(std::process::id()).expect("ourselves").comm;
        let words = format!("{at} is held by pid {} ({comm}) of {user}", std::process::id());
        let a = project.until_one("a", |a| a.why.as_ref() == Some(&words), &words);
        assert_eq!((a.state, a.crashes, a.run), (State::Waiting, 0, None), "{a:#?}");
        let detail = project.devsup(&["ps", "a"]).ends(3).stdout;
        assert!(detail.contains(&words), "{detail}");
        let events = project.events();
        assert!(
            events.iter().any(|event| event.reason.as_ref().is_some_and(|why| why.contains(&words))),
            "{events:#?}"
        );
        drop(stranger);
        let a = project.until_one("a", |a| a.ready, "it is free");
        assert_eq!((a.run, a.crashes), (Some(1), 0));
        assert_eq!(served_by(&at).expect("served"), 1);
    }
}

/// A port that the service opens itself is closed for a while; how long is told.
#[test]
fn the_gap_of_a_replacement_is_told() {
    let at = address();
    let project = up(&one(SERVES, &at, "none", ""));
    project.write("slow", "");
    let typed = project.spawn(&["restart", "a"]);
    wait_until("nobody listens", || super::refused(&at));
    project.write("go", "");
    typed.finish().ok();
    assert_eq!(served_by(&at).expect("served"), 2);
    let replaced = || project.events().into_iter().find(|event| event.event == "replaced");
    wait_until("it is told", || replaced().is_some());
    let replaced = replaced().expect("just seen");
    assert!(
        replaced.more.get("gap_ms").and_then(serde_json::Value::as_u64).is_some_and(|gap| gap > 0),
        "{replaced:#?}"
    );
    assert!(!replaced.more.contains_key("waited_ms") || replaced.more["waited_ms"].is_null(), "{replaced:#?}");
    let text = project.devsup(&["events"]).ok().stdout;
    assert!(text.contains("gap"), "{text}");
}
