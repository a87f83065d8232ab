//! One request in, one answer out: whom it is for, what fault strikes it, and the headers AWS puts around every answer.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};

use super::faults::{Strike, Target};
use super::identity::request_id;
use super::refusal::Refusal;
use super::s3::{self, Success};
use super::s3_operation::Address;
use super::world::World;
use super::{admin, iam, sigv4, sts};

/// The largest object.
const LARGE: usize = 64 << 20;
/// The largest body of anything else.
const SMALL: usize = 1 << 20;
/// A body that does not come is not waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// The connection ends with no answer: that is what the fault asked for, or the client has gone.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection is dropped")]
pub(super) struct Dropped;

pub(super) async fn dispatch<B>(world: Arc<World>, request: http::Request<B>) -> Result<Response<Full<Bytes>>, Dropped>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let id = request_id();
    let mut response = if admin::is_admin(&parts) {
        match read(body, SMALL).await {
            Ok(body) => {
                let (status, json) = admin::answer(&world, &parts, &body);
                reply(status, "application/json", json.to_string())
            }
            Err(refusal) => reply(refusal.status, "text/plain", refusal.to_string()),
        }
    } else {
        match whom(&parts) {
            Whom::Sts => for_sts(&world, &parts, body, &id).await?,
            Whom::S3 => for_s3(&world, &parts, body, &id).await?,
            Whom::Iam => for_iam(&world, &parts, body, &id).await,
            Whom::Nobody(service) => nobody(&parts, &service, &id),
        }
    };
    if let Ok(date) = HeaderValue::from_str(&world.date()) {
        response.headers_mut().insert("date", date);
    }
    Ok(response)
}

/// The service a request is for.
enum Whom {
    Sts,
    S3,
    Iam,
    /// One the sandbox does not have.
    Nobody(String),
}

fn whom(parts: &Parts) -> Whom {
    if let Ok(claims) = sigv4::claims(parts) {
        return match claims.service.as_str() {
            "sts" => Whom::Sts,
            "s3" => Whom::S3,
            "iam" => Whom::Iam,
            _ => Whom::Nobody(claims.service),
        };
    }
    let asks = parts.method == Method::POST || parts.uri.query().is_some_and(|query| query.contains("Action="));
    if parts.uri.path() == "/" && asks { Whom::Sts } else { Whom::S3 }
}

async fn for_sts<B>(world: &World, parts: &Parts, body: B, id: &str) -> Result<Response<Full<Bytes>>, Dropped>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let outcome = match read(body, SMALL).await {
        Err(refusal) => Err(refusal),
        Ok(body) => {
            let form = sts::form(parts, &body);
            let action = form.get("Action").map_or("", |action| sts::named(action)).to_owned();
            let _open = (action == "AssumeRole").then(|| Open::new(world, &form));
            let (delay, strike) = world.strike(Target::Sts);
            wait(delay).await;
            if strike == Strike::Drop {
                world.ledger().answered(&action, "dropped");
                return Err(Dropped);
            }
            let outcome = match sts::struck(strike) {
                Some(refusal) => Err(refusal),
                None => sts::answer(world, parts, &body, &form, id),
            };
            world.ledger().answered(&action, outcome.as_ref().map_or_else(|refusal| refusal.code, |_| "ok"));
            outcome
        }
    };
    let mut response = match outcome {
        Ok(xml) => reply(StatusCode::OK, "text/xml", xml),
        Err(refusal) => reply(refusal.status, "text/xml", refusal.sts_xml(id)),
    };
    header(&mut response, "x-amzn-requestid", id);
    Ok(response)
}

/// No fault strikes it: it is asked only why STS refuses.
async fn for_iam<B>(world: &World, parts: &Parts, body: B, id: &str) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let outcome = match read(body, SMALL).await {
        Err(refusal) => Err(refusal),
        Ok(body) => iam::answer(world, parts, &body, &sts::form(parts, &body), id),
    };
    let mut response = match outcome {
        Ok(xml) => reply(StatusCode::OK, "text/xml", xml),
        Err(refusal) => reply(refusal.status, "text/xml", refusal.sts_xml(id)),
    };
    header(&mut response, "x-amzn-requestid", id);
    response
}

async fn for_s3<B>(world: &World, parts: &Parts, body: B, id: &str) -> Result<Response<Full<Bytes>>, Dropped>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (delay, strike) = world.strike(Target::S3);
    wait(delay).await;
    if strike == Strike::Drop {
        return Err(Dropped);
    }
    let address = Address::of(parts);
    let admitted = match sts::struck(strike) {
        Some(refusal) => Err(refusal),
        None => s3::admit(world, parts, &address),
    };
    // A small body is read even when it is refused: to close on a client that still writes may cost it the answer.
    let limit = if admitted.is_ok() { LARGE } else { SMALL };
    let action = admitted.as_ref().map_or("S3", |admitted| admitted.operation.name());
    let body = read(body, limit).await;
    let outcome = match &admitted {
        Err(refusal) => Err(refusal.clone()),
        Ok(admitted) => body.and_then(|body| s3::perform(world, parts, admitted, &body)),
    };
    world.ledger().answered(action, outcome.as_ref().map_or_else(|refusal| refusal.code, |_| "ok"));
    let mut response = match outcome {
        Ok(Success { status, headers, body }) => {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
        Err(refusal) => reply(refusal.status, "application/xml", refusal.s3_xml(parts.uri.path(), id)),
    };
    header(&mut response, "x-amz-request-id", id);
    header(&mut response, "x-amz-id-2", id);
    Ok(response)
}

/// A service the sandbox does not have: said in the protocol the client speaks, so that its SDK can show it.
fn nobody(parts: &Parts, service: &str, id: &str) -> Response<Full<Bytes>> {
    let message = format!("the sandbox has sts, s3 and a little iam only, not `{service}`");
    let content = sigv4::text(&parts.headers, "content-type").unwrap_or_default();
    let refusal = Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message);
    let mut response = if content.contains("json") {
        let json = serde_json::json!({ "__type": refusal.code, "message": refusal.message });
        reply(refusal.status, "application/x-amz-json-1.1", json.to_string())
    } else {
        reply(refusal.status, "text/xml", refusal.sts_xml(id))
    };
    header(&mut response, "x-amzn-requestid", id);
    response
}

/// Counts an AssumeRole while it is open, however it ends.
struct Open<'a>(&'a World);

impl<'a> Open<'a> {
    fn new(world: &'a World, form: &sts::Form) -> Self {
        let asked = form.get("RoleArn").map_or("", String::as_str);
        let known = world.config.roles.iter().any(|role| role == asked);
        let mut ledger = world.ledger();
        ledger.asked(if known { asked } else { "unknown" }, "AssumeRole");
        ledger.opened();
        Self(world)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.ledger().closed();
    }
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

async fn read<B>(body: B, limit: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bad = |code, message: &str| Refusal::new(StatusCode::BAD_REQUEST, code, message);
    if body.size_hint().lower() > limit as u64 {
        return Err(bad("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"));
    }
    match tokio::time::timeout(PATIENCE, Box::pin(Limited::new(body, limit)).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(bad("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"))
        }
        Ok(Err(_)) => Err(bad("IncompleteBody", "The request body terminated unexpectedly")),
        Err(_) => {
            Err(bad("RequestTimeout", "Your socket connection to the server was not read from or written to in time"))
        }
    }
}

fn reply(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response
}

fn header(response: &mut Response<Full<Bytes>>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
