//! Reads a role's trust policy as far as it concerns one caller: does it let that caller in, and if not, why not.
//!
//! Not IAM's whole language: what is not understood is named, never taken for fulfilled or broken.

use serde_json::Value;

use super::Case;
use crate::aws::arn;

/// What the policy says of this caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It names the caller itself.
    Direct,
    /// It names the caller's account: the caller's own policy must allow it too.
    Account,
    /// It names it under conditions that do not hold, or may not hold.
    Unless(Vec<String>),
    /// A statement denies it.
    Denied,
    /// It names neither. The ids of principals that do not exist any more.
    Nobody(Vec<String>),
    Unreadable,
}

impl Verdict {
    /// Sentences of what is to be changed.
    pub(super) fn troubles(&self) -> Vec<String> {
        match self {
            Self::Direct | Self::Account | Self::Unreadable => Vec::new(),
            Self::Unless(whys) => whys.clone(),
            Self::Denied => vec!["the trust policy has a Deny that speaks of this caller".to_owned()],
            Self::Nobody(gone) if gone.is_empty() => {
                vec!["the trust policy names neither this caller nor its account".to_owned()]
            }
            Self::Nobody(gone) => vec![format!(
                "the trust policy names `{}`, a principal that was deleted (a role made anew is another one): apply the trust \
                 again",
                gone.join("`, `")
            )],
        }
    }
}

pub(super) fn read(policy: &str, case: &Case<'_>) -> Verdict {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else { return Verdict::Unreadable };
    let statements = many(&policy["Statement"]).into_iter().filter(|one| assumes(one));
    let (mut gone, mut best) = (Vec::new(), None);
    for statement in statements {
        let Some(named) = named(statement, case, &mut gone) else { continue };
        let whys = conditions(statement, case);
        let verdict = match (statement["Effect"].as_str(), whys.is_empty()) {
            (Some("Deny"), true) => return Verdict::Denied,
            (Some("Deny"), false) => continue,
            (_, true) => named,
            (_, false) => Verdict::Unless(whys),
        };
        best = Some(better(best, verdict));
    }
    best.unwrap_or(Verdict::Nobody(gone))
}

fn better(one: Option<Verdict>, other: Verdict) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Direct => 3,
        Verdict::Account => 2,
        Verdict::Unless(_) => 1,
        _ => 0,
    };
    match one {
        Some(one) if rank(&one) >= rank(&other) => one,
        _ => other,
    }
}

fn assumes(statement: &Value) -> bool {
    many(&statement["Action"]).into_iter().filter_map(Value::as_str).any(|action| {
        let action = action.to_ascii_lowercase();
        glob(&action, "sts:assumerole")
    })
}

/// Does it speak of this caller?
fn named(statement: &Value, case: &Case<'_>, gone: &mut Vec<String>) -> Option<Verdict> {
    let principal = &statement["Principal"];
    if principal.as_str() == Some("*") {
        return Some(Verdict::Account);
    }
    let account = arn::account(&case.principal).unwrap_or_default();
    let mut verdict = None;
    for one in many(&principal["AWS"]).into_iter().filter_map(Value::as_str) {
        let whole = one == account || (one.ends_with(":root") && arn::account(one) == Some(account));
        if one == case.principal {
            return Some(Verdict::Direct);
        } else if whole || one == "*" {
            verdict = Some(Verdict::Account);
        } else if !one.contains(':') && ["AROA", "AIDA"].iter().any(|id| one.starts_with(id)) {
            gone.push(one.to_owned());
        }
    }
    verdict
}

/// What the conditions ask for that is not so, or cannot be known from here.
fn conditions(statement: &Value, case: &Case<'_>) -> Vec<String> {
    let Some(operators) = statement["Condition"].as_object() else { return Vec::new() };
    let mut whys = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().into_iter().flatten() {
            let values: Vec<String> = many(values).into_iter().map(text).collect();
            whys.extend(condition(operator, key, &values, case));
        }
    }
    whys
}

fn condition(operator: &str, key: &str, values: &[String], case: &Case<'_>) -> Option<String> {
    let role = &case.step.role;
    let shown = values.join("`, `");
    let wants = |have: Option<&str>, mend: String| match have.map(|have| compare(operator, values, have)) {
        Some(Some(true)) => None,
        Some(None) => Some(format!("the trust policy has a condition on {key} (`{shown}`, {operator}): compare it")),
        Some(Some(false)) | None => Some(format!("the trust policy wants {key} `{shown}`: {mend}")),
    };
    let external = role.external_id.as_deref();
    match key.to_ascii_lowercase().as_str() {
        "sts:externalid" => wants(external, format!("set `external_id`{}", but(external))),
        "sts:rolesessionname" => {
            let session = case.step.session.as_str();
            wants(Some(session), format!("mend `session_name` (it comes to `{session}`)"))
        }
        "sts:sourceidentity" => {
            let source = case.step.role.source_identity.as_deref();
            source.is_none().then(|| format!("the trust policy wants {key} `{shown}`: set `source_identity`"))
        }
        "aws:principalarn" => wants(Some(&case.principal), format!("it is `{}`", case.principal)),
        "aws:principalaccount" => wants(arn::account(&case.principal), "the caller is of another account".to_owned()),
        "aws:multifactorauthpresent" if values.iter().any(|value| value == "true") => (!case.mfa).then(|| {
            "the trust policy wants an MFA code: set `[aws] mfa_serial` (a base that is a role cannot have one)"
                .to_owned()
        }),
        "aws:sourceip" | "aws:vpcsourceip" | "aws:sourcevpc" | "aws:sourcevpce" => Some(format!(
            "the trust policy lets in only {key} `{shown}`: compare with where this machine's requests come from"
        )),
        "aws:principalorgid" => Some(format!(
            "the trust policy lets in only the organisation `{shown}` ({key}): compare with the caller's account"
        )),
        other => match other.strip_prefix("aws:requesttag/") {
            Some(tag) => {
                let have =
                    role.tags.iter().find(|(key, _)| key.to_ascii_lowercase() == tag).map(|(_, value)| value.as_str());
                wants(have, format!("set the tag in `tags`{}", but(have)))
            }
            None => Some(format!("the trust policy has a condition on {key} (`{shown}`): compare it")),
        },
    }
}

fn but(have: Option<&str>) -> String {
    have.map_or_else(String::new, |have| format!(" (it is `{have}`)"))
}

/// `None`: an operator that is not understood here.
fn compare(operator: &str, values: &[String], have: &str) -> Option<bool> {
    let any = |matches: &dyn Fn(&str) -> bool| Some(values.iter().any(|value| value.contains("${") || matches(value)));
    match operator {
        "StringEquals" => any(&|value| value == have),
        "StringEqualsIgnoreCase" => any(&|value| value.eq_ignore_ascii_case(have)),
        "StringLike" | "ArnLike" | "ArnEquals" => any(&|value| glob(value, have)),
        _ => None,
    }
}

/// IAM takes one thing where it takes a list of them.
fn many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(all) => all.iter().collect(),
        one => vec![one],
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `*` is any text, `?` any one character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(c), _) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            (_, Some((at, taken))) => {
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}
