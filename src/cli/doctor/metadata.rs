//! Whether services reach the real instance metadata, which gives devsup's own role to whoever asks; and the rule that
//! closes it to them.

use std::fmt::Write as _;

use super::finding::Finding;
use super::imds::Reach;

/// Where instance metadata is on every instance.
pub(super) const PLACES: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];

/// One user whom services run as.
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) name: String,
    pub(super) services: Vec<String>,
    /// It is devsup's own.
    pub(super) own: bool,
    pub(super) seen: Result<Vec<(String, Reach)>, String>,
}

impl User {
    /// Which role it is given, and where.
    fn given(&self) -> Option<(&str, &str)> {
        self.seen.iter().flatten().find_map(|(place, reach)| match reach {
            Reach::Role(role) => Some((role.as_str(), place.as_str())),
            _ => None,
        })
    }

    fn shown(&self) -> String {
        format!("{} (uid {}: {})", self.name, self.uid, self.services.join(", "))
    }
}

pub(super) fn judge(users: &[User]) -> Vec<Finding> {
    let mut all = Vec::new();
    let (own, others): (Vec<&User>, Vec<&User>) =
        users.iter().filter(|user| user.given().is_some()).partition(|user| user.own);
    if !others.is_empty() {
        let uids: Vec<u32> = others.iter().map(|user| user.uid).collect();
        all.push(open(&others).detail(CAUSE).fix(rules(&uids)));
    }
    if !own.is_empty() {
        let detail = format!(
            "{CAUSE}; they run as devsup's own user, whom a firewall rule would shut out too: devsup itself needs it"
        );
        all.push(open(&own).detail(detail).fix(
            "[services.NAME]\nuser = \"NAME\"    # a user of its own (`useradd --system NAME`); devsup then runs as root: \
             `devsup up --system`",
        ));
    }
    for user in users {
        if let Err(why) = &user.seen {
            all.push(Finding::warn("metadata", format!("what {} reaches could not be seen: {why}", user.shown())));
        }
    }
    if all.is_empty()
        && let Some(user) = users.first()
    {
        all.push(Finding::ok("metadata", format!("no service gets the instance's role ({})", closed(user))));
    }
    all
}

const CAUSE: &str = "devsup only asks SDKs not to look there (AWS_EC2_METADATA_DISABLED); a program may all the same";

fn open(users: &[&User]) -> Finding {
    let who: Vec<String> = users.iter().map(|user| user.shown()).collect();
    let (role, place) = users.iter().find_map(|user| user.given()).unwrap_or_default();
    Finding::warn("metadata", format!("{} can take the instance's role `{role}` from {place}", who.join(" and ")))
}

fn closed(user: &User) -> String {
    let said = user.seen.iter().flatten().map(|(place, reach)| match reach {
        Reach::Role(_) | Reach::NoRole => format!("{place}: it has none"),
        Reach::Refuses(status) => format!("{place}: refuses, {status}"),
        Reach::Closed(why) => format!("{place}: {why}"),
    });
    said.collect::<Vec<_>>().join("; ")
}

fn rules(uids: &[u32]) -> String {
    let set: Vec<String> = uids.iter().map(ToString::to_string).collect();
    let set = set.join(", ");
    let mut text = format!(
        "sudo nft add table inet devsup\n\
         sudo nft add chain inet devsup output '{{ type filter hook output priority 0; }}'\n\
         sudo nft add rule inet devsup output meta skuid '{{ {set} }}' ip daddr 169.254.169.254 counter reject\n\
         sudo nft add rule inet devsup output meta skuid '{{ {set} }}' ip6 daddr fd00:ec2::254 counter reject\n\
         # or by iptables:\n"
    );
    for uid in uids {
        write!(
            text,
            "sudo iptables -A OUTPUT -d 169.254.169.254 -m owner --uid-owner {uid} -j REJECT\n\
             sudo ip6tables -A OUTPUT -d fd00:ec2::254 -m owner --uid-owner {uid} -j REJECT\n"
        )
        .ok();
    }
    text + "# either is gone at the next boot: keep it in /etc/nftables.conf, or by iptables-save. It is about the uid,\n\
            # so it holds for all that these users run, and not for a program that becomes somebody else (sudo, setuid)"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32, own: bool, reach: Reach) -> User {
        let seen = Ok(vec![(PLACES[0].to_owned(), reach)]);
        User { uid, name: format!("u{uid}"), services: vec![format!("s{uid}")], own, seen }
    }

    fn role() -> Reach {
        Reach::Role("dev-box".into())
    }

    #[test]
    fn others_get_a_rule_each_for_both_protocols() {
        let found = judge(&[user(1001, false, role()), user(1002, false, role())]);
        assert_eq!(found.len(), 1, "{found:#?}");
        insta::assert_snapshot!(format!("{}\n{}", found[0].sentence, found[0].fix.as_deref().expect("rules")));
    }

    #[test]
    fn a_rule_against_devsups_own_user_is_not_offered() {
        let found = judge(&[user(1000, true, role())]);
        let (detail, fix) = (found[0].detail.clone().expect("why"), found[0].fix.clone().expect("a mend"));
        assert!(detail.contains("devsup itself needs it") && fix.contains("user = "), "{found:#?}");
        assert!(!fix.contains("nft") && !fix.contains("iptables"), "{fix}");
    }

    #[test]
    fn where_there_is_nothing_to_take_all_is_well() {
        for (reach, words) in [
            (Reach::Closed("no route".into()), "no route"),
            (Reach::Refuses(403), "refuses, 403"),
            (Reach::NoRole, "it has none"),
        ] {
            let found = judge(&[user(1000, true, reach)]);
            assert!(found.len() == 1 && found[0].sentence.contains(words), "{found:#?}");
            assert_eq!(found[0].verdict, super::super::finding::Verdict::Ok);
        }
    }
}
