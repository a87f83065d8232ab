//! Connections of a run that is to be stopped.

use std::net::Shutdown;
use std::sync::mpsc::TryRecvError;

use super::*;

/// A request and its answer.
fn talk(caller: &mut TcpStream, called: &mut TcpStream) {
    send(caller, b"ask");
    expect(called, b"ask");
    send(called, b"answer");
    expect(caller, b"answer");
}

#[test]
fn those_at_rest_are_closed_and_the_unanswered_are_not() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut asks, mut asked) = stage.connected(&service);
    send(&mut asks, b"ask");
    expect(&mut asked, b"ask");
    let (mut half, mut half_called) = stage.connected(&service);
    talk(&mut half, &mut half_called);
    half.shutdown(Shutdown::Write).expect("ended");
    expect_end(&mut half_called);
    // Silent for less time than those above.
    let (mut rests, mut rests_called) = stage.connected(&service);
    talk(&mut rests, &mut rests_called);
    let (mut never, mut never_called) = stage.connected(&service);
    until("all are connected", || stage.stats().open.get(&1) == Some(&4));
    let answer = stage.drain(1);
    for (caller, called) in [(&mut rests, &mut rests_called), (&mut never, &mut never_called)] {
        expect_end(caller);
        caller.shutdown(Shutdown::Write).expect("ended");
        expect_end(called);
    }
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty), "two are not at rest");
    assert_eq!(stage.stats().open.get(&1), Some(&2));
    send(&mut asked, b"answer, late");
    expect(&mut asks, b"answer, late");
    send(&mut half_called, b"the rest");
    drop(half_called);
    expect(&mut half, b"the rest");
    expect_end(&mut half);
    expect_end(&mut asks);
    answered(&answer);
    drop((asks, asked, half, rests, never, rests_called, never_called));
    stage.empty();
}

#[test]
fn nothing_reaches_the_run_after_its_caller_was_told_the_end() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut caller, mut called) = stage.connected(&service);
    talk(&mut caller, &mut called);
    let answer = stage.drain(1);
    expect_end(&mut caller);
    answered(&answer);
    send(&mut caller, b"too late");
    expect_end(&mut called);
    // Neither he who does not close nor a run that does not holds a place for ever.
    stage.empty();
}

/// Requests that come about when the end is told: each is answered, or the run never had it.
#[test]
fn a_request_is_answered_or_was_never_given_to_the_run() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let mut pairs: Vec<_> = (0..40).map(|_| stage.connected(&service)).collect();
    for (caller, called) in &mut pairs {
        talk(caller, called);
    }
    let silent_since = monotonic();
    let answer = stage.drain(1);
    thread::scope(|scope| {
        for (number, (mut caller, mut called)) in (0_u32..).zip(pairs) {
            let at_service = scope.spawn(move || {
                let mut got = Vec::new();
                let mut bytes = [0; 16];
                while let Ok(count @ 1..) = called.read(&mut bytes) {
                    got.extend_from_slice(&bytes[..count]);
                    called.write_all(b"again").ok();
                }
                got
            });
            scope.spawn(move || {
                let at = silent_since + Duration::from_millis(960) + Duration::from_millis(2) * number;
                thread::sleep(at.saturating_sub(monotonic()));
                caller.write_all(b"more").ok();
                let mut got = Vec::new();
                // Cut off before any byte, in order or by a reset, is what one may repeat after.
                caller.read_to_end(&mut got).ok();
                drop(caller);
                let had: &[u8] = if got.is_empty() { b"" } else { b"more" };
                assert!(got.is_empty() || got == b"again", "{got:?}");
                assert_eq!(at_service.join().expect("no panic"), had, "connection {number}");
            });
        }
    });
    answered(&answer);
    stage.empty();
}

#[test]
fn a_cut_ends_the_drain_and_closes_nothing() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut asks, mut asked) = stage.connected(&service);
    send(&mut asks, b"ask");
    expect(&mut asked, b"ask");
    until("he is connected", || stage.stats().open.get(&1) == Some(&1));
    let both = [stage.drain(1), stage.drain(1)];
    assert_eq!(both[0].try_recv(), Err(TryRecvError::Empty));
    stage.forwarder.cut(&stage.port.service, 1);
    both.iter().for_each(answered);
    send(&mut asked, b"answer");
    expect(&mut asks, b"answer");
    // One that would be closed if the drain went on is drained by another forwarder's clock: at rest after a second.
    let (other, other_service) = (Stage::new(), super::service());
    other.route(1, &other_service);
    let (mut rests, mut rests_called) = other.connected(&other_service);
    talk(&mut rests, &mut rests_called);
    let answer = other.drain(1);
    expect_end(&mut rests);
    answered(&answer);
    talk(&mut asks, &mut asked);
}

#[test]
fn only_the_run_that_is_meant_is_drained_over_all_ports_of_its_service() {
    let (stage, services) = (Stage::new(), [service(), service()]);
    let admin = port("admin");
    let at = open(&stage.forwarder, &admin, DEADLINE);
    stage.route(1, &services[0]);
    stage.forwarder.route(&admin, Some(Target { run: 1, address: services[0].local_addr().expect("bound") }));
    let (mut first, _first_called) = stage.connected(&services[0]);
    let (mut second, _second_called) = (call(at), accepted(&services[0]));
    stage.route(2, &services[1]);
    let (mut stays, mut stays_called) = stage.connected(&services[1]);
    until("all are connected", || {
        let of = |port| stage.forwarder.stats(port).open;
        of(&stage.port).len() == 2 && of(&admin).len() == 1
    });
    let answer = stage.drain(1);
    expect_end(&mut first);
    expect_end(&mut second);
    answered(&answer);
    talk(&mut stays, &mut stays_called);
    assert_eq!(stage.stats().open.get(&2), Some(&1));
}

#[test]
fn connections_that_end_by_themselves_answer_the_drain() {
    let (stage, service) = (Stage::new(), service());
    answered(&stage.drain(1));
    stage.route(1, &service);
    let (mut caller, mut called) = stage.connected(&service);
    send(&mut caller, b"ask");
    expect(&mut called, b"ask");
    let answer = stage.drain(1);
    send(&mut called, b"answer");
    drop(called);
    expect(&mut caller, b"answer");
    expect_end(&mut caller);
    drop(caller);
    answered(&answer);
    stage.empty();
}
