//! Orders in any order, while callers come and go.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

const RUNS: u32 = 3;
const CALLERS: u32 = 6;

#[derive(Clone, Debug)]
enum Act {
    Route(usize, Option<u32>),
    Drain(u32),
    Cut(u32),
    Reopen(usize),
    Pause(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let port = 0..2_usize;
    prop::collection::vec(
        prop_oneof![
            4 => (port.clone(), prop::option::weighted(0.8, 0..RUNS)).prop_map(|(port, run)| Act::Route(port, run)),
            2 => (0..RUNS).prop_map(Act::Drain),
            1 => (0..RUNS).prop_map(Act::Cut),
            1 => port.prop_map(Act::Reopen),
            4 => (1..20_u64).prop_map(Act::Pause),
        ],
        10..60,
    )
}

/// What each request was seen how often by all runs, and what the callers got.
#[derive(Default)]
struct Book {
    seen: Mutex<BTreeMap<u32, usize>>,
    answered: Mutex<BTreeMap<u32, bool>>,
    stop: AtomicBool,
    next: AtomicUsize,
}

/// Answers each number by the number, until the caller ends.
fn serve(book: &Book, mut called: TcpStream) {
    let mut number = [0; 4];
    while called.read_exact(&mut number).is_ok() {
        *book.seen.lock().expect("whole").entry(u32::from_be_bytes(number)).or_default() += 1;
        if called.write_all(&number).is_err() {
            return;
        }
    }
}

/// Some requests over one connection, as long as it lasts.
fn converse(book: &Book, mut caller: TcpStream, requests: u32) {
    for _ in 0..requests {
        let number = u32::try_from(book.next.fetch_add(1, Ordering::Relaxed)).expect("few");
        let mut answer = [0; 4];
        let sent = caller.write_all(&number.to_be_bytes());
        let got = sent.and_then(|()| caller.read_exact(&mut answer)).is_ok();
        if got {
            assert_eq!(u32::from_be_bytes(answer), number, "another's answer");
        }
        book.answered.lock().expect("whole").insert(number, got);
        if !got {
            return;
        }
    }
}

fn carry_out(stage: &Stage, ports: &[(PortId, SocketAddr)], runs: &[SocketAddr], acts: &[Act]) -> Vec<Receiver<()>> {
    let mut drains = Vec::new();
    for act in acts {
        match act {
            Act::Route(port, run) => {
                let to = run.map(|run| Target { run, address: runs[run as usize] });
                stage.forwarder.route(&ports[*port].0, to);
            }
            Act::Drain(run) => drains.push(stage.drain(*run)),
            Act::Cut(run) => stage.forwarder.cut(&stage.port.service, *run),
            Act::Reopen(port) => {
                let (id, at) = &ports[*port];
                stage.forwarder.close(id);
                let listener = TcpListener::bind(at).expect("the address is free");
                stage.forwarder.open(id.clone(), Accepting::Tcp(listener), Duration::from_millis(200)).expect("opened");
            }
            Act::Pause(millis) => thread::sleep(Duration::from_millis(*millis)),
        }
    }
    drains
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_is_lost_or_doubled_and_every_drain_is_answered(acts in acts(), requests in 1..40_u32) {
        let stage = Stage::with(5, Duration::from_millis(200));
        let admin = port("admin");
        let at = open(&stage.forwarder, &admin, Duration::from_millis(200));
        let ports = [(stage.port.clone(), stage.at), (admin, at)];
        let services: Vec<TcpListener> = (0..RUNS).map(|_| service()).collect();
        let runs: Vec<SocketAddr> = services.iter().map(|service| service.local_addr().expect("bound")).collect();
        let book = Book::default();
        thread::scope(|scope| {
            for service in &services {
                service.set_nonblocking(true).expect("set");
                scope.spawn(|| {
                    while !book.stop.load(Ordering::Relaxed) || stage.forwarder.taken() > 0 {
                        let Ok((called, _)) = service.accept() else {
                            thread::sleep(Duration::from_millis(1));
                            continue;
                        };
                        called.set_nonblocking(false).expect("set");
                        let (book, called) = (&book, patient(called));
                        scope.spawn(move || serve(book, called));
                    }
                });
            }
            for caller in 0..CALLERS {
                let (book, at) = (&book, ports[caller as usize % 2].1);
                scope.spawn(move || {
                    while !book.stop.load(Ordering::Relaxed) {
                        // Refused for a moment while a port is opened again.
                        match TcpStream::connect(at) {
                            Ok(stream) => converse(book, patient(stream), requests),
                            Err(_) => thread::sleep(Duration::from_millis(1)),
                        }
                    }
                });
            }
            let drains = carry_out(&stage, &ports, &runs, &acts);
            for (port, _) in &ports {
                stage.forwarder.route(port, Some(Target { run: 0, address: runs[0] }));
            }
            book.stop.store(true, Ordering::Relaxed);
            drains.iter().for_each(answered);
        });
        stage.empty();
        let seen = book.seen.lock().expect("whole");
        let answers = book.answered.lock().expect("whole");
        for (number, answered) in answers.iter() {
            let times = seen.get(number).copied().unwrap_or_default();
            prop_assert_eq!(times, usize::from(*answered), "request {}", number);
        }
        prop_assert_eq!(seen.len(), answers.values().filter(|answered| **answered).count());
    }
}
