//! Ports that somebody else may have: `auto` goes out of their way, `none` waits until they let go.

use std::net::TcpListener;

use devsup::supervisor::State;

use super::{SERVES, call, one, served_by, up};
use crate::faults::badly;
use crate::project::{Project, wait_until};
use crate::ready::address;

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
        let detail = project.devsup(&["ps", "a"]).ok().stdout;
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
