//! How a role is reached: itself, or through the roles of `via`, each assumed by the one before.
//!
//! What belongs where, by STS's own rules of role chaining:
//!
//! | | first hop | hops between | last hop |
//! |---|---|---|---|
//! | session name | same | same | same |
//! | `source_identity` | set here: it sticks, and cannot be set again | inherited | inherited |
//! | `transitive_tags` | passed here: they stick, and cannot be passed again | inherited | inherited |
//! | other `tags`, `external_id`, policies, `duration` | | | here: they are the service's own |

use std::collections::BTreeMap;
use std::time::Duration;

use super::session::{Who, session_name};
use crate::manifest::{Name, Role};

/// What a role that is assumed by a role may have at most.
pub(super) const CHAINED: Duration = Duration::from_hours(1);
/// A role on the way is needed for a moment only; this is the least that STS gives.
const ON_THE_WAY: Duration = Duration::from_mins(15);

/// One AssumeRole.
#[derive(Clone)]
pub(super) struct Step {
    /// As the session will be: what is inherited is in it too.
    pub(super) role: Role,
    pub(super) session: String,
    /// What is sent; the rest is inherited.
    pub(super) source_identity: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) transitive: Vec<String>,
    /// Which one it is, from 1, of how many.
    pub(super) number: usize,
    pub(super) of: usize,
}

pub(super) struct Route {
    pub(super) via: Vec<Step>,
    pub(super) last: Step,
}

impl Route {
    pub(super) fn new(role: &Role, service: &Name, who: &Who) -> Self {
        let session = session_name(&role.session_name, service, who);
        let source_identity = role.source_identity.as_ref().map(|pattern| session_name(pattern, service, who));
        let is_transitive = |key: &String| role.transitive_tags.contains(key);
        let (sticky, own): (BTreeMap<_, _>, BTreeMap<_, _>) =
            role.tags.clone().into_iter().partition(|(key, _)| is_transitive(key));
        let of = role.via.len() + 1;
        let step = |number: usize, role: Role| {
            let first = number == 1;
            let mut tags = if first { sticky.clone() } else { BTreeMap::new() };
            if number == of {
                tags.extend(own.clone());
            }
            Step {
                role: Role { source_identity: source_identity.clone(), ..role },
                session: session.clone(),
                source_identity: source_identity.clone().filter(|_| first),
                transitive: sticky.keys().filter(|_| first).cloned().collect(),
                tags,
                number,
                of,
            }
        };
        let via = role.via.iter().enumerate().map(|(index, arn)| {
            step(index + 1, Role { duration: ON_THE_WAY, tags: sticky.clone(), ..Role::of(arn.clone()) })
        });
        Self { via: via.collect(), last: step(of, role.clone()) }
    }

    /// The roles in the order in which they are assumed.
    pub(super) fn arns(&self) -> Vec<String> {
        self.via.iter().chain([&self.last]).map(|step| step.role.arn.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::sample;
    use crate::manifest::RoleArn;

    fn who() -> Who {
        Who { user: "ann".into(), host: "dev-1".into(), project: "shop".into() }
    }

    fn role() -> Role {
        let via = ["one", "two"].map(|name| RoleArn::checked(&format!("arn:aws:iam::222233334444:role/{name}")));
        Role {
            via: via.into(),
            source_identity: Some("{user}@{host}".into()),
            tags: [("project".into(), "shop".into()), ("stage".into(), "dev".into())].into(),
            transitive_tags: vec!["project".into()],
            external_id: Some("x1".into()),
            policy: Some("{}".into()),
            ..sample::role()
        }
    }

    #[test]
    fn what_sticks_is_set_on_the_first_hop_and_what_is_the_services_own_on_the_last() {
        let route = Route::new(&role(), &"a".into(), &who());
        let keys = |step: &Step| step.tags.keys().cloned().collect::<Vec<_>>();
        let [one, two] = &route.via[..] else { panic!("two hops on the way") };
        assert_eq!(
            (one.source_identity.as_deref(), keys(one), one.transitive.len()),
            (Some("ann@dev-1"), vec!["project".into()], 1)
        );
        assert_eq!((two.source_identity.as_deref(), keys(two), two.transitive.len()), (None, vec![], 0));
        let last = &route.last;
        assert_eq!(
            (last.source_identity.as_deref(), keys(last), last.transitive.len()),
            (None, vec!["stage".into()], 0)
        );
        assert_eq!(
            (one.role.external_id.as_ref(), one.role.policy.as_ref(), one.role.duration),
            (None, None, ON_THE_WAY)
        );
        assert_eq!((last.role.external_id.as_deref(), last.role.duration), (Some("x1"), Duration::from_hours(2)));
        assert_eq!((one.number, two.number, last.number, last.of), (1, 2, 3, 3));
        assert!(
            two.role.source_identity.is_some() && two.role.tags.len() == 1,
            "what is inherited wants its permission too"
        );
    }

    #[test]
    fn without_via_everything_is_in_the_one_request() {
        let route = Route::new(&Role { via: Vec::new(), ..role() }, &"a".into(), &who());
        assert!(route.via.is_empty());
        assert_eq!((route.last.tags.len(), route.last.transitive.as_slice()), (2, &["project".to_owned()][..]));
        assert_eq!(route.last.source_identity.as_deref(), Some("ann@dev-1"));
    }
}
