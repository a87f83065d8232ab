//! Is this what an SDK sends? Before anybody's token is looked at: what a browser or a proxy sends is refused, and so is a name
//! that was bent to this machine (DNS rebinding).

use std::net::SocketAddrV4;

use http::request::Parts;
use http::{HeaderMap, Method, header};

use super::answer::Answer;

/// Of the path: an opaque id follows. No caller names a service, let alone a role.
pub(super) const CREDENTIALS: &str = "/v1/creds/";

/// What only browsers and those who pass requests on put into a head.
const STRANGE: &[&str] = &["origin", "referer", "forwarded", "via"];
const STRANGE_BEGINNINGS: &[&str] = &["sec-fetch-", "x-forwarded-"];

/// The id that is asked for, or what is answered instead.
pub(super) fn wanted(request: &Parts, at: SocketAddrV4) -> Result<&str, Answer> {
    if let Some(name) = request.headers.keys().map(http::HeaderName::as_str).find(|name| is_strange(name)) {
        return Err(Answer::forbidden(&format!("requests with `{name}` come from a browser or a proxy")));
    }
    if !is_us(request, at) {
        return Err(Answer::forbidden(&format!("this is `{at}` and answers to no other name")));
    }
    let path = request.uri.path();
    let id = path.strip_prefix(CREDENTIALS).map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let id = id.filter(|id| !id.is_empty() && !id.contains('/')).ok_or_else(Answer::not_found)?;
    if request.method == Method::GET { Ok(id) } else { Err(Answer::wrong_method()) }
}

fn is_strange(name: &str) -> bool {
    STRANGE.contains(&name) || STRANGE_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

fn is_us(request: &Parts, at: SocketAddrV4) -> bool {
    // A proxy's request line names the host a second time.
    let written = request.uri.authority().map(http::uri::Authority::as_str);
    only(&request.headers, &header::HOST)
        .and_then(|host| std::str::from_utf8(host).ok())
        .is_some_and(|host| is_ours(host, at.port()) && written.is_none_or(|written| is_ours(written, at.port())))
}

fn is_ours(host: &str, port: u16) -> bool {
    let name = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
    name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")
}

/// What is said twice is not said.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a [u8]> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none()).map(http::HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};

    use super::*;

    fn asked(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<String, u16> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let at = "127.0.0.1:4242".parse().expect("an address");
        let status = |answer| match answer {
            Answer::No { status, .. } => status,
            Answer::Credentials(_) => StatusCode::OK,
        };
        wanted(&parts, at).map(str::to_owned).map_err(|answer| status(answer).as_u16())
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:4242");

    #[test]
    fn hosts_are_two_names_with_our_port_or_without() {
        for host in ["127.0.0.1:4242", "127.0.0.1", "localhost:4242", "localhost", "LocalHost"] {
            assert_eq!(asked("GET", "/v1/creds/x", &[("host", host)]), Ok("x".into()), "{host}");
        }
        for host in ["127.0.0.1:80", "127.1", "127.0.0.2", "example.org", "localhost.", "127.0.0.1.example.org", ""] {
            assert_eq!(asked("GET", "/v1/creds/x", &[("host", host)]), Err(403), "{host}");
        }
        assert_eq!(asked("GET", "/v1/creds/x", &[]), Err(403), "none");
        assert_eq!(asked("GET", "/v1/creds/x", &[HOST, HOST]), Err(403), "two");
        assert_eq!(asked("GET", "http://example.org/v1/creds/x", &[HOST]), Err(403), "a proxy's request line");
        assert_eq!(asked("GET", "http://127.0.0.1:4242/v1/creds/x", &[HOST]), Ok("x".into()));
    }

    #[test]
    fn browsers_and_proxies_are_refused() {
        let names = ["Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "X-Forwarded-For", "Forwarded", "Via"];
        for name in names {
            assert_eq!(asked("GET", "/v1/creds/x", &[HOST, (name, "x")]), Err(403), "{name}");
        }
        assert_eq!(asked("GET", "/v1/creds/x", &[HOST, ("accept", "application/json")]), Ok("x".into()));
    }

    #[test]
    fn the_path_is_an_id_and_nothing_else() {
        for path in ["/v1/creds/x", "/v1/creds/x/", "/v1/creds/x?role=y", "/v1/creds/x/?"] {
            assert_eq!(asked("GET", path, &[HOST]), Ok("x".into()), "{path}");
        }
        for path in ["/", "/v1/creds", "/v1/creds/", "/v1/creds//", "/v1/creds/x/y", "/v1/creds/x//", "/v2/creds/x"] {
            assert_eq!(asked("GET", path, &[HOST]), Err(404), "{path}");
        }
        for method in ["POST", "PUT", "HEAD", "OPTIONS", "DELETE"] {
            assert_eq!(asked(method, "/v1/creds/x", &[HOST]), Err(405), "{method}");
        }
    }
}
