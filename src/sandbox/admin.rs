//! `/_sandbox/…`: faults and counts while it runs, for tests and for people with curl.
//!
//! It holds no secret and gives none, but it can make the sandbox useless: so no page in a browser may reach it, neither
//! by name (DNS rebinding: the Host must be loopback's) nor by script (browsers add headers that others do not).

use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::faults::Faults;
use super::sigv4;
use super::world::World;

const BROWSERS: [&str; 4] = ["origin", "referer", "sec-fetch-site", "x-forwarded-for"];

/// Is the path one of ours?
pub(super) fn is_admin(parts: &Parts) -> bool {
    parts.uri.path() == "/_sandbox" || parts.uri.path().starts_with("/_sandbox/")
}

/// Status and JSON.
pub(super) fn answer(world: &World, parts: &Parts, body: &Bytes) -> (StatusCode, Value) {
    if BROWSERS.iter().any(|name| parts.headers.contains_key(*name)) || !local(parts) {
        return problem(StatusCode::FORBIDDEN, "the sandbox's own paths are not for browsers or proxies");
    }
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/_sandbox/faults") => (StatusCode::OK, json!(world.gate().faults)),
        (&Method::POST, "/_sandbox/faults") => match serde_json::from_slice::<Faults>(body) {
            Ok(faults) => {
                world.set_faults(faults.clone());
                (StatusCode::OK, json!(faults))
            }
            Err(error) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        (&Method::POST, "/_sandbox/reset") => {
            world.reset();
            (StatusCode::OK, json!({}))
        }
        (&Method::GET, "/_sandbox/calls") => (StatusCode::OK, json!(world.ledger().calls)),
        _ => problem(StatusCode::NOT_FOUND, "there are GET and POST faults, POST reset, GET calls"),
    }
}

fn problem(status: StatusCode, message: &str) -> (StatusCode, Value) {
    (status, json!({ "error": message }))
}

fn local(parts: &Parts) -> bool {
    let host = sigv4::text(&parts.headers, "host").unwrap_or_default();
    matches!(host.rsplit_once(':').map_or(host, |(name, _)| name), "127.0.0.1" | "localhost")
}
