//! Callers who come while no run takes them.

use std::net::Shutdown;

use tokio::net::TcpSocket;

use super::*;

#[test]
fn what_was_sent_meanwhile_is_for_the_run_that_comes() {
    let (stage, service) = (Stage::new(), service());
    let mut caller = stage.call();
    send(&mut caller, b"first words");
    caller.shutdown(Shutdown::Write).expect("ended");
    until("he waits", || stage.stats().waiting == 1);
    stage.route(3, &service);
    let mut called = accepted(&service);
    expect(&mut called, b"first words");
    expect_end(&mut called);
    until("he is told of", || stage.stats().open.get(&3) == Some(&1));
    send(&mut called, b"answer");
    drop(called);
    expect(&mut caller, b"answer");
    expect_end(&mut caller);
    let worst = stage.forwarder.take_worst(&stage.port);
    assert!(worst > Duration::ZERO && worst < DEADLINE, "{worst:?}");
    // One who need not wait.
    let _both = stage.connected(&service);
    until("he is connected", || stage.stats().open.get(&3) == Some(&1));
    assert_eq!(stage.forwarder.take_worst(&stage.port), Duration::ZERO);
}

#[test]
fn after_the_wait_he_is_closed_and_counted() {
    let stage = Stage::with(8, Duration::from_millis(100));
    let mut callers = [stage.call(), stage.call()];
    send(&mut callers[1], b"anyone?");
    for caller in &mut callers {
        expect_closed(caller);
    }
    stage.empty();
    let stats = stage.stats();
    assert_eq!(
        (stats.accepted, stats.given_up, stats.worst),
        (2, 2, Duration::from_millis(100)),
        "they waited in vain"
    );
}

#[test]
fn one_who_goes_away_frees_his_place() {
    let stage = Stage::new();
    let silent = stage.call();
    let mut spoke = stage.call();
    send(&mut spoke, b"hello");
    let stays = stage.call();
    until("all wait", || stage.stats().waiting == 3);
    drop(silent);
    until("the silent one went", || stage.forwarder.taken() == 2);
    // What a reset looks like: it is sent in place of the end when one does not linger.
    let _context = stage.forwarder.runtime.enter();
    spoke.set_nonblocking(true).expect("set");
    let spoke = tokio::net::TcpStream::from_std(spoke).expect("taken over");
    spoke.set_zero_linger().expect("set");
    drop(spoke);
    until("the one who spoke went", || stage.forwarder.taken() == 1);
    assert_eq!(stage.stats().given_up, 0);
    drop(stays);
    stage.empty();
}

/// A number that is held, and refuses until somebody listens.
fn refusing(stage: &Stage) -> (TcpSocket, Target) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("bound");
    let address = socket.local_addr().expect("bound");
    stage.forwarder.route(&stage.port, Some(Target { run: 1, address }));
    (socket, Target { run: 1, address })
}

fn listen(stage: &Stage, socket: TcpSocket) -> TcpListener {
    let _context = stage.forwarder.runtime.enter();
    socket.listen(64).and_then(tokio::net::TcpListener::into_std).expect("listens")
}

#[test]
fn a_run_that_opens_its_port_later_gets_those_it_refused() {
    let stage = Stage::new();
    let (socket, _) = refusing(&stage);
    let mut caller = stage.call();
    send(&mut caller, b"again");
    until("he waits", || stage.stats().waiting == 1);
    let service = listen(&stage, socket);
    let mut called = accepted(&service);
    expect(&mut called, b"again");
    assert!(stage.forwarder.take_worst(&stage.port) > Duration::ZERO, "he was refused at first");
    drop((caller, called));
    stage.empty();
}

#[test]
fn one_who_is_refused_follows_the_route() {
    let (stage, service) = (Stage::new(), service());
    let (socket, _) = refusing(&stage);
    let mut caller = stage.call();
    send(&mut caller, b"anyone?");
    until("he waits", || stage.stats().waiting == 1);
    stage.forwarder.route(&stage.port, None);
    stage.route(2, &service);
    expect(&mut accepted(&service), b"anyone?");
    let late = listen(&stage, socket);
    late.set_nonblocking(true).expect("set");
    assert!(late.accept().is_err(), "the old run was called too");
}

#[test]
fn one_who_is_refused_and_goes_away_frees_his_place() {
    let stage = Stage::new();
    let (_socket, _) = refusing(&stage);
    let caller = stage.call();
    until("he waits", || stage.stats().waiting == 1);
    drop(caller);
    stage.empty();
    assert_eq!(stage.stats().given_up, 0);
}

#[test]
fn a_port_that_closes_sends_those_away_who_wait_and_leaves_the_others() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut caller, mut called) = stage.connected(&service);
    until("he is connected", || stage.stats().open.get(&1) == Some(&1));
    stage.forwarder.route(&stage.port, None);
    let mut waits = stage.call();
    until("another waits", || stage.stats().waiting == 1);
    stage.forwarder.close(&stage.port);
    expect_closed(&mut waits);
    TcpStream::connect(stage.at).expect_err("nobody listens");
    assert_eq!(stage.stats(), Stats::default());
    // The same port, at once, at the same address.
    let listener = TcpListener::bind(stage.at).expect("the address is free");
    stage.forwarder.open(stage.port.clone(), Accepting::Tcp(listener), DEADLINE).expect("opened again");
    stage.route(2, &service);
    let (mut second, mut second_called) = stage.connected(&service);
    for (caller, called) in [(&mut caller, &mut called), (&mut second, &mut second_called)] {
        send(caller, b"ask");
        expect(called, b"ask");
        send(called, b"answer");
        expect(caller, b"answer");
    }
    // The one from before is still the first run's.
    let first = stage.drain(1);
    expect_end(&mut caller);
    answered(&first);
    drop((caller, called, second, second_called));
    stage.empty();
}

#[test]
fn one_who_waits_still_is_told_of() {
    let (stage, service) = (Stage::new(), service());
    let _caller = stage.call();
    until("his wait counts", || stage.forwarder.take_worst(&stage.port) > Duration::ZERO);
    // What was told is not told again with what comes after.
    let before = monotonic();
    stage.forwarder.take_worst(&stage.port);
    stage.route(3, &service);
    let _called = accepted(&service);
    until("he is connected", || stage.stats().open.get(&3) == Some(&1));
    assert!(stage.forwarder.take_worst(&stage.port) <= monotonic().saturating_sub(before));
}
