//! How to mend each refusal, ready to paste, with the manifest's own ARNs in it.

use super::kind::{Kind, Side};
use super::{About, Answer};
use crate::aws::arn;
use crate::aws::iam::Statement;
use crate::manifest::Secs;

/// Statement for the caller's own policy: it may assume this role.
pub(in crate::aws) fn may_assume(role: &str, more: &[&str]) -> String {
    Statement::may_assume("DevsupAssume", vec![role.to_owned()], more).to_string()
}

/// Statement for the role's trust policy: it trusts this caller.
pub(in crate::aws) fn trusts(principal: &str, more: &[&str], external_id: Option<&str>) -> String {
    Statement::trusts_with(principal, more, external_id).to_string()
}

pub(super) fn of(kind: Kind, answer: &Answer, about: &About<'_>) -> Option<String> {
    let role = about.role_arn();
    let hint = match kind {
        Kind::Denied(side) => denied(side, answer, about),
        Kind::WrongCode => {
            "give another one: `devsup creds --mfa`; each code is taken once and lasts half a minute, so wait for the next".to_owned()
        }
        Kind::WrongDevice => format!(
            "compare `[aws] mfa_serial` with the devices of the user whose keys these are (from {}): \
             `aws iam list-mfa-devices`",
            about.source
        ),
        Kind::NotAUser => format!(
            "drop `[aws] mfa_serial`, or make the base identity the IAM user whose device it is (now it comes from {})",
            about.source
        ),
        Kind::TooLong => format!(
            "lower `duration` (it is {}), or set max_session_duration (3600..43200) of `{role}` as high",
            about.role.map(|role| Secs(role.duration).to_string()).unwrap_or_default()
        ),
        Kind::ChainLimit => "set `duration = \"1h\"` or less, or leave it out; nothing in IAM can raise it".to_owned(),
        Kind::Validation => {
            "compare `role`, `session_name`, `external_id`, `tags` and `duration` of this service with AWS's limits: \
             `devsup config`"
                .to_owned()
        }
        Kind::MalformedPolicy => "mend `policy` of this service: it must be one IAM policy document as JSON".to_owned(),
        Kind::PackedPolicy => packed(about),
        Kind::RegionDisabled => "activate STS there (IAM console, Account settings), or set `[aws] region` or \
                                 `[aws] sts_endpoint` to a region where it is, e.g. `us-east-1`"
            .to_owned(),
        Kind::UnknownKey => format!(
            "the keys are deleted, of another partition, or lack their session token; look where they come from ({}), and \
             for stale AWS_* variables where `devsup up` was typed: `devsup whoami`",
            about.source
        ),
        Kind::Expired => format!("renew them where they come from ({}), e.g. `aws sso login`; asks again by itself", about.source),
        Kind::Clock => "set the clock: `timedatectl status`, `chronyc makestep`".to_owned(),
        Kind::Signature => format!(
            "look at the secret key where it comes from ({}): copied whole, no blanks; and for a proxy that alters requests",
            about.source
        ),
        Kind::Throttled => "asks again by itself; a longer `duration` or fewer services asks less often".to_owned(),
        Kind::IdentityProvider => "asks again by itself; if it lasts, look at the identity provider".to_owned(),
        Kind::NotOptedIn => "opt the account in to the region, or set `[aws] region`".to_owned(),
        Kind::NoCredentials => "look where the base credentials come from: `devsup whoami`".to_owned(),
        Kind::Foreign => foreign(answer, about),
        Kind::Server => "asks again by itself".to_owned(),
        Kind::Other => return None,
    };
    Some(hint)
}

fn foreign(answer: &Answer, about: &About<'_>) -> String {
    match (&about.proxy, answer.status) {
        (Some(proxy), _) => format!("look at the proxy {proxy}: that page is probably its own; asks again by itself"),
        (None, 500..) => "asks again by itself".to_owned(),
        (None, _) => format!("look at what answers as `{}`: it is not STS; asks again by itself", about.endpoint),
    }
}

fn denied(side: Side, answer: &Answer, about: &About<'_>) -> String {
    let (role, principal) = (about.role_arn(), about.principal());
    let external_id = about.role.and_then(|role| role.external_id.as_deref());
    let extra = about.extra();
    let with = |more: &'static str| {
        let rest = extra.iter().copied().filter(|known| *known != more);
        rest.chain(Some(more).filter(|more| !more.is_empty())).collect::<Vec<_>>()
    };
    let caller = |extra: &[&str]| format!("add to the policy of `{principal}`:\n{}", may_assume(role, extra));
    let target =
        |extra: &[&str]| format!("add to the trust policy of `{role}`:\n{}", trusts(&principal, extra, external_id));
    let both = |extra: &[&str]| format!("{}\n{}", caller(extra), target(extra));
    match side {
        Side::CallerLacks => caller(&extra),
        Side::CallerDenies => {
            format!("find the Deny for sts:AssumeRole in the policies of `{principal}`; an Allow does not outweigh it")
        }
        Side::Boundary => {
            format!("the permissions boundary of `{principal}` must allow it too:\n{}", may_assume(role, &extra))
        }
        Side::SessionPolicy => format!(
            "the session policy that `{principal}` was assumed with must allow it too:\n{}",
            may_assume(role, &extra)
        ),
        Side::Target => target(&extra),
        Side::Organisation => "ask the organisation's administrator: no policy in this account can allow it".to_owned(),
        Side::Endpoint => format!(
            "let the VPC endpoint's policy allow it, or use the public endpoint (`[aws] sts_endpoint`):\n{}",
            may_assume(role, &extra)
        ),
        Side::Tags => both(&with("sts:TagSession")),
        Side::SourceIdentity => both(&with("sts:SetSourceIdentity")),
        Side::Untold => match answer.found.as_deref().filter(|found| !found.sentences.is_empty()) {
            Some(found) if found.complete => found.sentences.join("\n"),
            Some(found) => {
                let statements = match found.side {
                    Some("caller") => caller(&extra),
                    Some("target") => target(&extra),
                    _ => both(&extra),
                };
                format!("{}\n{statements}", found.sentences.join("\n"))
            }
            None => untold(about, &caller(&extra), &target(&extra)),
        },
    }
}

/// What fills a session: its policy, its tags, and those that stick to the session that asks.
fn packed(about: &About<'_>) -> String {
    let last = about.packed.map_or_else(String::new, |percent| format!("; the last lease took {percent}% of it"));
    let tags = about.role.is_some_and(|role| !role.tags.is_empty());
    let tags = if tags { "use fewer or shorter `tags`, " } else { "" };
    format!(
        "{tags}shorten `policy`, or move parts of it into managed policies named in `policy_arns`; transitive tags of the \
         session that asks count too{last}"
    )
}

/// AWS does not say which side: what can be told from the two ARNs, then both statements.
fn untold(about: &About<'_>, caller: &str, target: &str) -> String {
    let (role, principal) = (about.role_arn(), about.principal());
    let accounts = if about.caller.is_none() {
        "who asks is unknown: `devsup whoami`".to_owned()
    } else if principal == role {
        "the caller is the role itself: since 2022 it must be allowed to assume itself".to_owned()
    } else if arn::account(&principal) == arn::account(role) {
        "both are in one account: a trust that names the caller is enough, else both statements are needed".to_owned()
    } else {
        "they are in two accounts: both statements are needed".to_owned()
    };
    let external = match about.role.and_then(|role| role.external_id.as_deref()) {
        Some(_) => "; compare `external_id` with the trust's sts:ExternalId",
        None => "; if the trust asks for sts:ExternalId, set `external_id`",
    };
    format!(
        "{accounts}; AWS says the same when the role does not exist: compare path, spelling and case of `{role}`{external}; a \
         change in IAM takes a minute to arrive\n{caller}\n{target}"
    )
}
