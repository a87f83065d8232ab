//! A session policy: what is left to a role's session of what the role may do.
//!
//! Understood are Effect, Action and Resource with `*` and `?`. A statement that says more (Condition, NotAction,
//! NotResource) is taken the careful way: it allows nothing, and it denies what its Action and Resource name (all, where
//! they are not named). Managed policies (PolicyArns) are not known here and narrow nothing.

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Policy {
    statement: Many<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: Effect,
    action: Option<Many<String>>,
    resource: Option<Many<String>>,
    condition: Option<serde_json::Value>,
    not_action: Option<serde_json::Value>,
    not_resource: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

/// IAM takes one thing where it takes a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Many<T> {
    One(T),
    Several(Vec<T>),
}

impl<T> Many<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

impl Policy {
    /// Fails on what is no policy, with serde's words for it.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Does it leave this action on this resource to the session?
    pub(super) fn allows(&self, action: &str, resource: &str) -> bool {
        let statements = self.statement.as_slice();
        let any = |effect| statements.iter().any(|s| s.effect == effect && s.speaks_of(action, resource));
        any(Effect::Allow) && !any(Effect::Deny)
    }
}

impl Statement {
    fn speaks_of(&self, action: &str, resource: &str) -> bool {
        let more = self.condition.is_some() || self.not_action.is_some() || self.not_resource.is_some();
        if more && self.effect == Effect::Allow {
            return false;
        }
        // Actions are compared without regard to case, resources with it.
        let named = |patterns: &Option<Many<String>>, text: &str, fold: fn(&str) -> String| {
            patterns
                .as_ref()
                .map_or(more, |list| list.as_slice().iter().any(|pattern| glob(&fold(pattern), &fold(text))))
        };
        named(&self.action, action, str::to_lowercase) && named(&self.resource, resource, str::to_owned)
    }
}

/// `*` is any text, `?` any one character. Linear in text times stars: on a mismatch only the last star takes one more.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statements: &str) -> Policy {
        Policy::parse(&format!(r#"{{"Version": "2012-10-17", "Statement": {statements}}}"#)).expect("a policy")
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, due) in [
            ("*", "", true),
            ("s3:get*", "s3:getobject", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(glob(pattern, text), due, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_not_allowed_or_is_denied_is_gone() {
        let read = policy(r#"{"Effect": "Allow", "Action": ["s3:get*", "s3:ListBucket"], "Resource": "*"}"#);
        assert!(read.allows("s3:GetObject", "arn:aws:s3:::b/k") && read.allows("s3:ListBucket", "arn:aws:s3:::b"));
        assert!(!read.allows("s3:PutObject", "arn:aws:s3:::b/k"));
        let but = policy(
            r#"[{"Effect": "Allow", "Action": "*", "Resource": "*"},
                {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::b/secret/*"}]"#,
        );
        assert!(
            but.allows("s3:GetObject", "arn:aws:s3:::b/k") && !but.allows("s3:GetObject", "arn:aws:s3:::b/secret/k")
        );
    }

    #[test]
    fn a_statement_that_says_more_is_taken_the_careful_way() {
        let maybe =
            policy(r#"{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"x": "true"}}}"#);
        assert!(!maybe.allows("s3:GetObject", "arn:aws:s3:::b/k"));
        let not = policy(
            r#"[{"Effect": "Allow", "Action": "*", "Resource": "*"},
                {"Effect": "Deny", "NotAction": "s3:*", "Resource": "arn:aws:s3:::b/*"}]"#,
        );
        assert!(!not.allows("s3:GetObject", "arn:aws:s3:::b/k") && not.allows("s3:GetObject", "arn:aws:s3:::c/k"));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for bad in ["{", "[]", "{}", r#"{"Statement": [{"Effect": "Perhaps"}]}"#, r#"{"Statement": 7}"#] {
            assert!(Policy::parse(bad).is_err(), "{bad}");
        }
    }
}
