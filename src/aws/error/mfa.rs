//! Refusals of devsup's own around MFA: a person has to give a code.

use super::{About, Lasting, own};
use crate::supervisor::Refusal;

/// What takes a code, wherever it is said.
const MEND: &str = "devsup creds --mfa";

/// Lasting: it takes a person. Asked again at once when the code comes.
pub(in crate::aws) fn mfa_required(about: &About<'_>) -> Refusal {
    wanted(Refusal::MFA_REQUIRED, format!("an MFA code of `{}` is needed", serial(about)), about)
}

pub(in crate::aws) fn mfa_expired(about: &About<'_>) -> Refusal {
    let message = format!("the session that an MFA code of `{}` opened is over; a new code is needed", serial(about));
    wanted(Refusal::MFA_EXPIRED, message, about)
}

/// A code was given, and nobody asks for one.
pub(in crate::aws) fn no_mfa(about: &About<'_>) -> Refusal {
    Refusal {
        message: "no MFA code is wanted: the manifest has no `[aws] mfa_serial`".to_owned(),
        hint: Some(
            "add the ARN of your MFA device to `[aws]` as `mfa_serial`, if your IAM user must show a code".to_owned(),
        ),
        ..own("MfaNotWanted", Lasting::Yes, about)
    }
}

fn wanted(code: &str, message: String, about: &About<'_>) -> Refusal {
    let sandbox = if about.sandbox { " (the sandbox takes 123456)" } else { "" };
    Refusal {
        message,
        hint: Some(format!("give a code: `{MEND}`{sandbox}")),
        side: Some("caller".to_owned()),
        ..own(code, Lasting::Yes, about)
    }
}

fn serial<'a>(about: &'a About<'_>) -> &'a str {
    about.mfa_serial.unwrap_or("the base identity's device")
}
