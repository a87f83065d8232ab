//! Every way in which STS gives no lease, as a [`Refusal`]: what it is, whether asking again soon helps, who can mend it
//! and how.
//!
//! The SDK's own text of any failure is "service error"; here its code and message are read, with and without the
//! `Exception` that some answers carry. What must never happen: a secret in a sentence. So only the first line of AWS's
//! message is ever shown, and of a signature mismatch nothing (it may quote the request, token included).

use std::time::Duration;

mod failure;
mod hint;
mod kind;
mod mfa;

use failure::Hop;
pub(super) use failure::{Answer, Failure, date_ms};
use kind::Kind;
pub(super) use mfa::{mfa_expired, mfa_required, no_mfa};

use super::arn;
use super::chain::{Missing, one_line};
use crate::manifest::Role;
use crate::supervisor::{Refusal, Wall};

/// What was being asked, of whom, through what.
#[derive(Clone, Default)]
pub(super) struct About<'a> {
    pub(super) role: Option<&'a Role>,
    /// Who asked, when known.
    pub(super) caller: Option<String>,
    /// `[aws] base_role`: who should have asked.
    pub(super) base_role: Option<&'a str>,
    /// Where the base credentials came from.
    pub(super) source: String,
    /// `sts.eu-west-1.amazonaws.com`
    pub(super) endpoint: String,
    /// The setting that names it instead of AWS's own.
    pub(super) sent_by: Option<&'static str>,
    pub(super) proxy: Option<String>,
    pub(super) region: Option<String>,
    /// `[aws] mfa_serial`
    pub(super) mfa_serial: Option<&'a str>,
    pub(super) sandbox: bool,
    /// How full session policy and tags of this role's last lease were, in percent.
    pub(super) packed: Option<i32>,
    pub(super) at: Wall,
}

impl About<'_> {
    fn role_arn(&self) -> &str {
        self.role.map_or("the role", |role| role.arn.as_str())
    }

    /// The caller as policies name it: who asked, else who should have, else a placeholder that says so.
    fn principal(&self) -> String {
        match (&self.caller, self.base_role) {
            (Some(caller), _) => arn::principal(caller),
            (None, Some(role)) => role.to_owned(),
            (None, None) => "arn:aws:iam::<account of the base identity>:role/<base role>".to_owned(),
        }
    }

    /// What AssumeRole needs to be allowed beside itself, because the manifest uses it.
    fn extra(&self) -> Vec<&'static str> {
        let uses = |wanted: fn(&Role) -> bool, action| self.role.is_some_and(wanted).then_some(action);
        let tags = uses(|role| !role.tags.is_empty(), "sts:TagSession");
        let source = uses(|role| role.source_identity.is_some(), "sts:SetSourceIdentity");
        tags.into_iter().chain(source).collect()
    }

    fn who(&self) -> String {
        self.caller
            .as_deref()
            .map_or_else(|| format!("the base identity ({})", self.source), |arn| format!("`{}`", arn::short(arn)))
    }
}

/// How soon to look again whether a person has logged in.
const PERSON: Duration = Duration::from_secs(15);

/// The refusal for a failure.
pub(super) fn refusal(failure: &Failure, about: &About<'_>) -> Refusal {
    match failure {
        Failure::Answer(answer) => answered(answer, about),
        Failure::Unreachable(what) => unreachable(what, about),
        Failure::NoBase(missing) => no_base(missing, about),
        Failure::Refused(refusal) => (**refusal).clone(),
        Failure::Hop(hop) => on_hop(hop, about),
    }
}

/// Of a chain: every ARN in it is that hop's.
fn on_hop(hop: &Hop, about: &About<'_>) -> Refusal {
    let caller = hop.caller.clone().or_else(|| about.caller.clone());
    let refused = refusal(&hop.failure, &About { role: Some(&hop.role), caller, ..about.clone() });
    let message = format!("hop {} of {} to `{}`: {}", hop.number, hop.of, about.role_arn(), refused.message);
    Refusal { message, ..refused }
}

fn answered(answer: &Answer, about: &About<'_>) -> Refusal {
    let kind = Kind::of(answer);
    let text = answer.message.as_deref().map(one_line).unwrap_or_default();
    let caller = kind::caller_in(&text).map(str::to_owned).or_else(|| about.caller.clone());
    let about = About { caller: caller.clone(), ..about.clone() };
    let side = kind.side().or_else(|| answer.found.as_ref()?.side);
    Refusal {
        lasting: kind.lasting(),
        code: answer.code.clone().unwrap_or_else(|| format!("Http{}", answer.status)),
        message: kind.sentence(answer, &text, &about),
        hint: kind.hint(answer, &about),
        side: side.map(str::to_owned),
        caller,
        request_id: answer.request_id.clone(),
        retry_after: answer.retry_after.or_else(|| (kind == Kind::Expired).then_some(PERSON)),
        at: about.at,
    }
}

fn unreachable(what: &str, about: &About<'_>) -> Refusal {
    let (through, hint) = match &about.proxy {
        Some(proxy) => (
            format!(" through the proxy {proxy}"),
            format!("check that the proxy {proxy} is up and lets `{}` through, or add it to NO_PROXY", about.endpoint),
        ),
        None => (String::new(), direct(about)),
    };
    Refusal {
        message: format!("`{}` does not answer{through}: {what}", about.endpoint),
        hint: Some(hint),
        side: Some("network".to_owned()),
        ..own("Unreachable", Lasting::No, about)
    }
}

/// What to look at where nothing answers and no proxy stands between.
fn direct(about: &About<'_>) -> String {
    let endpoint = &about.endpoint;
    if let Some(setting) = about.sent_by {
        return format!("`{setting}` sends devsup there instead of to AWS: mend it, or drop it");
    }
    let region = about.region.as_deref().map_or_else(String::new, |region| format!("the region `{region}`, "));
    format!("check {region}DNS, the route and the VPC endpoint for `{endpoint}`; no proxy is set (HTTPS_PROXY)")
}

/// Lasting: it takes a person (a login, a profile) or the machine (at boot metadata may come after devsup), so nobody should
/// wait for it at a prompt; but once done it should be seen soon.
fn no_base(missing: &Missing, about: &About<'_>) -> Refusal {
    let usual = || {
        "log in (`aws sso login`), name a profile with `[aws] profile` or `--profile`, or attach an instance profile to \
         this machine; `devsup up --sandbox` needs none"
            .to_owned()
    };
    Refusal {
        message: format!("no base credentials: {}", missing.why),
        hint: Some(missing.hint.clone().unwrap_or_else(usual)),
        side: Some("caller".to_owned()),
        retry_after: Some(PERSON),
        ..own("NoBaseCredentials", Lasting::Yes, about)
    }
}

/// Lasting: whoever this is, it is not who the manifest says must ask.
pub(super) fn base_role_mismatch(is: &str, must: &str, about: &About<'_>) -> Refusal {
    Refusal {
        message: format!("the base identity is `{is}` (from {}), but `[aws] base_role` says `{must}`", about.source),
        hint: Some(format!(
            "become `{must}` (instance profile, `--profile`, or drop the variables and profile that give `{is}`), or mend \
             `[aws] base_role` in the manifest; no role was asked for"
        )),
        side: Some("caller".to_owned()),
        caller: Some(is.to_owned()),
        ..own("BaseRoleMismatch", Lasting::Yes, about)
    }
}

/// Lasting: what answered is not the STS that was asked.
pub(super) fn wrong_role(got: &str, about: &About<'_>) -> Refusal {
    Refusal {
        message: format!("asked for `{}` and was given `{got}`; those credentials were thrown away", about.role_arn()),
        hint: Some(format!("look at what answers as `{}`: it is not AWS's own STS", about.endpoint)),
        ..own("WrongRole", Lasting::Yes, about)
    }
}

/// The answer came, but holds nothing that can be used.
pub(super) fn unusable(what: &str, about: &About<'_>) -> Refusal {
    Refusal {
        message: format!("`{}` answered {what}", about.endpoint),
        hint: Some(
            "compare this machine's clock with AWS's (`timedatectl`), and look at what answers there".to_owned(),
        ),
        ..own("UnusableAnswer", Lasting::No, about)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasting {
    Yes,
    No,
}

/// A refusal of devsup's own.
fn own(code: &str, lasting: Lasting, about: &About<'_>) -> Refusal {
    Refusal {
        lasting: lasting == Lasting::Yes,
        code: code.to_owned(),
        message: String::new(),
        hint: None,
        side: None,
        caller: about.caller.clone(),
        request_id: None,
        retry_after: None,
        at: about.at,
    }
}

#[cfg(test)]
mod tests;
