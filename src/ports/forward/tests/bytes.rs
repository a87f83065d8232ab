//! What is sent arrives, both ways, and so does each end.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::super::stream::{Caller, Listener};
use super::*;

/// Bytes that are not the same anywhere near.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Sends in such pieces, ends its way, and reads the other to its end.
fn exchange<S: Read + Write + Send>(
    mut write: S,
    mut read: S,
    chunks: &[usize],
    seed: u32,
    end: impl Fn(&S) + Send,
) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(move || {
            let all = noise(seed, chunks.iter().sum());
            let mut rest = all.as_slice();
            for chunk in chunks {
                send(&mut write, &rest[..*chunk]);
                rest = &rest[*chunk..];
            }
            end(&write);
        });
        let mut all = Vec::new();
        read.read_to_end(&mut all).expect("read to the end");
        all
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1_usize..20, 1_usize..5_000, 60_000_usize..400_000], 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ways_bring_exactly_what_was_sent(there in sizes(), back in sizes(), seed: u32) {
        let (stage, service) = (Stage::new(), service());
        stage.route(1, &service);
        let (caller, called) = stage.connected(&service);
        let end = |stream: &TcpStream| stream.shutdown(Shutdown::Write).expect("ended");
        let (at_service, at_caller) = thread::scope(|scope| {
            let other = called.try_clone().expect("cloned");
            let at_service = scope.spawn(|| exchange(called, other, &back, !seed, end));
            let at_caller = exchange(caller.try_clone().expect("cloned"), caller, &there, seed, end);
            (at_service.join().expect("no panic"), at_caller)
        });
        prop_assert!(at_service == noise(seed, there.iter().sum()), "to the service");
        prop_assert!(at_caller == noise(!seed, back.iter().sum()), "to the caller");
        stage.empty();
    }
}

#[test]
fn one_who_said_his_last_gets_the_whole_answer() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut caller, mut called) = stage.connected(&service);
    send(&mut caller, b"ask");
    caller.shutdown(Shutdown::Write).expect("ended");
    expect(&mut called, b"ask");
    expect_end(&mut called);
    let answer = noise(7, 1_000_000);
    thread::scope(|scope| {
        scope.spawn(|| send(&mut called, &answer));
        expect(&mut caller, &answer);
    });
    drop(called);
    expect_end(&mut caller);
    stage.empty();
}

#[test]
fn a_service_that_says_its_last_first_still_hears_the_rest() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut caller, mut called) = stage.connected(&service);
    send(&mut called, b"bye");
    called.shutdown(Shutdown::Write).expect("ended");
    expect(&mut caller, b"bye");
    expect_end(&mut caller);
    send(&mut caller, b"one more thing");
    expect(&mut called, b"one more thing");
    drop(caller);
    expect_end(&mut called);
    stage.empty();
}

/// Closed with bytes unread: the kernel sends a reset.
fn reset(mut stream: TcpStream, mut other: &TcpStream) {
    send(&mut other, b"never read");
    until("they are there", || stream.peek(&mut [0; 16]).is_ok_and(|count| count == 10));
    stream.flush().expect("nothing to do");
    drop(stream);
}

#[test]
fn a_reset_of_one_side_is_one_of_the_other() {
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (caller, mut called) = stage.connected(&service);
    reset(caller, &called);
    assert_eq!(called.read(&mut [0]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
    let (mut caller, called) = stage.connected(&service);
    reset(called, &caller);
    assert_eq!(caller.read(&mut [0]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
    stage.empty();
}

#[test]
fn a_slow_reader_makes_the_sender_wait() {
    const ALL: usize = 128 << 20;
    const PIECE: usize = 1 << 14;
    let (stage, service) = (Stage::new(), service());
    stage.route(1, &service);
    let (mut caller, mut called) = stage.connected(&service);
    let sent = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&sent);
    let sender = thread::spawn(move || {
        for piece in 0..ALL / PIECE {
            send(&mut called, &[u8::try_from(piece % 251).expect("small"); PIECE]);
            count.fetch_add(PIECE, Ordering::Relaxed);
        }
    });
    let mut before = 0;
    until("the sender waits", || {
        thread::sleep(Duration::from_millis(100));
        let now = sent.load(Ordering::Relaxed);
        now == std::mem::replace(&mut before, now) && now > 0
    });
    assert!(before < ALL / 2, "{before} bytes were taken, and nobody read one");
    for piece in 0..ALL / PIECE {
        expect(&mut caller, &[u8::try_from(piece % 251).expect("small"); PIECE]);
    }
    sender.join().expect("all sent");
    expect_end(&mut caller);
    drop(caller);
    stage.empty();
}

#[test]
fn a_unix_socket_is_forwarded_as_well() {
    let (stage, service) = (Stage::new(), service());
    let home = tempfile::tempdir().expect("a folder");
    let (port, path) = (port("unix"), home.path().join("s"));
    let listener = UnixListener::bind(&path).expect("bound");
    stage.forwarder.open(port.clone(), Accepting::Unix(listener), DEADLINE).expect("opened");
    let call = || {
        let stream = UnixStream::connect(&path).expect("taken");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream
    };
    let mut caller = call();
    send(&mut caller, b"before there is a run");
    let gone = call();
    until("both wait", || stage.forwarder.stats(&port).waiting == 2);
    drop(gone);
    until("one went", || stage.forwarder.stats(&port).waiting == 1);
    stage.forwarder.route(&port, Some(Target { run: 1, address: service.local_addr().expect("bound") }));
    let mut called = accepted(&service);
    expect(&mut called, b"before there is a run");
    let (there, back) = (vec![90_000; 9], vec![70_000, 1, 400_000]);
    let (at_service, at_caller) = thread::scope(|scope| {
        let other = called.try_clone().expect("cloned");
        let end = |stream: &TcpStream| stream.shutdown(Shutdown::Write).expect("ended");
        let at_service = scope.spawn({
            let back = &back;
            move || exchange(called, other, back, 1, end)
        });
        let end = |stream: &UnixStream| stream.shutdown(Shutdown::Write).expect("ended");
        let at_caller = exchange(caller.try_clone().expect("cloned"), caller, &there, 2, end);
        (at_service.join().expect("no panic"), at_caller)
    });
    assert!(at_service == noise(2, 810_000) && at_caller == noise(1, 470_001));
    stage.empty();
    stage.forwarder.close(&port);
    UnixStream::connect(&path).expect_err("nobody listens");
}

#[test]
fn nothing_is_held_back_to_be_sent_with_more() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("built");
    runtime.block_on(async {
        let listener = service();
        let at = listener.local_addr().expect("bound");
        let listener = Listener::new(Accepting::Tcp(listener)).expect("taken over");
        let ours = super::super::caller::connect(at).await.expect("connected");
        assert!(ours.nodelay().expect("asked"), "towards the service");
        let Ok(Caller::Tcp(theirs)) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await else {
            panic!("a caller by TCP");
        };
        assert!(theirs.nodelay().expect("asked"), "towards the caller");
    });
}
