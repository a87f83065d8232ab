//! Whether STS can be reached, through what, and how long it takes.

use std::time::Duration;

use super::finding::Finding;
use crate::manifest::span;

const SLOW: Duration = Duration::from_secs(2);

pub(super) struct Facts<'a> {
    pub(super) endpoint: &'a str,
    /// The variable's name, and what it says without its password.
    pub(super) proxy: Option<(&'a str, &'a str)>,
    /// `None`: no answer.
    pub(super) took: Option<Duration>,
    /// The base credentials were there to ask with.
    pub(super) asked: bool,
}

pub(super) fn judge(facts: &Facts<'_>) -> Option<Finding> {
    let through = match facts.proxy {
        Some((name, url)) => format!("through the proxy {url} ({name})"),
        None => "without a proxy".to_owned(),
    };
    let endpoint = facts.endpoint;
    match facts.took {
        Some(took) if took > SLOW => Some(
            Finding::warn("sts", format!("`{endpoint}` answered only after {}, {through}", span(took)))
                .detail("each attempt may take 5s, and a question 15s in all")
                .fix("look at the route, the VPC endpoint, DNS and the proxy on the way there"),
        ),
        Some(took) => Some(Finding::ok("sts", format!("`{endpoint}` answered in {}, {through}", span(took)))),
        // Why is said of the base identity, whose question it was.
        None if facts.asked => Some(Finding::error("sts", format!("`{endpoint}` does not answer, {through}"))),
        None => None,
    }
}
