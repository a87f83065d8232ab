//! This machine's clock against that of AWS.

use std::time::Duration;

use super::finding::Finding;
use crate::manifest::span;

/// AWS itself refuses signatures beyond 15 minutes; long before that, what expires when is not what it seems.
const WARN: Duration = Duration::from_mins(1);
const ERROR: Duration = Duration::from_mins(4);

const BEYOND: &str =
    "AWS refuses signatures that are 15m off; not every SDK corrects for it, nor for when credentials expire";
const MEND: &str = "sudo timedatectl set-ntp true    # and see: timedatectl status\nsudo chronyc makestep            # where chrony keeps the time";

/// Local − AWS's, milliseconds.
pub(super) fn judge(skew_ms: Option<i64>) -> Option<Finding> {
    let skew_ms = skew_ms?;
    let off = Duration::from_millis(skew_ms.unsigned_abs());
    let side = if skew_ms < 0 { "behind" } else { "ahead of" };
    // The header has whole seconds.
    let sentence = match off {
        _ if off < Duration::from_secs(2) => "within 2s of AWS's".to_owned(),
        _ => format!("{} {side} AWS's", span(Duration::from_secs(off.as_secs()))),
    };
    Some(match off {
        _ if off > ERROR => Finding::error("clock", sentence).detail(BEYOND).fix(MEND),
        _ if off > WARN => Finding::warn("clock", sentence).detail(BEYOND).fix(MEND),
        _ => Finding::ok("clock", sentence),
    })
}
