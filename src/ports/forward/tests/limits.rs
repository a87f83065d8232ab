//! Too many callers, too few descriptors, faults of our own.

use std::fs::File;

use super::*;
use crate::sys::limits;

#[test]
fn beyond_the_limit_callers_stay_in_the_backlog() {
    let (stage, service) = (Stage::with(2, DEADLINE), service());
    stage.route(1, &service);
    let first = stage.connected(&service);
    let _second = stage.connected(&service);
    let mut third = stage.call();
    send(&mut third, b"ask");
    until("two are in", || stage.stats().open.get(&1) == Some(&2));
    assert_eq!((stage.forwarder.taken(), stage.stats().accepted), (2, 2));
    drop(first);
    expect(&mut accepted(&service), b"ask");
    assert_eq!(stage.stats().accepted, 3);
}

#[test]
fn a_flood_of_one_port_leaves_places_for_another() {
    let (stage, service) = (Stage::with(8, DEADLINE), service());
    let admin = port("admin");
    let at = open(&stage.forwarder, &admin, DEADLINE);
    // Both are open before the flood: orders are carried out one after the other.
    answered(&stage.drain(1));
    let flood: Vec<TcpStream> = (0..40).map(|_| stage.call()).collect();
    until("it has its half", || stage.stats().waiting == 4);
    stage.forwarder.route(&admin, Some(Target { run: 1, address: service.local_addr().expect("bound") }));
    let mut caller = call(at);
    send(&mut caller, b"let me in");
    expect(&mut accepted(&service), b"let me in");
    assert_eq!((stage.stats().accepted, stage.stats().waiting), (4, 4), "the flood still waits");
    drop((flood, caller));
    until("all went through", || stage.stats().accepted == 40);
    stage.empty();
}

#[test]
fn thousands_come_and_go_through_few_places() {
    let (stage, service) = (Stage::with(4, DEADLINE), service());
    stage.route(1, &service);
    let server = thread::spawn(move || {
        for _ in 0..2000 {
            let mut called = accepted(&service);
            expect(&mut called, b"ask");
            send(&mut called, b"answer");
        }
    });
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut caller = stage.call();
                    send(&mut caller, b"ask");
                    expect(&mut caller, b"answer");
                    expect_end(&mut caller);
                }
            });
        }
    });
    server.join().expect("all served");
    stage.empty();
    assert_eq!(stage.stats().accepted, 2000);
}

/// Runs itself once more, as a process that has few descriptors.
#[test]
fn without_descriptors_callers_wait_until_there_are_some() {
    const INSIDE: &str = "DEVSUP_TEST_FEW_DESCRIPTORS";
    const NAME: &str = "ports::forward::tests::limits::without_descriptors_callers_wait_until_there_are_some";
    if std::env::var_os(INSIDE).is_some() {
        return few_descriptors();
    }
    let own = std::env::current_exe().expect("known");
    let within = DEADLINE * 3;
    crate::sys::process::carry_out(&own, &["--exact", NAME, "--nocapture"], &[(INSIDE, "1".as_ref())], within)
        .expect("callers are served");
}

fn few_descriptors() {
    limits::change_soft(limits::Resource::Nofile, Some(64)).expect("lowered");
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    drop(stage.connected(&service));
    stage.empty();
    let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    all.pop();
    let mut caller = stage.call();
    send(&mut caller, b"ask");
    assert!(File::open("/dev/null").is_err(), "none is left to accept with");
    // Enough to accept, not to connect; then for all.
    all.pop();
    until("he is accepted", || stage.stats().waiting == 1);
    all.clear();
    expect(&mut accepted(&service), b"ask");
}

#[test]
fn a_panic_takes_its_own_connection_only() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut caller, mut called) = stage.connected(&service);
    until("he is connected", || stage.stats().open.get(&1) == Some(&1));
    stage.route(PANICS, &service);
    let mut fated = stage.call();
    expect_closed(&mut fated);
    answered(&stage.drain(PANICS));
    stage.forwarder.drain(&stage.port.service, 9, || panic!("of whoever waits for a drain"));
    stage.route(1, &service);
    let mut fine = stage.call();
    send(&mut fine, b"fine");
    // The first in the backlog is the one that was closed.
    expect_closed(&mut accepted(&service));
    expect(&mut accepted(&service), b"fine");
    send(&mut caller, b"still here");
    expect(&mut called, b"still here");
    assert_eq!(stage.forwarder.taken(), 2);
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut caller, mut called) = stage.connected(&service);
    send(&mut caller, b"ask");
    expect(&mut called, b"ask");
    let answer = stage.drain(1);
    let taken = std::sync::Arc::downgrade(&stage.forwarder.taken);
    let other = stage.forwarder.clone();
    let Stage { forwarder, at, .. } = stage;
    drop(forwarder);
    send(&mut called, b"a handle is left");
    expect(&mut caller, b"a handle is left");
    drop(other);
    expect_closed(&mut caller);
    expect_closed(&mut called);
    until("the thread has ended", || taken.strong_count() == 0);
    assert!(answer.recv().is_err(), "nobody is left to answer");
    TcpStream::connect(at).expect_err("nobody listens");
}

#[test]
fn nothing_wakes_while_nothing_moves() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let mut pairs: Vec<_> = (0..8).map(|_| stage.connected(&service)).collect();
    for (caller, called) in &mut pairs {
        send(caller, b"ask");
        expect(called, b"ask");
    }
    until("all are connected", || stage.stats().open.get(&1) == Some(&8));
    let metrics = stage.forwarder.runtime.metrics();
    let mut before = metrics.worker_park_count(0);
    // An order may still be on its way through.
    until("it comes to rest", || {
        thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut before, metrics.worker_park_count(0)) == metrics.worker_park_count(0)
    });
    // And it can: a turn is counted.
    send(&mut pairs[0].0, b"more");
    expect(&mut pairs[0].1, b"more");
    until("it woke", || metrics.worker_park_count(0) > before);
}
