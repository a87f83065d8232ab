//! What the endpoint says to a service's own process: the body, and the table of refusals.

use jiff::Timestamp;

use super::{GET, Stolen, get, raw, shop};

#[test]
fn a_service_gets_what_it_holds() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    for (service, role) in [("a", "service-a"), ("b", "service-b")] {
        let answer = get(&project, service);
        assert_eq!(answer.status, 200, "{answer:?}");
        for line in ["content-type: application/json", "cache-control: no-store", "content-length: "] {
            assert!(answer.head.contains(line), "{answer:?}");
        }
        let keys: Vec<&str> = answer.body.as_object().expect("an object").keys().map(String::as_str).collect();
        let all = [
            "AccessKeyId",
            "AccountId",
            "Code",
            "Expiration",
            "LastUpdated",
            "RoleArn",
            "SecretAccessKey",
            "Token",
            "Type",
        ];
        assert_eq!(keys, all);
        assert!(all.iter().all(|key| !answer.text(key).is_empty()), "{answer:?}");
        assert_eq!((answer.text("Code"), answer.text("Type")), ("Success", "AWS-HMAC"));
        assert_eq!(answer.text("AccountId"), "033145145979");
        assert_eq!(answer.text("RoleArn"), format!("arn:aws:iam::033145145979:role/{role}"));
        for key in ["Expiration", "LastUpdated"] {
            let text = answer.text(key);
            assert!(text.len() == "2026-11-22T12:00:00Z".len() && text.ends_with('Z'), "{text}");
            text.parse::<Timestamp>().expect("a time");
        }
        let held = project.service(service).credentials.expect("a role");
        assert_eq!(Some(answer.text("AccessKeyId")), held.access_key_id.as_deref());
    }
}

/// Each is refused before anybody looks who asks.
#[test]
fn what_no_sdk_sends_is_refused_by_the_table() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    let b = Stolen::of(&project, "b");
    let head = "HTTP/1.1\r\nHost: {host}\r\n";
    let token = "Authorization: {token}\r\n";
    let table = [
        (format!("GET {{path}} {head}\r\n"), 403, "AccessDenied"),
        (format!("GET {{path}} {head}Authorization: Bearer {{token}}\r\n\r\n"), 403, "AccessDenied"),
        (format!("GET {{path}} {head}Authorization: x{{token}}\r\n\r\n"), 403, "AccessDenied"),
        (format!("GET {{path}} {head}{token}{token}\r\n"), 403, "AccessDenied"),
        (format!("GET {{path}} {head}Authorization: {}\r\n\r\n", b.token), 403, "AccessDenied"),
        (format!("GET {{path}}x {head}{token}\r\n"), 404, "NotFound"),
        (format!("GET / {head}{token}\r\n"), 404, "NotFound"),
        (format!("GET /v1/creds/service-a {head}{token}\r\n"), 404, "NotFound"),
        (format!("POST {{path}} {head}{token}Content-Length: 0\r\n\r\n"), 405, "MethodNotAllowed"),
        (format!("PUT {{path}} {head}{token}Content-Length: 0\r\n\r\n"), 405, "MethodNotAllowed"),
        (format!("GET {{path}} HTTP/1.1\r\nHost: example.org\r\n{token}\r\n"), 403, "Forbidden"),
        (format!("GET {{path}} HTTP/1.0\r\n{token}\r\n"), 403, "Forbidden"),
        (format!("GET {{path}} {head}{token}Origin: http://{{host}}\r\n\r\n"), 403, "Forbidden"),
        (format!("GET {{path}} {head}{token}Sec-Fetch-Site: same-origin\r\n\r\n"), 403, "Forbidden"),
        (format!("GET {{path}} {head}{token}X-Forwarded-For: 10.0.0.1\r\n\r\n"), 403, "Forbidden"),
    ];
    for (request, status, code) in table {
        let answer = raw(&project, "a", &request);
        answer.is(status, code);
        assert_eq!(answer.head.contains("allow: get"), status == 405, "{answer:?}");
        assert!(answer.body["SecretAccessKey"].is_null() && answer.body["Token"].is_null(), "{answer:?}");
    }
}

#[test]
fn what_sdks_differ_in_is_taken() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    for request in [
        "GET {path}/ HTTP/1.1\r\nhost: {host}\r\nauthorization: {token}\r\n\r\n".to_owned(),
        "GET {path}?x=y HTTP/1.1\r\nHOST: 127.0.0.1\r\nAUTHORIZATION:{token}\r\n\r\n".to_owned(),
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n".to_owned(),
        "GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n".to_owned(),
        GET.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\nUser-Agent: x\r\n\r\n"),
    ] {
        let answer = raw(&project, "a", &request);
        assert_eq!(answer.status, 200, "{request}: {answer:?}");
    }
}
