//! What services ask of one link of a chain: one caller, one role.

use std::collections::BTreeSet;

use super::statement::{ASSUME, IDENTITY, Statement, Style, TAG, Values};
use crate::aws::session::{Who, session_name};
use crate::manifest::{Name, Role};

#[derive(Debug, Default)]
pub(super) struct Ask {
    services: BTreeSet<Name>,
    tags: bool,
    source_identity: bool,
    /// What each service's request carries; `None` among them: one carries nothing, so nothing can be required.
    external_ids: BTreeSet<Option<String>>,
    session_names: BTreeSet<Option<String>>,
    source_identities: BTreeSet<Option<String>>,
}

/// One service's way over this link. `via` may have made it one of several.
pub(super) struct Way<'a> {
    pub(super) service: &'a Name,
    pub(super) role: &'a Role,
    pub(super) project: &'a str,
    /// The base identity asks: here a source identity and transitive tags are set, to be inherited from here on.
    pub(super) first: bool,
    /// The service runs as this role: what is the service's own is asked for here.
    pub(super) last: bool,
}

impl Ask {
    pub(super) fn with(&mut self, way: &Way<'_>) {
        let role = way.role;
        let pattern = |text: &String| pattern(text, way.service, way.project);
        self.services.insert(way.service.clone());
        // What is inherited wants its permission too.
        self.source_identity |= role.source_identity.is_some();
        self.tags |= if way.last { !role.tags.is_empty() } else { !role.transitive_tags.is_empty() };
        self.external_ids.insert(role.external_id.clone().filter(|_| way.last));
        // Only who chose a name on purpose wants it to be required.
        let chosen = way.last && role.session_name != Role::of(role.arn.clone()).session_name;
        self.session_names.insert(chosen.then(|| pattern(&role.session_name)).filter(|pattern| pattern != "*"));
        self.source_identities.insert(role.source_identity.as_ref().filter(|_| way.first).map(pattern));
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Name> {
        self.services.iter()
    }

    /// The actions beside sts:AssumeRole that AWS checks, on both sides.
    pub(super) fn more(&self) -> Vec<&'static str> {
        let uses = [(self.tags, TAG), (self.source_identity, IDENTITY)];
        uses.into_iter().filter(|(used, _)| *used).map(|(_, action)| action).collect()
    }

    /// What the role's trust policy must say of this caller. The other actions have a statement of their own where something
    /// is required of the request: AWS does not say that they are judged with the same keys.
    pub(super) fn trust(&self, caller: &str, style: Style, number: &str) -> Vec<Statement> {
        let sid = format!("DevsupTrust{number}");
        let mut first = Statement::trusts(&sid, caller, style, &[ASSUME]);
        let bare = first.condition.clone();
        let required = [
            ("StringEquals", "sts:ExternalId", &self.external_ids),
            ("StringLike", "sts:RoleSessionName", &self.session_names),
            ("StringLike", "sts:SourceIdentity", &self.source_identities),
        ];
        for (operator, key, values) in required {
            if let Some(values) = all(values) {
                first.require(operator, key, values);
            }
        }
        let more = self.more();
        if more.is_empty() {
            return vec![first];
        }
        if first.condition == bare {
            first.action.extend(more.into_iter().map(str::to_owned));
            return vec![first];
        }
        vec![first, Statement::trusts(&format!("DevsupTrustSession{number}"), caller, style, &more)]
    }
}

/// The values, if every request carries one.
fn all(values: &BTreeSet<Option<String>>) -> Option<Values> {
    values.iter().cloned().collect::<Option<BTreeSet<String>>>().filter(|values| !values.is_empty()).map(Values)
}

/// A name that is longer is cut, and then ends in a digest of the whole.
const KEPT: usize = 55;

/// As far as it is the same for everybody on every machine, then `*`.
fn pattern(text: &str, service: &Name, project: &str) -> String {
    let filled = |who: &str| {
        let who = Who { user: who.to_owned(), host: who.to_owned(), project: project.to_owned() };
        session_name(text, service, &who)
    };
    let (one, other) = (filled("aa"), filled("bb"));
    if one == other {
        return one;
    }
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).take(KEPT);
    same.map(|(letter, _)| letter).chain(['*']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_met_by_every_name_that_devsup_would_send() {
        let service = Name::new("a");
        let is = |text: &str| pattern(text, &service, "shop");
        assert_eq!(is("{project}-{service}"), "shop-a");
        assert_eq!(is("team-{service}-{user}-x"), "team-a-*");
        assert_eq!(is("{user}"), "*");
        for text in
            ["team-{service}-{user}-x".to_owned(), format!("{}{{host}}", "x".repeat(60)), "{host}.{user}".into()]
        {
            for person in ["a", "ann", "ünal", &"z".repeat(90)] {
                let who = Who { user: person.into(), host: person.into(), project: "shop".into() };
                let name = session_name(&text, &service, &who);
                let pattern = is(&text);
                let start = pattern.strip_suffix('*').expect("open at its end");
                assert!(name.starts_with(start), "{name} {pattern}");
            }
        }
    }
}
