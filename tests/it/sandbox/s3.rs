//! S3: whose bucket it is, what comes back, and bodies in chunks.

use std::time::Duration;

use super::signed::{Answer, Ask, Keys, assume, raw};
use super::{A, B, config, start};

#[test]
fn each_role_reads_and_writes_its_own_bucket_and_no_other() {
    let handle = start(config());
    let base: Keys = handle.ready().into();
    let (a, b) = (assume(handle.url(), &base, A), assume(handle.url(), &base, B));
    for (who, keys, allowed) in [("a", &a, "bucket1"), ("b", &b, "bucket2"), ("dev", &base, "none")] {
        for bucket in ["bucket1", "bucket2", "bucket3"] {
            let due = if bucket == allowed { "ok" } else { "AccessDenied" };
            let list = Ask::s3("GET", &format!("/{bucket}?list-type=2")).send(handle.url(), keys);
            assert_eq!(list.code(), due, "{who} lists {bucket}: {}", list.body);
            let put = Ask { body: b"x", ..Ask::s3("PUT", &format!("/{bucket}/k")) }.send(handle.url(), keys);
            assert_eq!(put.code(), due, "{who} writes {bucket}: {}", put.body);
            let head = Ask::s3("HEAD", &format!("/{bucket}")).send(handle.url(), keys);
            assert_eq!(head.status, if due == "ok" { 200 } else { 403 }, "{who} heads {bucket}");
        }
    }
    let denied = Ask::s3("GET", "/bucket2?list-type=2").send(handle.url(), &a);
    assert_eq!(denied.status, 403);
    let said = "User: arn:aws:sts::123456789012:assumed-role/service-a/me is not authorized to perform: s3:ListBucket on resource: \
                &quot;arn:aws:s3:::bucket2&quot; because no identity-based policy allows the s3:ListBucket action";
    assert_eq!(denied.element("Message"), Some(said));
}

#[test]
fn what_is_not_there_is_said_so() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    for (method, path, status, code) in [
        ("GET", "/nowhere?list-type=2", 404, "NoSuchBucket"),
        ("GET", "/bucket1/nothing", 404, "NoSuchKey"),
        ("GET", "/bucket1?policy", 501, "NotImplemented"),
        ("PUT", "/bucket9", 501, "NotImplemented"),
        ("GET", "/bucket1?list-type=2&max-keys=many", 400, "InvalidArgument"),
    ] {
        let answer = Ask::s3(method, path).send(handle.url(), &a);
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {path}");
    }
}

#[test]
fn an_object_lives_from_put_to_delete() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    let ask = |method, path: &str, body: &[u8]| Ask { body, ..Ask::s3(method, path) }.send(handle.url(), &a);
    assert_eq!(ask("PUT", "/bucket1/dir/a%20key", b"hello world").status, 200);
    assert_eq!(ask("GET", "/bucket1/dir/a%20key", b"").body, "hello world");
    let head = ask("HEAD", "/bucket1/dir/a%20key", b"");
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (200, Some("11"), ""));
    let list = ask("GET", "/bucket1?delimiter=%2F&encoding-type=url&list-type=2&prefix=dir%2F", b"");
    assert_eq!((list.element("Key"), list.element("Size")), (Some("dir/a%20key"), Some("11")));
    assert_eq!(ask("DELETE", "/bucket1/dir/a%20key", b"").status, 204);
    assert_eq!(ask("GET", "/bucket1/dir/a%20key", b"").code(), "NoSuchKey");
    assert_eq!(ask("GET", "/", b"").element("Name"), Some("bucket1"), "only what it may use is listed");
}

#[test]
fn what_is_wrong_with_a_signature_is_said_in_the_words_of_s3() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    let ask = |keys: &Keys, ahead| Ask { ahead, ..Ask::s3("GET", "/bucket1?list-type=2") }.send(handle.url(), keys);
    for (keys, ahead, status, code) in [
        (a.clone(), 0, 200, "ok"),
        (Keys { id: "ASIASANDBOXNOBODYNOB".into(), ..a.clone() }, 0, 403, "InvalidAccessKeyId"),
        (Keys { secret: "x".repeat(40), ..a.clone() }, 0, 403, "SignatureDoesNotMatch"),
        (Keys { token: Some("x".into()), ..a.clone() }, 0, 400, "InvalidToken"),
        (Keys { token: None, ..a.clone() }, 0, 400, "InvalidToken"),
        (a.clone(), -16 * 60, 403, "RequestTimeTooSkewed"),
        (a.clone(), 16 * 60, 403, "RequestTimeTooSkewed"),
    ] {
        let answer = ask(&keys, ahead);
        assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.body);
    }
    let unsigned = raw(handle.url(), "GET", "/bucket1?list-type=2", &[], b"").expect("an answer");
    assert_eq!((unsigned.status, unsigned.code()), (403, "AccessDenied"));
}

#[test]
fn a_body_is_checked_against_its_signed_hash() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    let ask = Ask { body: b"hello", ..Ask::s3("PUT", "/bucket1/k") };
    let (target, headers) = ask.signed(handle.url(), &a);
    let changed = raw(handle.url(), "PUT", &target, &headers, b"hullo").expect("an answer");
    assert_eq!(changed.code(), "XAmzContentSHA256Mismatch");
    assert_eq!(Ask::s3("GET", "/bucket1/k").send(handle.url(), &a).code(), "NoSuchKey");
}

#[test]
fn a_chunked_body_with_a_trailer_is_unwrapped() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    let put = |body: &[u8], length: usize| -> Answer {
        let headers = vec![
            ("content-encoding", "aws-chunked".to_owned()),
            ("x-amz-decoded-content-length", length.to_string()),
            ("x-amz-trailer", "x-amz-checksum-crc32".to_owned()),
        ];
        let payload = Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        Ask { body, headers, payload, ..Ask::s3("PUT", "/bucket1/chunked") }.send(handle.url(), &a)
    };
    let whole = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
    assert_eq!(put(whole, 11).code(), "ok");
    assert_eq!(Ask::s3("GET", "/bucket1/chunked").send(handle.url(), &a).body, "hello world");
    assert_eq!(put(whole, 12).code(), "IncompleteBody");
    assert_eq!(put(b"5\r\nhel", 5).code(), "IncompleteBody");
}

#[test]
fn a_chunk_whose_signature_is_wrong_is_refused() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    let body = format!("5;chunk-signature={0}\r\nhello\r\n0;chunk-signature={0}\r\n\r\n", "0".repeat(64));
    let headers = vec![("x-amz-decoded-content-length", "5".to_owned())];
    let payload = Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let ask = Ask { body: body.as_bytes(), headers, payload, ..Ask::s3("PUT", "/bucket1/chunked") };
    assert_eq!(ask.send(handle.url(), &a).code(), "SignatureDoesNotMatch");
}

#[test]
fn a_presigned_address_is_good_for_its_object_and_its_time() {
    let handle = start(config());
    let a = assume(handle.url(), &handle.ready().into(), A);
    assert_eq!(Ask { body: b"hello", ..Ask::s3("PUT", "/bucket1/k") }.send(handle.url(), &a).code(), "ok");
    let presign = |ahead| {
        let ask = Ask { presigned: Some(Duration::from_mins(1)), ahead, ..Ask::s3("GET", "/bucket1/k") };
        ask.signed(handle.url(), &a).0
    };
    let get = |target: &str| raw(handle.url(), "GET", target, &[], b"").expect("an answer");
    assert_eq!(get(&presign(0)).body, "hello");
    assert_eq!(get(&presign(0).replace("/k?", "/other?")).code(), "SignatureDoesNotMatch");
    let late = get(&presign(-120));
    assert_eq!((late.code(), late.element("Message")), ("AccessDenied", Some("Request has expired")));
}
