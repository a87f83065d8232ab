//! Services that are asked until they are ready: tcp, http, exec; and those that never are.

use super::{address, words};
use crate::faults::callers::own_state;
use crate::project::Project;

/// The events of a project as `service event`, oldest first.
fn events(project: &Project) -> Vec<String> {
    let line = |event: devsup::control::api::Event| format!("{} {}", event.service.unwrap_or_default(), event.event);
    project.events().into_iter().map(line).collect()
}

#[track_caller]
fn comes_before(events: &[String], first: &str, second: &str) {
    let at = |wanted: &str| events.iter().position(|event| event == wanted);
    assert!(at(first).is_some() && at(first) < at(second), "`{first}` before `{second}`: {events:#?}");
}

#[test]
fn a_dependent_starts_when_the_port_answers() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n\
         [services.db]\ncommand = {}\nready = {{ tcp = '{at}' }}\n\
         [services.a]\ncommand = 'sleep 600'\ndepends_on = {{ db = 'ready' }}\n",
        words(&format!("wait-for go listen {at} sleep 600"))
    ));
    // It waits until both are started.
    let up = project.spawn(&["up", "-d"]);
    let all = project.until(
        |all| {
            all.iter()
                .any(|one| one.name == "db" && one.why.as_ref().is_some_and(|why| why.contains("connection refused")))
        },
        "db says why it is not ready",
    );
    let a = all.iter().find(|one| one.name == "a").expect("a");
    assert!(a.pid.is_none() && a.status.contains("db"), "{a:#?}");
    project.write("go", "");
    project.until(|all| all.iter().all(|one| one.ready), "both are ready");
    comes_before(&events(&project), "db ready", "a starting");
    up.finish().ok();
}

#[test]
fn http_is_ready_with_a_status_below_400_and_says_the_other() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ http = 'http://{at}/health?x=1', interval = '50ms' }}\n",
        words(&format!("http {at} code sleep 600"))
    ));
    project.write("code", "503");
    project.devsup(&["up", "-d"]);
    let says = format!("GET http://{at}/health?x=1: 503 Said");
    project.until_one("a", |a| a.why.as_ref().is_some_and(|why| why.contains(&says)), &says);
    project.write("code", "302");
    project.until_one("a", |a| a.ready, "it is ready");
}

#[test]
fn what_does_not_speak_http_is_said() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ http = 'http://{at}/' }}\n",
        words(&format!("listen {at} sleep 600"))
    ));
    project.devsup(&["up", "-d"]);
    let closed = "closed without an answer";
    let reset = "the connection was reset";
    let says = |why: &String| why.contains(closed) || why.contains(reset);
    project.until_one("a", |a| a.why.as_ref().is_some_and(says), closed);
}

#[test]
fn an_exec_probe_says_its_last_line() {
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\nready = {{ exec = {}, interval = '50ms' }}\n",
        "\"test -e there || { echo no such table >&2; exit 3; }\""
    ));
    project.devsup(&["up", "-d"]);
    project.until_one("a", |a| a.why.as_ref().is_some_and(|why| why.contains("exit 3: no such table")), "why");
    project.write("there", "");
    project.until_one("a", |a| a.ready, "it is ready");
}

#[test]
fn what_the_keeper_hears_makes_ready() {
    let project = Project::new(&format!(
        "name = 'shop'\n\
         [services.fd]\ncommand = {}\nready = {{ fd = 3 }}\n\
         [services.log]\ncommand = {}\nready = {{ log = '^up on [0-9]+$' }}\n\
         [services.notify]\ncommand = {}\nready = {{ notify = true }}\n\
         [services.silent]\ncommand = 'sleep 600'\nready = {{ notify = true }}\n",
        words("write-fd 3 up sleep 600"),
        "['sh', '-c', 'echo up on 80; exec sleep 600']",
        words("notify STATUS=warm\\nREADY=1 sleep 600"),
    ));
    project.devsup(&["up", "-d"]);
    let so = |all: &[devsup::control::api::Service]| all.iter().all(|one| one.ready == (one.name != "silent"));
    project.until(so, "three are ready");
    project.until_one("notify", |one| one.said.as_deref() == Some("warm"), "its status is shown");
    let silent = project.service("silent");
    assert!(silent.why.as_ref().is_some_and(|why| why.contains("READY=1")), "{silent:#?}");
}

/// Scenario 8.
#[test]
fn one_that_is_not_ready_in_time_is_said_and_left_running() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ tcp = '{at}', timeout = '300ms', interval = '50ms' }}\n",
        words(&format!("wait-for go listen {at} sleep 600"))
    ));
    project.devsup(&["up", "-d"]);
    let late = project.until_one("a", |a| a.overdue, "it is late");
    assert!(late.pid.is_some() && late.run == Some(1), "{late:#?}");
    project.write("go", "");
    let ready = project.until_one("a", |a| a.ready, "it is ready after all");
    assert_eq!((ready.pid, ready.run, ready.crashes), (late.pid, Some(1), 0), "{ready:#?}");
}

/// Scenarios 5 and 6.
#[test]
fn one_that_exits_before_it_is_ready_is_said_and_its_dependents_do_not_hang() {
    for (words_of_it, restart) in [("exit 0", "on-failure"), ("exit 1", "never")] {
        let at = address();
        let project = Project::new(&format!(
            "name = 'shop'\n\
             [services.db]\ncommand = {}\nrestart = '{restart}'\nready = {{ tcp = '{at}' }}\n\
             [services.a]\ncommand = 'sleep 600'\ndepends_on = {{ db = 'ready' }}\n",
            words(words_of_it)
        ));
        let output = project.devsup(&["up", "-d", "--wait"]).ends(1);
        assert!(output.stderr.contains("`db`") && output.stderr.contains("`a`"), "{output:#?}");
        let a = project.service("a");
        assert!(a.pid.is_none() && a.status.contains("db"), "{a:#?}");
    }
}

/// Scenario 27, as a person sees it.
#[test]
fn a_stop_during_a_probe_does_not_wait_for_it() {
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\nready = {{ exec = {} }}\n",
        words("ignore TERM touch asks sleep 600")
    ));
    project.devsup(&["up", "-d"]);
    crate::project::wait_until("it is asked", || project.path("asks").exists());
    project.devsup(&["stop", "a"]).ok();
    let a = project.until_one("a", |a| a.pid.is_none(), "it is stopped");
    assert_eq!(a.crashes, 0, "{a:#?}");
}

/// Scenario 44, with checks: what is asked leaves nothing open in who asks.
#[test]
fn many_restarts_leave_no_descriptor() {
    let at = address();
    let project = Project::new(&format!(
        "name = 'shop'\n\
         [services.a]\ncommand = {}\nready = {{ tcp = '{at}', interval = '50ms' }}\nlive = {{ tcp = '{at}', interval = '50ms' }}\n\
         [services.b]\ncommand = 'sleep 600'\nready = {{ exec = 'true', interval = '50ms' }}\nlive = {{ exec = 'true', interval = '50ms' }}\n",
        words(&format!("listen {at} sleep 600"))
    ));
    project.devsup(&["up", "-d", "--wait"]).ok();
    // Connections and commands come and go: the least of many looks is what stays.
    let least = || (0..10).map(|_| own_state(&project).fds).min().expect("ten looks");
    let before = least();
    for n in 2..=15 {
        project.devsup(&["restart", "--all"]).ok();
        project.until(|all| all.iter().all(|one| one.ready && one.run == Some(n)), "both are ready again");
    }
    crate::project::wait_until("as many descriptors are open as before", || least() <= before);
}
