//! Faults on demand, the sandbox's own paths, and what must never end it.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use devsup::sandbox::{Calls, Config, Down, Faults, Handle, Reach};
use devsup::sys::clock;

use super::signed::{Answer, Ask, Keys, assume, raw};
use super::{A, config, start};

const WHO: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const ASSUME: &str = "Action=AssumeRole&Version=2011-06-15&RoleSessionName=me&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fservice-a";

fn assume_a(handle: &Handle) -> Answer {
    Ask::sts(ASSUME).send(handle.url(), &handle.ready().into())
}

fn own(handle: &Handle, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    raw(handle.url(), method, path, &headers, body.as_bytes()).expect("an answer")
}

#[test]
fn counted_faults_strike_and_are_used_up() {
    let handle = start(Config { faults: Faults { throttle: 2, fail_5xx: 1, ..Faults::default() }, ..config() });
    let answers: Vec<(u16, String)> =
        (0..4).map(|_| assume_a(&handle)).map(|answer| (answer.status, answer.code().to_owned())).collect();
    let due = [(500, "InternalFailure"), (400, "Throttling"), (400, "Throttling"), (200, "ok")];
    assert_eq!(answers, due.map(|(status, code)| (status, code.to_owned())));
    let calls = handle.calls();
    assert_eq!(calls.count("service-a", "AssumeRole"), 4);
    assert_eq!((calls.answered("AssumeRole", "Throttling"), calls.answered("AssumeRole", "ok")), (2, 1));
}

#[test]
fn down_is_503_or_no_answer_and_s3_goes_on() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    let set = |down, reach| handle.set_faults(Faults { down: Some(down), reach, ..Faults::default() });
    set(Down::Unavailable, Reach::Sts);
    assert_eq!((assume_a(&handle).status, assume_a(&handle).code().to_owned()), (503, "ServiceUnavailable".to_owned()));
    set(Down::Drop, Reach::Sts);
    let (target, headers) = Ask::sts(WHO).signed(handle.url(), &handle.ready().into());
    assert!(raw(handle.url(), "POST", &target, &headers, WHO.as_bytes()).is_none(), "the connection is dropped");
    let list = || Ask::s3("GET", "/bucket1?list-type=2").send(handle.url(), &a);
    assert_eq!(list().code(), "ok");
    set(Down::Unavailable, Reach::All);
    assert_eq!(list().status, 503);
    handle.reset();
    assert_eq!((list().code(), assume_a(&handle).code()), ("ok", "ok"));
}

#[test]
fn a_role_is_denied_on_demand_by_name_or_arn() {
    let handle = start(config());
    for role in ["service-a", A] {
        handle.set_faults(Faults { deny: vec![role.into()], ..Faults::default() });
        assert_eq!((assume_a(&handle).status, assume_a(&handle).code().to_owned()), (403, "AccessDenied".to_owned()));
    }
    handle.set_faults(Faults { deny: vec!["service-b".into()], ..Faults::default() });
    assert_eq!(assume_a(&handle).code(), "ok");
}

#[test]
fn a_skewed_clock_shows_in_date_and_expiration_and_does_not_shorten_the_session() {
    let handle = start(config());
    handle.set_faults(Faults { skew_s: -600, ..Faults::default() });
    let answer = assume_a(&handle);
    let seconds = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_second();
    let expires = seconds(answer.element("Expiration").expect("an expiration"));
    let now = i64::try_from(clock::realtime().as_secs()).expect("this century");
    assert!((now - 570..=now - 540).contains(&expires), "ten minutes behind, a minute to live: {}", expires - now);
    let date = httpdate::parse_http_date(answer.header("date").expect("a date")).expect("a date");
    let date = date.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(clock::realtime().as_secs() - date >= 599, "the Date is behind too");
    handle.set_faults(Faults { skew_s: 1200, ..Faults::default() });
    let refused = assume_a(&handle);
    assert_eq!(refused.code(), "SignatureDoesNotMatch");
    assert!(refused.body.contains("Signature expired: "), "{}", refused.body);
}

#[test]
fn slow_answers_are_open_at_once_and_counted_so() {
    let handle = start(Config { faults: Faults { slow_ms: 500, ..Faults::default() }, ..config() });
    let begun = clock::monotonic();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(assume_a(&handle).code(), "ok"));
        }
    });
    assert!(clock::monotonic() >= begun + Duration::from_millis(500));
    let most = handle.calls().max_concurrent_assume_role;
    assert!((2..=4).contains(&most), "{most}");
}

#[test]
fn faults_and_counts_over_the_wire() {
    let handle = start(config());
    let set = own(&handle, "POST", "/_sandbox/faults", &[], r#"{"throttle": 1}"#);
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(assume_a(&handle).code(), "Throttling");
    let shown: Faults = serde_json::from_str(&own(&handle, "GET", "/_sandbox/faults", &[], "").body).expect("faults");
    assert_eq!(shown, Faults::default(), "the one is used up");
    let calls: Calls = serde_json::from_str(&own(&handle, "GET", "/_sandbox/calls", &[], "").body).expect("calls");
    assert_eq!(calls, handle.calls());
    assert_eq!(calls.count(A, "AssumeRole"), 1);
    assert_eq!(own(&handle, "POST", "/_sandbox/reset", &[], "").status, 200);
    assert_eq!(handle.calls(), Calls::default());
    let misspelt = own(&handle, "POST", "/_sandbox/faults", &[], r#"{"trottle": 1}"#);
    assert_eq!(misspelt.status, 400);
    assert!(misspelt.body.contains("trottle"), "{}", misspelt.body);
    assert_eq!(own(&handle, "GET", "/_sandbox/keys", &[], "").status, 404);
}

#[test]
fn no_browser_reaches_the_sandboxs_own_paths() {
    let handle = start(config());
    for header in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site"), ("host", "evil.example")] {
        let answer = own(&handle, "POST", "/_sandbox/faults", &[header], r#"{"down": "drop"}"#);
        assert_eq!(answer.status, 403, "{header:?}");
    }
    assert_eq!(assume_a(&handle).code(), "ok", "nothing was set");
}

#[test]
fn garbage_is_answered_or_dropped_and_the_next_request_is_served() {
    let handle = start(config());
    let base: Keys = handle.ready().into();
    let host = handle.url().trim_start_matches("http://");
    for garbage in
        [&b"\x16\x03\x01 tls hello"[..], b"GET\r\n\r\n", b"\0\0\0\0", b"PUT /%ff%fe/%00 HTTP/1.1\r\nhost: x\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(host).expect("the sandbox listens");
        stream.write_all(garbage).expect("written");
    }
    for path in [
        "/%",
        "/%zz/%e2%28",
        "//",
        "/?Action",
        "/bucket1?list-type=2&continuation-token=%ff",
        "/bucket1/?X-Amz-Signature=",
        "/é",
    ] {
        let answer = raw(handle.url(), "GET", path, &[], b"");
        assert!(answer.is_none_or(|answer| (400..600).contains(&answer.status)), "{path}");
    }
    let header = |value: &str| {
        vec![("authorization".to_owned(), value.to_owned()), ("x-amz-date".to_owned(), "20260101T000000Z".to_owned())]
    };
    for value in [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=////,SignedHeaders=,Signature=",
        "AWS4-HMAC-SHA256 Credential=k/20260101/r/sts/aws4_request,SignedHeaders=host,Signature=é",
    ] {
        let answer = raw(handle.url(), "POST", "/", &header(value), b"Action=AssumeRole").expect("an answer");
        assert!((400..500).contains(&answer.status), "{value}: {}", answer.body);
    }
    let a = assume(handle.url(), &base, A);
    let token = Ask::s3("GET", "/bucket1?continuation-token=%C3%A9&list-type=2").send(handle.url(), &a);
    assert_eq!(token.code(), "InvalidArgument");
}

#[test]
fn a_body_over_the_bound_is_refused_unread() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    let (target, headers) =
        Ask { payload: Some("UNSIGNED-PAYLOAD"), ..Ask::s3("PUT", "/bucket1/huge") }.signed(handle.url(), &a);
    let mut text = format!("PUT {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", (64 << 20) + 1);
    for (name, value) in headers {
        text += &[name.as_str(), ": ", &value, "\r\n"].concat();
    }
    let mut stream = TcpStream::connect(handle.url().trim_start_matches("http://")).expect("the sandbox listens");
    stream.write_all(format!("{text}\r\n").as_bytes()).expect("written");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("EntityTooLarge"), "{answer}");
}

#[test]
fn another_service_is_told_that_it_is_not_here() {
    let handle = start(config());
    let headers = vec![("content-type", "application/x-amz-json-1.0".to_owned())];
    let ask = Ask { service: "dynamodb", headers, body: b"{}", ..Ask::s3("POST", "/") };
    let answer = ask.send(handle.url(), &handle.ready().into());
    assert_eq!(answer.status, 501);
    assert!(answer.body.contains("the sandbox has sts, s3 and a little iam only, not `dynamodb`"), "{}", answer.body);
}

#[test]
fn a_dropped_handle_frees_its_port() {
    let handle = start(config());
    let host = handle.url().trim_start_matches("http://").to_owned();
    drop(handle);
    assert!(TcpStream::connect(&host).is_err(), "nobody listens at {host}");
}
