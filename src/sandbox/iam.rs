//! A little IAM: GetRole, whose trust policy is what the sandbox goes by. Everything else is denied, as it mostly is.

use http::StatusCode;
use http::request::Parts;
use hyper::body::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::config::Config;
use super::refusal::{Distrust, Refusal};
use super::sigv4;
use super::sts::Form;
use super::world::World;
use super::xml::element;

/// The answer's XML.
pub(super) fn answer(
    world: &World,
    parts: &Parts,
    body: &Bytes,
    form: &Form,
    request_id: &str,
) -> Result<String, Refusal> {
    let claims = sigv4::claims(parts).map_err(|unsigned| Distrust::Unsigned(unsigned).of_sts())?;
    let caller = world.caller(parts, &claims, &sigv4::hash(body)).map_err(Distrust::of_sts)?;
    let action = form.get("Action").map_or("", String::as_str);
    if action != "GetRole" {
        let who = &caller.principal.arn;
        return Err(Refusal::denied(format!("User: {who} is not authorized to perform: iam:{action}")));
    }
    let name = form.get("RoleName").map_or("", String::as_str);
    let role = role(&world.config, &caller.principal.account, name).ok_or_else(|| {
        let message = format!("The role with name {name} cannot be found.");
        Refusal::new(StatusCode::NOT_FOUND, "NoSuchEntity", message)
    })?;
    let trust = trust(&world.config, role).to_string();
    Ok(format!(
        "<GetRoleResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetRoleResult><Role>{}{}{}{}</Role></GetRoleResult>\
         <ResponseMetadata>{}</ResponseMetadata></GetRoleResponse>",
        element("Arn", role),
        element("RoleName", role.rsplit('/').next().unwrap_or_default()),
        element("CreateDate", "2026-01-01T00:00:00Z"),
        element("AssumeRolePolicyDocument", &utf8_percent_encode(&trust, NON_ALPHANUMERIC).to_string()),
        element("RequestId", request_id),
    ))
}

/// IAM finds a role whatever the case of its name; STS does not.
fn role<'a>(config: &'a Config, account: &str, name: &str) -> Option<&'a str> {
    let named = |arn: &&str| {
        arn.split(':').nth(4) == Some(account)
            && arn.rsplit('/').next().is_some_and(|known| known.eq_ignore_ascii_case(name))
    };
    config.roles.iter().map(String::as_str).find(named)
}

fn trust(config: &Config, role: &str) -> Value {
    let mut principals = vec![config.base_role_arn.as_str()];
    principals.extend(config.trusts.get(role).into_iter().flatten().map(String::as_str));
    let mut statement = json!({ "Effect": "Allow", "Principal": { "AWS": principals }, "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"] });
    if let Some(id) = config.external_ids.get(role) {
        statement["Condition"]["StringEquals"]["sts:ExternalId"] = json!(id);
    }
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}
