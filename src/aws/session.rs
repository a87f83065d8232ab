//! The session name of a role and its source identity, as CloudTrail shows them: the manifest's pattern filled in, within
//! AWS's limits, which are the same for both.

use sha2::{Digest, Sha256};

use crate::manifest::Name;

/// AWS's longest RoleSessionName.
const LONGEST: usize = 64;
/// Hexadecimal digits that tell two cut names apart.
const DIGEST: usize = 8;

/// Fills `{user}`, `{host}`, `{project}` of a session name.
#[derive(Clone)]
pub struct Who {
    pub user: String,
    pub host: String,
    pub project: String,
}

/// The pattern filled in; what AWS does not take becomes `-`; longer than 64 is cut and ends in a short digest of the whole,
/// so that two services whose names begin alike stay two in CloudTrail.
pub(super) fn session_name(pattern: &str, service: &Name, who: &Who) -> String {
    let filled = fill(pattern, service, who);
    let name: String = filled.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    match name.len() {
        0..2 => format!("devsup-{name}"),
        2..=LONGEST => name,
        _ => {
            let digest = Sha256::digest(filled.as_bytes());
            let digest = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
            format!("{}-{digest:08x}", &name[..LONGEST - DIGEST - 1])
        }
    }
}

/// One pass, so that a value which looks like a placeholder is not filled again.
fn fill(pattern: &str, service: &Name, who: &Who) -> String {
    let places = [
        ("{user}", who.user.as_str()),
        ("{service}", service.as_str()),
        ("{host}", who.host.as_str()),
        ("{project}", who.project.as_str()),
    ];
    let mut filled = String::with_capacity(LONGEST);
    let mut rest = pattern;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some((place, value)) = places.iter().find(|(place, _)| rest.starts_with(place)) {
            filled.push_str(value);
            rest = &rest[place.len()..];
        } else {
            filled.push('{');
            rest = &rest[1..];
        }
    }
    filled + rest
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Who {
        Who { user: "ann".into(), host: "dev-1".into(), project: "shop".into() }
    }

    fn name(pattern: &str) -> String {
        session_name(pattern, &Name::new("service-a"), &who())
    }

    #[test]
    fn places_are_filled() {
        assert_eq!(name("devsup-{user}-{service}"), "devsup-ann-service-a");
        assert_eq!(name("{project}.{service}@{host}"), "shop.service-a@dev-1");
        assert_eq!(name("{nobody}-{user"), "-nobody---user", "what is no place is no place");
    }

    #[test]
    fn a_value_is_not_filled_again() {
        let who = Who { user: "{host}".into(), ..who() };
        assert_eq!(session_name("x-{user}", &Name::new("a"), &who), "x--host-");
    }

    #[test]
    fn what_aws_does_not_take_becomes_a_dash() {
        assert_eq!(name("a b/c:ü"), "a-b-c--");
        assert_eq!(name(""), "devsup-");
        assert_eq!(name("x"), "devsup-x");
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let one = name(&format!("{}-one", "x".repeat(80)));
        let two = name(&format!("{}-two", "x".repeat(80)));
        assert_eq!((one.len(), two.len()), (64, 64));
        assert_ne!(one, two);
        assert!(one.chars().all(allowed));
    }
}
