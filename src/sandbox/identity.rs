//! Who is who: keys, the sessions behind them, and how long they are good.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::policy::Policy;
use super::session::Carried;

/// Expired keys are remembered this long, so that their owner hears ExpiredToken and not that they never were.
const REMEMBER: Duration = Duration::from_hours(1);
/// Above so many keys the expired ones are forgotten at once.
const MANY: usize = 20_000;

/// Who a key speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    pub(super) account: String,
    /// `arn:aws:sts::…:assumed-role/role/session`, or the user's ARN.
    pub(super) arn: String,
    /// `AROA…:session`, or `AIDA…`.
    pub(super) id: String,
    /// The role this is a session of; `None` for a user.
    pub(super) role: Option<String>,
}

impl Principal {
    pub(super) fn session_of(role_arn: &str, session: &str) -> Self {
        let mut words = role_arn.split(':');
        let partition = words.nth(1).unwrap_or("aws");
        let account = words.nth(2).unwrap_or_default();
        let name = role_arn.rsplit('/').next().unwrap_or_default();
        Self {
            account: account.to_owned(),
            arn: format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}"),
            id: format!("{}:{session}", unique_id("AROA", role_arn)),
            role: Some(role_arn.to_owned()),
        }
    }

    pub(super) fn user(arn: &str) -> Self {
        let account = arn.split(':').nth(4).unwrap_or_default().to_owned();
        Self { account, arn: arn.to_owned(), id: unique_id("AIDA", arn), role: None }
    }
}

/// IAM's unique ids stay the same for the same ARN.
fn unique_id(prefix: &str, arn: &str) -> String {
    let mut id = prefix.to_owned();
    for byte in Sha256::digest(arn.as_bytes()).iter().take(17) {
        id.push(char::from(BASE32[usize::from(byte % 32)]));
    }
    id
}

/// Is a new key a session's (with a token) or a user's (without)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    With,
    Without,
}

/// One access key. Debug shows no secret: both secrets are secrecy's.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) principal: Principal,
    pub(super) secret: SecretString,
    pub(super) token: Option<SecretString>,
    /// Narrows what the role may do.
    pub(super) policy: Option<Policy>,
    pub(super) carried: Carried,
    /// On the server's true clock; `None` never ends.
    pub(super) expires: Option<Duration>,
}

impl Key {
    pub(super) fn new(principal: Principal, token: Token, expires: Option<Duration>) -> io::Result<Self> {
        Ok(Self {
            id: format!("ASIASANDBOX{}", random::<9>(BASE32)?),
            principal,
            secret: random::<40>(BASE64)?.into(),
            token: match token {
                Token::With => Some(format!("SANDBOX{}", random::<153>(BASE64)?).into()),
                Token::Without => None,
            },
            policy: None,
            carried: Carried::default(),
            expires,
        })
    }

    pub(super) fn secret_text(&self) -> &str {
        self.secret.expose_secret()
    }

    pub(super) fn token_text(&self) -> Option<&str> {
        self.token.as_ref().map(ExposeSecret::expose_secret)
    }
}

/// All keys that were ever given out and are not yet forgotten.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<String, Key>);

impl Keys {
    pub(super) fn insert(&mut self, now: Duration, key: Key) {
        if self.0.len() >= MANY {
            self.0.retain(|_, key| key.expires.is_none_or(|expires| expires > now));
        } else {
            self.0.retain(|_, key| key.expires.is_none_or(|expires| expires + REMEMBER > now));
        }
        self.0.insert(key.id.clone(), key);
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `N` letters of an alphabet whose size divides 256, so none is likelier than another.
fn random<const N: usize>(alphabet: &[u8]) -> io::Result<String> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect())
}

/// The id of one request, as AWS prints them.
pub(super) fn request_id() -> String {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return "00000000-0000-4000-8000-000000000000".into();
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        write!(id, "{byte:02x}").unwrap_or_default();
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_by_its_role_without_the_path() {
        let who = Principal::session_of("arn:aws-cn:iam::123456789012:role/deep/path/service-a", "devsup-a");
        assert_eq!(who.arn, "arn:aws-cn:sts::123456789012:assumed-role/service-a/devsup-a");
        assert!(who.id.starts_with("AROA") && who.id.ends_with(":devsup-a") && who.id.len() == 30, "{}", who.id);
    }

    #[test]
    fn keys_are_unlike_each_other_and_their_debug_is_mute() {
        let key = || Key::new(Principal::user("arn:aws:iam::1:user/u"), Token::With, None).expect("randomness");
        let (one, other) = (key(), key());
        assert!(one.id.starts_with("ASIASANDBOX") && one.id.len() == 20);
        assert_ne!((one.id.as_str(), one.secret_text()), (other.id.as_str(), other.secret_text()));
        let shown = format!("{one:?}");
        assert!(!shown.contains(one.secret_text()) && !shown.contains(one.token_text().expect("a token")));
    }

    #[test]
    fn an_expired_key_is_remembered_for_an_hour_and_then_forgotten() {
        let end = Duration::from_secs(100);
        let mut keys = Keys::default();
        let key =
            |expires| Key::new(Principal::user("arn:aws:iam::1:user/u"), Token::With, expires).expect("randomness");
        let short = key(Some(end));
        let id = short.id.clone();
        keys.insert(Duration::ZERO, short);
        keys.insert(end + Duration::from_secs(3599), key(None));
        assert!(keys.get(&id).is_some());
        keys.insert(end + Duration::from_secs(3601), key(None));
        assert!(keys.get(&id).is_none());
    }
}
