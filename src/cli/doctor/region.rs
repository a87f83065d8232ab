//! Which region services get, and which setting says so.

use super::finding::Finding;

/// In the order in which they win: what the setting is called, and its value.
pub(super) struct Facts {
    pub(super) settings: Vec<(&'static str, Option<String>)>,
    /// Without a base identity its own settings are not known.
    pub(super) base_known: bool,
    pub(super) roles: bool,
}

pub(super) fn judge(facts: &Facts) -> Option<Finding> {
    let mut set = facts.settings.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    if let Some((name, region)) = set.next() {
        let beaten: Vec<String> =
            set.filter(|(_, other)| *other != region).map(|(n, v)| format!("{n} ({v})")).collect();
        let over = if beaten.is_empty() { String::new() } else { format!(", over {}", beaten.join(", ")) };
        return Some(Finding::ok("region", format!("`{region}`, from {name}{over}")));
    }
    let sentence = "no region is set";
    let fix = "[aws]\nregion = \"eu-west-1\"";
    let why = "looked in: `--region`, `[aws] region`, AWS_REGION, AWS_DEFAULT_REGION, the profile, instance metadata";
    match (facts.roles, facts.base_known) {
        (true, true) => {
            Some(Finding::error("region", format!("{sentence}: services would ask AWS nowhere")).detail(why).fix(fix))
        }
        // What the base identity would have said is not known.
        (true, false) => {
            Some(Finding::warn("region", format!("{sentence} but by the base identity, perhaps")).fix(fix))
        }
        (false, _) => None,
    }
}
