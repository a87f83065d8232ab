//! Credentials as devsup holds them: readable only where they are handed to a child, wiped when dropped.

use std::fmt;

use secrecy::SecretString;

use crate::supervisor::Wall;

/// Temporary credentials. Debug shows the access key id only; zeroized on drop.
#[derive(Clone)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: SecretString,
    pub session_token: SecretString,
    /// AWS's own Expiration.
    pub expires: Wall,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_key_id_and_no_secret() {
        let held = Credentials {
            access_key_id: "ASIAEXAMPLE".into(),
            secret_access_key: "wJalrXUtn".to_owned().into(),
            session_token: "FwoGZXIv".to_owned().into(),
            expires: Wall(1),
        };
        let shown = format!("{held:?} {:?}", held.clone());
        assert!(shown.contains("ASIAEXAMPLE"), "{shown}");
        assert!(!shown.contains("wJalr") && !shown.contains("FwoGZ"), "{shown}");
    }
}
