//! A run that was ready and is well no more.

use super::{address, words};
use crate::project::Project;

/// Scenario 9: ready, not well, ready again.
#[test]
fn a_run_that_fails_its_live_check_is_replaced_and_is_no_crash() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ http = 'http://{at}/', interval = '50ms' }}\n\
         live = {{ http = 'http://{at}/', interval = '50ms', failures = 2 }}\n",
        words(&format!("http {at} code sleep 600"))
    ));
    project.write("code", "200");
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.write("code", "500");
    project.until_one("a", |a| a.run > Some(1), "another run");
    project.write("code", "200");
    let a = project.until_one("a", |a| a.ready, "it is ready again");
    assert_eq!(a.crashes, 0, "{a:#?}");
    let events = project.events();
    let unwell = events.iter().find(|event| event.event == "unhealthy").expect("it was said");
    assert!(unwell.reason.as_ref().is_some_and(|why| why.contains("500 Said")), "{unwell:#?}");
    assert!(!events.iter().any(|event| event.event == "backoff"), "{events:#?}");
}

#[test]
fn an_exec_check_keeps_its_run_alive_for_as_long_as_it_ends_well() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n\
         live = { exec = 'echo asked >> asked; test ! -e sick', interval = '50ms', failures = 3 }\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    let asked = || std::fs::read_to_string(project.path("asked")).unwrap_or_default().lines().count();
    crate::project::wait_until("it was asked often", || asked() > 5);
    assert_eq!(project.service("a").run, Some(1));
    project.write("sick", "");
    project.until_one("a", |a| a.run > Some(1), "another run");
}

#[test]
fn a_stranger_who_took_the_port_makes_unwell() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n\
         live = {{ tcp = '{at}', interval = '50ms', failures = 2 }}\n"
    ));
    let _stranger = std::net::TcpListener::bind(&at).expect("nobody else has it");
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_one("a", |a| a.run > Some(1), "another run");
    let events = project.events();
    let unwell = events.iter().find(|event| event.event == "unhealthy").expect("it was said");
    assert!(unwell.reason.as_ref().is_some_and(|why| why.contains("not by this service")), "{unwell:#?}");
}
