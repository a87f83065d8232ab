//! Many who connect and say nothing, or little by little: nobody else waits for them, and they do not stay.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Stolen, get, shop};
use crate::project::DEADLINE;

/// More than there is room for.
const CROWD: usize = 400;

fn closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        // Without an answer, or with one that says that it took too long.
        Ok(_) => !String::from_utf8_lossy(&text).contains("HTTP/1.1 200"),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn who_is_silent_keeps_nobody_waiting_and_does_not_stay() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    let at = Stolen::of(&project, "a").host;
    let connect = || TcpStream::connect(&at).expect("it listens");
    let mut crowd = Vec::new();
    for round in 0..4 {
        crowd.extend((0..CROWD / 4).map(|_| connect()));
        assert_eq!(get(&project, "a").status, 200, "round {round}");
    }
    let mut drip: Vec<TcpStream> = (0..20).map(|_| connect()).collect();
    for stream in &mut drip {
        stream.write_all(b"GET /v1/creds/x HTTP/1.1\r\nHost: ").expect("it reads");
    }
    assert_eq!(get(&project, "b").status, 200);
    for stream in crowd.iter_mut().chain(&mut drip) {
        assert!(closed(stream));
    }
    assert_eq!(get(&project, "a").status, 200);
}

#[test]
fn what_is_no_http_ends_its_own_connection_only() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    let at = Stolen::of(&project, "a").host;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    for words in ["\r\n\r\n", "\u{16}\u{3}\u{1}", "SSH-2.0-x\r\n", &long, &many] {
        let mut stream = TcpStream::connect(&at).expect("it listens");
        // It may be closed before all is sent.
        stream.write_all(words.as_bytes()).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        assert!(closed(&mut stream), "{} bytes", words.len());
        assert_eq!(get(&project, "a").status, 200);
    }
}
