//! What a session carries beside its role: source identity, session tags, whether a code was shown. And what of it the next
//! session of a chain inherits.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;

use super::assume::{is_name, length, pattern, settled};
use super::refusal::Refusal;
use super::sts::Form;

/// The one code that the sandbox's MFA devices give.
pub(super) const CODE: &str = "123456";
const TAGS: usize = 50;
/// What tags may take in all, as the sandbox counts: AWS's packing is its own secret.
const PACKED: usize = 2048;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Once set it stays, through all roles of a chain.
    pub(super) source_identity: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// Keys of `tags` that the next session inherits.
    pub(super) transitive: BTreeSet<String>,
    /// It was opened with an MFA code.
    pub(super) mfa: bool,
}

impl Carried {
    /// What the session carries that this caller asks for.
    pub(super) fn next(&self, form: &Form) -> Result<Self, Refusal> {
        let source_identity = self.source_identity(form)?;
        let asked = tags(form)?;
        let clash = |key: &String| self.transitive.iter().any(|held| held.eq_ignore_ascii_case(key));
        if asked.keys().any(clash) {
            return Err(bad(
                "InvalidParameterValue",
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the \
                 calling session.",
            ));
        }
        let keys = members(form, "TransitiveTagKeys.member.", "");
        if let Some(key) = keys.values().find(|key| !asked.contains_key(*key)) {
            return Err(bad(
                "InvalidParameterValue",
                &format!("The specified transitive tag key must be included in the requested tags: {key}"),
            ));
        }
        let inherited = self.tags.iter().filter(|(key, _)| self.transitive.contains(*key));
        let tags = inherited.map(|(key, value)| (key.clone(), value.clone())).chain(asked).collect();
        let transitive = self.transitive.iter().cloned().chain(keys.into_values()).collect();
        Ok(Self { source_identity, tags, transitive, mfa: false })
    }

    fn source_identity(&self, form: &Form) -> Result<Option<String>, Refusal> {
        let Some(asked) = form.get("SourceIdentity") else { return Ok(self.source_identity.clone()) };
        let mut broken = Vec::new();
        length("sourceIdentity", asked, 2, 64, &mut broken);
        pattern("sourceIdentity", asked, "[\\w+=,.@-]*", is_name, &mut broken);
        settled(&broken)?;
        match &self.source_identity {
            Some(held) if held != asked => Err(Refusal::denied(
                "The source identity of the calling session is set and cannot be set again: not authorized to perform: \
                 sts:SetSourceIdentity",
            )),
            _ => Ok(Some(asked.clone())),
        }
    }

    /// How full policy and tags are, in percent; `None` when there are none.
    pub(super) fn packed(&self, policy_characters: usize) -> Result<Option<usize>, Refusal> {
        let tags: usize = self.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        let percent = (tags + policy_characters) * 100 / PACKED;
        if percent > 100 {
            let what = if tags == 0 { "policy" } else { "tags" };
            let message = format!("Packed size of session {what} consumes {percent}% of allotted space.");
            return Err(bad("PackedPolicyTooLarge", &message));
        }
        Ok((tags + policy_characters > 0).then_some(percent.max(1)))
    }
}

/// Is the code right, where one is shown? Else as AWS refuses it.
pub(super) fn shown(serial: Option<&str>, form: &Form) -> Result<bool, Refusal> {
    let (given, code) = (form.get("SerialNumber"), form.get("TokenCode"));
    if given.is_none() && code.is_none() {
        return Ok(false);
    }
    let (Some(given), Some(code)) = (given, code) else {
        return Err(Refusal::denied(
            "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.",
        ));
    };
    let mut broken = Vec::new();
    length("serialNumber", given, 9, 256, &mut broken);
    length("tokenCode", code, 6, 6, &mut broken);
    pattern("tokenCode", code, "[\\d]*", |c| c.is_ascii_digit(), &mut broken);
    settled(&broken)?;
    if serial != Some(given.as_str()) {
        return Err(Refusal::denied(
            "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid \
             and associated with this user.",
        ));
    }
    if code != CODE {
        return Err(Refusal::denied("MultiFactorAuthentication failed with invalid MFA one time pass code. "));
    }
    Ok(true)
}

fn tags(form: &Form) -> Result<BTreeMap<String, String>, Refusal> {
    let (keys, values) = (members(form, "Tags.member.", ".Key"), members(form, "Tags.member.", ".Value"));
    let mut broken = Vec::new();
    if keys.len() > TAGS {
        broken.push(format!(
            "Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to {TAGS}"
        ));
    }
    let mut tags = BTreeMap::new();
    for (number, key) in keys {
        let value = values.get(&number).cloned().unwrap_or_default();
        length(&format!("tags.{number}.member.key"), &key, 1, 128, &mut broken);
        length(&format!("tags.{number}.member.value"), &value, 0, 256, &mut broken);
        if tags.keys().any(|known: &String| known.eq_ignore_ascii_case(&key)) {
            return Err(bad(
                "InvalidParameterValue",
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
        tags.insert(key, value);
    }
    settled(&broken)?;
    Ok(tags)
}

/// `PREFIXnSUFFIX` by n.
fn members(form: &Form, prefix: &str, suffix: &str) -> BTreeMap<u32, String> {
    let number = |key: &str| key.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok();
    form.iter().filter_map(|(key, value)| Some((number(key)?, value.clone()))).collect()
}

fn bad(code: &'static str, message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(words: &[(&str, &str)]) -> Form {
        words.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn refused(carried: &Carried, words: &[(&str, &str)]) -> String {
        carried.next(&form(words)).expect_err("refused").to_string()
    }

    const TAGGED: [(&str, &str); 5] = [
        ("SourceIdentity", "ann"),
        ("Tags.member.1.Key", "project"),
        ("Tags.member.1.Value", "shop"),
        ("Tags.member.2.Key", "stage"),
        ("TransitiveTagKeys.member.1", "project"),
    ];

    #[test]
    fn what_sticks_is_inherited_and_cannot_be_set_again() {
        let first = Carried::default().next(&form(&TAGGED)).expect("fine");
        assert_eq!((first.source_identity.as_deref(), first.tags.len()), (Some("ann"), 2));
        let second = first.next(&form(&[])).expect("fine");
        assert_eq!(second.source_identity.as_deref(), Some("ann"));
        assert_eq!(second.tags, [("project".to_owned(), "shop".to_owned())].into(), "what is not transitive is gone");
        assert!(first.next(&form(&[("SourceIdentity", "ann")])).is_ok());
        assert!(refused(&first, &[("SourceIdentity", "bob")]).contains("sts:SetSourceIdentity"));
        assert!(refused(&second, &[("Tags.member.1.Key", "PROJECT")]).contains("conflicts with a transitive tag key"));
    }

    #[test]
    fn tags_have_limits() {
        let none = Carried::default();
        let twice = [("Tags.member.1.Key", "a"), ("Tags.member.2.Key", "A")];
        assert!(refused(&none, &twice).starts_with("InvalidParameterValue: Duplicate tag keys"));
        assert!(refused(&none, &[("TransitiveTagKeys.member.1", "a")]).contains("must be included"));
        assert!(refused(&none, &[("SourceIdentity", "a b")]).starts_with("ValidationError: "));
        let long = "v".repeat(256);
        let many: Vec<(String, String)> = (1..=9)
            .flat_map(|n| {
                [(format!("Tags.member.{n}.Key"), format!("k{n}")), (format!("Tags.member.{n}.Value"), long.clone())]
            })
            .collect();
        let full = none.next(&many.into_iter().collect()).expect("each is short enough");
        let refusal = full.packed(0).expect_err("too many").to_string();
        assert_eq!(refusal, "PackedPolicyTooLarge: Packed size of session tags consumes 113% of allotted space.");
    }

    #[test]
    fn a_code_is_of_its_device() {
        let (serial, code) = ("arn:aws:iam::123456789012:mfa/ann", |serial, code| {
            form(&[("SerialNumber", serial), ("TokenCode", code)])
        });
        let say = |form: &Form| shown(Some(serial), form).map_err(|refusal| refusal.to_string());
        assert_eq!(say(&form(&[])), Ok(false));
        assert_eq!(say(&code(serial, CODE)), Ok(true));
        assert!(say(&code(serial, "654321")).is_err_and(|why| why.contains("invalid MFA one time pass code")));
        assert!(
            say(&code("arn:aws:iam::123456789012:mfa/bob", CODE)).is_err_and(|why| why.contains("unable to validate"))
        );
        assert!(say(&code(serial, "12345x")).is_err_and(|why| why.starts_with("ValidationError: ")));
        assert!(say(&form(&[("TokenCode", CODE)])).is_err_and(|why| why.contains("must provide both")));
    }
}
