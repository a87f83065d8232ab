//! Logs through the control socket, for those who cannot open the files.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::logs::{LATE, MANIFEST, RELOADED};
use crate::faults::socket;
use crate::project::{DEADLINE, Project};

/// Whoever asks for a service twice, through the socket, has each line once.
#[test]
fn the_socket_gives_each_line_once() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    project.until_log("billing", "wrong");
    let ask = |query: &str| {
        let mut stream = UnixStream::connect(socket(&project)).expect("it listens");
        write!(stream, "GET /v1/logs?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    for query in ["service=billing", "service=billing&service=billing", "service=billing&service=a&service=billing"] {
        let answer = ask(query);
        for line in ["one", "two", "three", "wrong"] {
            let count = answer.matches(&format!("\"line\":\"{line}\"")).count();
            assert_eq!(count, 1, "{query}, {line}: {answer}");
        }
    }
    assert!(ask("service=billing&service=nobody").contains("no service `nobody`"), "{}", ask("service=nobody"));
}

/// Whether it is followed or not.
#[test]
fn the_socket_gives_what_a_removed_service_wrote_too() {
    let project = Project::new(&format!("{LATE}{RELOADED}"));
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_log("added", "here I am");
    project.write("services.toml", LATE);
    project.devsup(&["reload"]).ok();
    for query in ["", "follow=true"] {
        let mut stream = UnixStream::connect(socket(&project)).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        write!(stream, "GET /v1/logs?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
        assert!(lines.any(|line| line.expect("an answer").contains("here I am")), "{query}");
    }
}
