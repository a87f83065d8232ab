//! Scenario 10: somebody else answers on the port.

use std::net::TcpListener;

use super::{address, words};
use crate::project::Project;

#[test]
fn a_stranger_on_the_port_does_not_make_ready_and_is_named() {
    for check in ["tcp = '{}'", "http = 'http://{}/'"] {
        let at = address();
        let project = Project::new(&format!(
            "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ {}, interval = '50ms' }}\n",
            // A zombie of its tree hides nothing.
            words(&format!("fork [ exit 0 ] wait-for go http {at} 200 sleep 600")),
            check.replace("{}", &at)
        ));
        let stranger = TcpListener::bind(&at).expect("nobody else has it");
        project.devsup(&["up", "-d"]);
        let says = format!("{at} is held by pid {} (", std::process::id());
        let so = |why: &String| why.contains(&says) && why.contains(", not by this service");
        let a = project.until_one("a", |a| a.why.as_ref().is_some_and(so), &says);
        assert!(!a.ready, "{a:#?}");
        drop(stranger);
        project.write("go", "");
        project.until_one("a", |a| a.ready, "it is ready when it is its own");
    }
}

/// The commonest stranger: another service of the same manifest.
#[test]
fn another_service_on_the_port_is_named_by_its_name() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n\
         [services.b]\ncommand = {}\nready = {{ tcp = '{at}' }}\n\
         [services.a]\ncommand = 'sleep 600'\nready = {{ tcp = '{at}' }}\ndepends_on = {{ b = 'ready' }}\n",
        words(&format!("listen {at} sleep 600"))
    ));
    project.devsup(&["up", "-d"]);
    let so = |why: &String| why.contains("(service `b`), not by this service");
    project.until_one("a", |a| a.why.as_ref().is_some_and(so), "b is named");
}

/// A grandchild that nobody is the parent of any more listens for the service, on all addresses.
#[test]
fn a_daemonised_grandchild_is_the_service() {
    let at = address();
    let (_, port) = at.split_once(':').expect("a port");
    // A port of its own: it takes that of all addresses.
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    assert_ne!(port, free.to_string());
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ tcp = '127.0.0.1:{free}' }}\n",
        words(&format!("daemon [ listen 0.0.0.0:{free} sleep 600 ] sleep 600"))
    ));
    project.devsup(&["up", "-d", "--wait"]).ok();
    assert!(project.service("a").ready);
}
