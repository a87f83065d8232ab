//! Who devsup itself is in AWS, and where its requests go.

use std::time::Duration;

use super::finding::Finding;
use crate::aws::Standing;
use crate::manifest::Secs;
use crate::supervisor::{Refusal, Wall};

/// Base credentials that end sooner are worth a word.
const SOON: Duration = Duration::from_mins(15);

pub(super) struct Facts<'a> {
    pub(super) standing: &'a Standing,
    /// The embedded AWS is asked, so all of this is a play.
    pub(super) sandbox: bool,
    pub(super) overrides: &'a [String],
    pub(super) now: Wall,
}

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let mut all = vec![identity(facts)];
    all.extend(expiry(facts));
    all.extend(facts.overrides.iter().map(|found| {
        Finding::warn("endpoint", format!("{found} is in force: devsup itself does not ask AWS there"))
            .fix("unset it, or leave it if that is meant (LocalStack, a VPC endpoint)")
    }));
    all
}

fn identity(facts: &Facts<'_>) -> Finding {
    let standing = facts.standing;
    match (&standing.identity, &standing.mismatch) {
        (Ok(_), Some(refusal)) | (Err(refusal), _) => refused("base", refusal),
        (Ok(is), None) if facts.sandbox => {
            Finding::ok("base", format!("SANDBOX: `{}`, of the embedded stand-in for AWS", is.arn))
        }
        (Ok(is), None) => {
            let place = standing.place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
            Finding::ok("base", format!("`{}` of account {}, from {}{place}", is.arn, is.account, is.source))
        }
    }
}

/// In AWS's own words where it has spoken; an answer that never came is nobody's refusal.
pub(super) fn refused(check: &'static str, refusal: &Refusal) -> Finding {
    let found = Finding::error(check, &refusal.message).fix(refusal.hint.clone().unwrap_or_default());
    let side = refusal.side.as_ref().map(|side| format!(", on the side of the {side}"));
    let request = refusal.request_id.as_ref().map(|id| format!(", request {id}"));
    let found = found.detail(format!("{}{}{}", refusal.code, side.unwrap_or_default(), request.unwrap_or_default()));
    if refusal.lasting { found.refused() } else { found }
}

fn expiry(facts: &Facts<'_>) -> Option<Finding> {
    let expires = facts.standing.expires.filter(|_| facts.standing.identity.is_ok())?;
    let left = Duration::from_millis(u64::try_from(expires.0 - facts.now.0).unwrap_or(0));
    let sentence = format!("the base credentials end in {}", Secs(left));
    let renewed = "devsup takes newer ones when their source has them: `aws sso login`, or bring the project up again \
                   where the variables are fresh";
    Some(match left {
        Duration::ZERO => Finding::error("base", "the base credentials have ended").fix(renewed).refused(),
        _ if left < SOON => Finding::warn("base", sentence).fix(renewed),
        _ => Finding::ok("base", sentence),
    })
}
