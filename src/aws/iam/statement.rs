//! One statement of an IAM policy, and the two that devsup needs: the caller may assume a role, and the role trusts the
//! caller. Whatever prints such a statement (a refusal's mend, `devsup iam`) takes it from here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::super::arn;

pub(super) const ASSUME: &str = "sts:AssumeRole";
pub(super) const TAG: &str = "sts:TagSession";
pub(super) const IDENTITY: &str = "sts:SetSourceIdentity";

/// Operator, key, values: `ArnEquals`, `aws:PrincipalArn`, one ARN.
pub(super) type Conditions = BTreeMap<&'static str, BTreeMap<&'static str, Values>>;

/// An Allow. Its JSON has the order in which people read policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Letters and digits; once in a policy.
    pub sid: String,
    effect: &'static str,
    /// In a trust policy: whom it speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    pub action: Vec<String>,
    /// In an identity policy: the roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: Conditions,
}

/// `{"AWS": "arn:…"}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Principal {
    #[serde(rename = "AWS")]
    pub aws: String,
}

/// Of a condition's key: one of them is enough. One alone is written without a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values(pub BTreeSet<String>);

impl Values {
    pub(super) fn one(value: impl Into<String>) -> Self {
        Self(BTreeSet::from([value.into()]))
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
            Some(one) if self.0.len() == 1 => one.serialize(serializer),
            _ => self.0.serialize(serializer),
        }
    }
}

/// How a role's trust policy names its caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// The caller's account, on condition that it is this caller: survives that the caller's role is made anew.
    #[default]
    Condition,
    /// The caller's role itself. IAM keeps its id, so the role must be there first, and made anew it is another.
    Arn,
    /// The caller's account: whoever its policies allow to assume the role.
    Root,
}

impl Statement {
    fn allow<'a>(sid: &str, action: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            sid: sid.to_owned(),
            effect: "Allow",
            principal: None,
            action: action.into_iter().map(str::to_owned).collect(),
            resource: Vec::new(),
            condition: Conditions::new(),
        }
    }

    /// For the caller's own policy: it may assume these roles.
    pub fn may_assume(sid: &str, roles: Vec<String>, more: &[&str]) -> Self {
        Self { resource: roles, ..Self::allow(sid, [ASSUME].into_iter().chain(more.iter().copied())) }
    }

    /// For a role's trust policy: this caller may do these things with it.
    pub fn trusts(sid: &str, caller: &str, style: Style, action: &[&str]) -> Self {
        let mut statement = Self::allow(sid, action.iter().copied());
        let aws = if style == Style::Arn { caller.to_owned() } else { root(caller) };
        statement.principal = Some(Principal { aws });
        if style == Style::Condition {
            statement.require("ArnEquals", "aws:PrincipalArn", Values::one(caller));
        }
        statement
    }

    /// The same in its usual style, with all that one refused request asked for.
    pub(in crate::aws) fn trusts_with(caller: &str, more: &[&str], external_id: Option<&str>) -> Self {
        let mut statement = Self::trusts("DevsupTrust", caller, Style::default(), &[&[ASSUME], more].concat());
        if let Some(id) = external_id {
            statement.require("StringEquals", "sts:ExternalId", Values::one(id));
        }
        statement
    }

    pub fn require(&mut self, operator: &'static str, key: &'static str, values: Values) {
        self.condition.entry(operator).or_default().insert(key, values);
    }
}

/// The root of the account that an ARN is of, which in a trust policy stands for the whole account.
fn root(caller: &str) -> String {
    if caller == super::UNKNOWN_CALLER {
        return super::UNKNOWN_ROOT.to_owned();
    }
    let account = arn::account(caller).unwrap_or("<account>");
    let partition = caller.split(':').nth(1).unwrap_or("aws");
    format!("arn:{partition}:iam::{account}:root")
}

/// A few lines of JSON: for a sentence that ends in "add this".
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Strings, lists and maps with string keys: nothing that JSON cannot say.
        fn json(value: &impl Serialize) -> String {
            serde_json::to_string(value).unwrap_or_default()
        }
        write!(f, "{{\"Sid\":{},\"Effect\":{}", json(&self.sid), json(&self.effect))?;
        if let Some(principal) = &self.principal {
            write!(f, ",\"Principal\":{}", json(principal))?;
        }
        write!(f, ",\n \"Action\":{}", json(&self.action))?;
        if !self.resource.is_empty() {
            write!(f, ",\n \"Resource\":{}", json(&self.resource))?;
        }
        if !self.condition.is_empty() {
            write!(f, ",\n \"Condition\":{}", json(&self.condition))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "arn:aws:iam::111122223333:role/team/dev";

    #[test]
    fn each_style_names_the_caller_in_its_own_way() {
        let said = |style| Statement::trusts("DevsupTrust", DEV, style, &[ASSUME]).to_string();
        let head = "{\"Sid\":\"DevsupTrust\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":";
        let action = ",\n \"Action\":[\"sts:AssumeRole\"]";
        assert_eq!(said(Style::Arn), format!("{head}\"{DEV}\"}}{action}}}"));
        let root = format!("{head}\"arn:aws:iam::111122223333:root\"}}{action}");
        assert_eq!(said(Style::Root), format!("{root}}}"));
        let condition = format!(",\n \"Condition\":{{\"ArnEquals\":{{\"aws:PrincipalArn\":\"{DEV}\"}}}}}}");
        assert_eq!(said(Style::Condition), root + &condition);
    }

    #[test]
    fn the_short_text_and_the_json_say_the_same() {
        let mut statement = Statement::trusts("X", DEV, Style::Condition, &[ASSUME, TAG]);
        let ids = ["b\"", "a"].map(str::to_owned);
        statement.require("StringEquals", "sts:ExternalId", Values(BTreeSet::from(ids)));
        let other = Statement::may_assume("Y", vec![DEV.to_owned()], &[IDENTITY]);
        for statement in [statement, other] {
            let short: serde_json::Value = serde_json::from_str(&statement.to_string()).expect("JSON");
            assert_eq!(short, serde_json::to_value(&statement).expect("JSON"));
        }
    }
}
