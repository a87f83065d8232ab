//! `forward`: devsup listens, and every run has a number of its own.

use std::io::BufReader;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::{Call, SERVES, call, one, refused, served_by, up};
use crate::faults::badly;
use crate::project::{DEADLINE, Project, wait_until};
use crate::ready::address;

#[test]
fn each_port_has_a_number_of_its_own_by_its_name() {
    let (http, project) = (address(), Project::new(""));
    let path = project.path("admin.sock");
    let command = badly(
        "value PORT_HTTP value PORT_ADMIN_LINE value PORT answer PORT_HTTP answer PORT_ADMIN_LINE say ready sleep 600",
    );
    project.write(
        "services.toml",
        &format!(
            "name = 'shop'\n[services.a]\ncommand = {command}\nready = {{ log = '^ready' }}\nenv = {{ MINE = '${{PORT_HTTP}}' }}\n\
             [services.a.ports]\nhttp = {{ listen = '{http}', handover = 'forward' }}\n\
             admin-line = {{ listen = '{}', handover = 'forward' }}\n",
            path.display()
        ),
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    let log = project.log("a");
    let number = |name: &str| {
        let value = log.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).expect("it was said");
        value.parse::<u16>().expect("a number")
    };
    assert_ne!(number("PORT_HTTP"), number("PORT_ADMIN_LINE"));
    assert!(log.contains("PORT=\n"), "there are two: {log}");
    let env = project.devsup(&["env", "a"]).ok().stdout;
    assert!(env.contains(&format!("MINE={}\n", number("PORT_HTTP"))), "{env}");
    assert_eq!(served_by(&http).expect("served"), 1);
    let stream = UnixStream::connect(&path).expect("devsup listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut line = Call(BufReader::new(stream));
    assert_eq!(line.run().expect("served"), 1);
    assert_eq!(line.says("hi").expect("an answer"), "run 1: hi");
    project.devsup(&["stop", "a"]).ok();
    assert!(refused(&http) && !path.exists());
    project.devsup(&["env", "a"]).ok();
}

#[test]
fn who_has_said_his_last_still_hears_the_rest() {
    let at = address();
    let _project = up(&one(SERVES, &at, "forward", ""));
    let mut line = call(&at).expect("up");
    assert_eq!(line.run().expect("served"), 1);
    assert_eq!(line.says("hi").expect("an answer"), "run 1: hi");
    line.0.get_ref().shutdown(Shutdown::Write).expect("connected");
    assert_eq!(line.hears().expect("the rest"), "run 1, the end");
    assert!(line.hears().is_err(), "and the end");
}

#[test]
fn callers_wait_for_a_late_service_and_no_longer_than_the_port_says() {
    let (short, long) = (address(), address());
    let project = Project::new(&format!(
        "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ tcp = 'long', interval = '50ms' }}\n[services.a.ports]\n\
         short = {{ listen = '{short}', handover = 'forward', wait = '300ms' }}\n\
         long = {{ listen = '{long}', handover = 'forward', wait = '1m' }}\n",
        badly("wait-for go answer PORT_SHORT answer PORT_LONG sleep 600")
    ));
    let typed = project.spawn(&["up", "-d", "--wait"]);
    wait_until("devsup listens", || call(&long).is_ok());
    let mut patient = call(&long).expect("devsup listens");
    let closed = call(&short).expect("devsup listens").run().expect_err("nobody is there");
    assert_eq!(closed.kind(), std::io::ErrorKind::UnexpectedEof);
    let one =
        |ports: &[devsup::control::api::Port]| ports.iter().any(|port| port.name == "long" && port.waiting == Some(1));
    project.until_one("a", |a| one(&a.ports), "one waits");
    project.write("go", "");
    assert_eq!(patient.run().expect("served"), 1);
    typed.finish().ok();
    assert_eq!(served_by(&short).expect("served"), 1);
}

#[test]
fn ps_says_where_how_and_to_whom() {
    let (http, passed, own) = (address(), address(), address());
    let project = up(&format!(
        "name = 'shop'\n[services.a]\ncommand = {}\nready = {{ tcp = 'http', interval = '50ms' }}\n[services.a.ports]\n\
         http = {{ listen = '{http}', handover = 'forward' }}\npassed = {{ listen = '{passed}', handover = 'socket' }}\n\
         own = {{ listen = '{own}', handover = 'none' }}\n",
        badly(&format!("answer PORT_HTTP answer fd:3 answer {own} sleep 600"))
    ));
    let mut line = call(&http).expect("up");
    assert_eq!(line.run().expect("served"), 1);
    let table = project.devsup(&["ps"]).ok().stdout;
    assert!(table.contains("PORTS") && [&http, &passed, &own].iter().all(|at| table.contains(*at)), "{table}");
    let detail = project.devsup(&["ps", "a"]).ok().stdout;
    let a = project.service("a");
    let pid = a.pid.expect("it runs");
    for words in [
        format!("http {http}, forwarded to run 1: 1 connection\n"),
        format!("passed {passed}, devsup's socket, passed to each run\n"),
        format!("own {own}, pid {pid} (misbehave) of "),
    ] {
        assert!(detail.contains(&words), "{words}: {detail}");
    }
    let port = |name: &str| a.ports.iter().find(|port| port.name == name).expect("a port");
    let (http_port, own_port) = (port("http"), port("own"));
    assert_eq!((http_port.routed_to, http_port.open, http_port.waiting), (Some(1), Some(1), Some(0)));
    assert_eq!((http_port.listen.as_str(), http_port.handover.as_str()), (http.as_str(), "forward"));
    assert_eq!((own_port.routed_to, own_port.open, own_port.waiting), (None, None, None));
    let looked = project.devsup(&["ps", "a", "--format", "json"]).ok().stdout;
    let looked: devsup::control::api::Service = serde_json::from_str(&looked).expect("a service");
    let listener =
        |name: &str| looked.ports.iter().find(|port| port.name == name).and_then(|port| port.listener.clone());
    assert_eq!(listener("http").as_deref(), Some("devsup itself"), "{looked:#?}");
    assert!(listener("own").is_some_and(|who| who.starts_with(&format!("pid {pid} (misbehave)"))), "{looked:#?}");
    drop(line);
    project.until_one("a", |a| a.ports.iter().all(|port| port.open.unwrap_or_default() == 0), "it has left");
}
