//! Reads the ARNs that STS answers with.

use crate::manifest::RoleArn;

/// `arn:aws:sts::A:assumed-role/NAME/SESSION` taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AssumedRole<'a> {
    pub(super) partition: &'a str,
    pub(super) account: &'a str,
    pub(super) name: &'a str,
    pub(super) session: &'a str,
}

impl<'a> AssumedRole<'a> {
    pub(super) fn read(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (Some("arn"), Some(partition), Some("sts"), _, Some(account), Some(what)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let (name, session) = what.strip_prefix("assumed-role/")?.split_once('/')?;
        Some(Self { partition, account, name, session })
    }

    /// Account and name are all that an assumed-role ARN tells of its role: the path is not in it.
    pub(super) fn is(&self, role: &RoleArn) -> bool {
        self.account == role.account() && self.name == role.role_name() && self.partition == role.partition()
    }

    pub(super) fn role_arn(&self) -> String {
        format!("arn:{}:iam::{}:role/{}", self.partition, self.account, self.name)
    }
}

pub(super) fn account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

/// The ARN that IAM policies name for this caller: the role behind a session, else what it is.
pub(super) fn principal(arn: &str) -> String {
    AssumedRole::read(arn).map_or_else(|| arn.to_owned(), |role| role.role_arn())
}

/// For people: `role/dev (i-0abc)`, `user/ann`, `root`.
pub(super) fn short(arn: &str) -> String {
    match AssumedRole::read(arn) {
        Some(role) => format!("role/{}", role.name),
        None => arn.splitn(6, ':').nth(5).unwrap_or(arn).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assumed_role_is_its_account_and_name() {
        let arn = AssumedRole::read("arn:aws:sts::111122223333:assumed-role/dev/i-0abc").expect("an assumed role");
        assert_eq!((arn.account, arn.name, arn.session), ("111122223333", "dev", "i-0abc"));
        assert!(arn.is(&RoleArn::checked("arn:aws:iam::111122223333:role/team/dev")));
        assert!(!arn.is(&RoleArn::checked("arn:aws:iam::111122223333:role/Dev")), "names are case sensitive");
        assert!(!arn.is(&RoleArn::checked("arn:aws:iam::111122223334:role/dev")));
        assert!(!arn.is(&RoleArn::checked("arn:aws-cn:iam::111122223333:role/dev")));
        assert_eq!(AssumedRole::read("arn:aws:iam::111122223333:user/ann"), None);
        assert_eq!(short("arn:aws:iam::111122223333:user/ann"), "user/ann");
        assert_eq!(principal("arn:aws:sts::1:assumed-role/dev/x"), "arn:aws:iam::1:role/dev");
    }
}
