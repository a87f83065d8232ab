//! The endpoint in this very process: we are the client, and who started us stands in for a keeper.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::caller::{Why, candidates};
use super::door;
use super::serve::Desk;
use super::table::{Lease, Standing, Tree};
use crate::aws::Credentials;
use crate::control::peer::Keepers;
use crate::daemon::audit::{Audit, Told};
use crate::daemon::clocks::now;
use crate::daemon::world::{Fact, HeldLease};
use crate::manifest::{Name, RoleArn};
use crate::supervisor::{Refusal, RunId, Wall};
use crate::sys::inet_diag::Client;
use crate::sys::process;

pub(super) struct Scene {
    pub(super) desk: Rc<Desk>,
    pub(super) at: SocketAddrV4,
    pub(super) id: String,
    pub(super) token: SecretString,
    pub(super) facts: mpsc::UnboundedReceiver<Fact>,
    audit: Audit,
}

fn service() -> Name {
    Name::new("a")
}

/// On a thread with tasks of its own, as in the daemon.
pub(super) fn play(test: impl AsyncFnOnce(Scene, TcpListener)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().expect("bound").port());
        let (tell, facts) = mpsc::unbounded_channel();
        let audit = Audit::new(tell);
        let desk = Rc::new(Desk::new(at, audit.clone(), Keepers::default()));
        let (id, token) = desk.table.borrow_mut().seat(&service()).expect("random");
        test(Scene { desk, at, id, token, facts, audit }, listener).await;
    });
}

impl Scene {
    fn began(&self, uid: u32, keeper: u32) {
        self.desk.table.borrow_mut().began(&service(), Tree::new(1, keeper, uid, role(), None));
    }

    fn stand(&self, lease: Option<Lease>, refusal: Option<Refusal>) {
        self.desk.table.borrow_mut().stand(&RunId { service: service(), number: 1 }, Standing { lease, refusal });
        self.desk.news.notify_waiters();
    }

    pub(super) fn request(&self) -> String {
        let Self { at, id, token, .. } = self;
        let token = token.expose_secret();
        format!("GET /v1/creds/{id} HTTP/1.1\r\nHost: {at}\r\nAuthorization: {token}\r\n\r\n")
    }

    async fn ask(&self) -> String {
        let mut stream = TcpStream::connect(self.at).await.expect("it listens");
        stream.write_all(self.request().as_bytes()).await.expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("it answers");
        text
    }
}

fn role() -> RoleArn {
    RoleArn::checked("arn:aws:iam::033145145979:role/service-a")
}

fn held() -> Rc<HeldLease> {
    let credentials = Credentials {
        access_key_id: "ASIAEXAMPLE".into(),
        secret_access_key: "secret".to_owned().into(),
        session_token: "session".to_owned().into(),
        expires: Wall(1_795_348_800_900),
    };
    Rc::new(HeldLease { credentials: Rc::new(credentials), issued: Wall(1_795_345_200_000) })
}

fn lease(held: &Rc<HeldLease>, left: Duration) -> Lease {
    Lease {
        held: Rc::downgrade(held),
        ends: now().boot + left,
        ends_wall: held.credentials.expires,
        account: "033145145979".into(),
        role: "arn:aws:iam::033145145979:role/service-a".into(),
    }
}

fn refusal(lasting: bool) -> Refusal {
    Refusal {
        lasting,
        code: "AccessDenied".into(),
        message: "you may not assume it".into(),
        hint: Some("ask ann".into()),
        side: None,
        caller: None,
        request_id: None,
        retry_after: None,
        at: Wall(0),
    }
}

fn is(answer: &str, status: u16, code: &str) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(&format!("\"code\":\"{code}\""))
}

#[test]
fn what_was_forgotten_or_has_ended_cannot_be_served() {
    play(async |scene, listener| {
        drop(tokio::task::spawn_local(door::keep(listener, Rc::clone(&scene.desk))));
        scene.began(process::own_uid(), process::parent());
        let held = held();
        scene.stand(Some(lease(&held, Duration::from_mins(1))), None);
        let answer = scene.ask().await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"Expiration\":\"2026-11-22T12:00:00Z\""),
            "{answer}"
        );
        assert!(answer.contains("connection: close") && answer.contains("\"Token\":\"session\""), "{answer}");
        scene.stand(Some(lease(&held, Duration::ZERO)), None);
        assert!(is(&scene.ask().await, 503, "CredentialsExpired"));
        scene.stand(Some(lease(&held, Duration::from_mins(1))), Some(refusal(true)));
        assert!(scene.ask().await.starts_with("HTTP/1.1 200 "), "what is held is served, whatever STS says");
        // Nobody has told the table.
        drop(held);
        let answer = scene.ask().await;
        assert!(is(&answer, 403, "AccessDenied") && answer.contains("ask ann"), "{answer}");
        scene.stand(None, Some(refusal(true)));
        assert!(is(&scene.ask().await, 403, "AccessDenied"));
    });
}

#[test]
fn an_ask_before_the_first_credentials_is_held_for_them() {
    play(async |scene, listener| {
        drop(tokio::task::spawn_local(door::keep(listener, Rc::clone(&scene.desk))));
        scene.began(process::own_uid(), process::parent());
        let answer = scene.ask().await;
        assert!(is(&answer, 503, "CredentialsUninitialized"), "{answer}");
        scene.stand(None, Some(refusal(false)));
        let answer = scene.ask().await;
        assert!(is(&answer, 503, "CredentialsUninitialized") && answer.contains("; STS: AccessDenied"), "{answer}");
        let held = held();
        let (answer, ()) = tokio::join!(scene.ask(), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            scene.stand(Some(lease(&held, Duration::from_mins(1))), None);
        });
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    });
}

#[test]
fn who_is_not_of_the_run_is_refused_and_named() {
    play(async |mut scene, listener| {
        drop(tokio::task::spawn_local(door::keep(listener, Rc::clone(&scene.desk))));
        let held = held();
        assert!(is(&scene.ask().await, 403, "ServiceNotRunning"));
        // A keeper that we do not descend from, and one of another user.
        for (uid, keeper) in [(process::own_uid(), process::own_pid()), (4_000_001, process::parent())] {
            scene.began(uid, keeper);
            scene.stand(Some(lease(&held, Duration::from_mins(1))), None);
            let answer = scene.ask().await;
            assert!(is(&answer, 403, "AccessDenied") && !answer.contains("session"), "{answer}");
            scene.desk.table.borrow_mut().ended(&RunId { service: service(), number: 1 });
        }
        let mut told = Vec::new();
        while let Ok(Fact::Told(one)) = scene.facts.try_recv() {
            told.push(one);
        }
        told.extend(scene.audit.flush());
        let whys: Vec<Why> = told
            .iter()
            .map(|told| if let Told::Refused(refused) = told { refused.why } else { panic!("{told:?}") })
            .collect();
        assert_eq!(whys, [Why::NotRunning, Why::OutsideOfTree, Why::OtherUser]);
    });
}

#[test]
fn a_service_has_one_address_for_the_daemons_life() {
    play(async |scene, _| {
        let again = scene.desk.table.borrow_mut().seat(&service()).expect("random");
        assert_eq!((again.0, again.1.expose_secret()), (scene.id.clone(), scene.token.expose_secret()));
        let other = scene.desk.table.borrow_mut().seat(&Name::new("b")).expect("random");
        assert!(other.0 != scene.id && other.1.expose_secret() != scene.token.expose_secret());
    });
}

#[test]
fn a_socket_of_another_group_or_user_is_no_candidate() {
    let tree = |group_id| Tree { group_id, ..Tree::new(3, 7, 1000, role(), None) };
    let client = |uid, cgroup| Client { uid, inode: 9, cgroup };
    assert_eq!(candidates(&[], client(1000, None)), Err(Why::NotRunning));
    assert_eq!(candidates(&[tree(None)], client(1001, None)), Err(Why::OtherUser));
    assert_eq!(candidates(&[tree(Some(50))], client(1000, Some(51))), Err(Why::OutsideOfTree));
    // Without a group of its own, or where the kernel does not tell, the tree alone decides.
    for (own, told) in [(Some(50), Some(50)), (None, Some(51)), (Some(50), None), (Some(50), Some(1))] {
        let found = candidates(&[tree(own)], client(1000, told)).expect("it may be");
        assert_eq!((found.len(), found[0].run, found[0].keeper), (1, 3, 7), "{own:?} {told:?}");
    }
}
