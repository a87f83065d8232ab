//! Local stubs of what others build, behind the signatures agreed on; each `mod` goes when its owner's code is there.
#![expect(dead_code, unused_variables, clippy::unused_async, clippy::needless_pass_by_value, reason = "stubs until the modules they stand for are merged")]

pub(crate) use crate::control::api;

pub(crate) mod control {
    use std::path::{Path, PathBuf};

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::api::{Failed, FailedKind, Handed};

    fn nobody<T>() -> Result<T, Failed> {
        Err(Failed { kind: FailedKind::Failed, error: "no daemon".into(), causes: Vec::new(), hints: Vec::new() })
    }

    pub(crate) struct Client {}

    impl Client {
        pub(crate) async fn connect(socket: &Path) -> Result<Self, Failed> {
            nobody()
        }
        pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
            nobody()
        }
        pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failed> {
            nobody()
        }
        pub(crate) async fn lines(&self, path: &str) -> Result<Lines, Failed> {
            nobody()
        }
    }

    pub(crate) struct Lines {}

    impl Lines {
        pub(crate) async fn next(&mut self) -> Result<Option<String>, Failed> {
            nobody()
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) struct Found {
        pub id: String,
        pub name: String,
        pub folder: PathBuf,
        pub socket: PathBuf,
        pub manifest: PathBuf,
        pub pid: Option<u32>,
    }

    pub(crate) fn list() -> Vec<Found> {
        Vec::new()
    }

    pub(crate) struct Start {
        pub manifest: PathBuf,
        pub name: String,
        pub services: Vec<String>,
        pub no_deps: bool,
        pub sandbox: bool,
        pub insecure: bool,
        pub environment: Handed,
    }

    pub(crate) struct Launched {
        pub socket: PathBuf,
        pub id: String,
        pub fresh: bool,
    }

    pub(crate) fn launch(start: &Start) -> Result<Launched, Failed> {
        nobody()
    }

    pub(crate) fn state_folder(id: &str) -> PathBuf {
        PathBuf::from(id)
    }
}

pub(crate) mod manifest {
    use std::path::{Path, PathBuf};

    use crate::manifest::Manifest;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Trust {
        Strict,
        Insecure,
    }

    pub(crate) struct Source<'a> {
        pub file: Option<&'a Path>,
        pub cwd: &'a Path,
        pub env: &'a dyn Fn(&str) -> Option<String>,
        pub trust: Trust,
        pub group_is_shared: &'a dyn Fn(u32) -> bool,
    }

    pub(crate) struct Loaded {
        pub manifest: Manifest,
        pub warnings: Vec<String>,
    }

    pub(crate) struct Problems {}

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Colour {
        Plain,
        Ansi,
    }

    impl Problems {
        pub(crate) fn render(&self, colour: Colour) -> String {
            String::new()
        }
        pub(crate) fn count(&self) -> usize {
            1
        }
    }

    pub(crate) fn load(source: &Source<'_>) -> Result<Loaded, Problems> {
        Err(Problems {})
    }

    pub(crate) fn find(file: Option<&Path>, cwd: &Path) -> Option<PathBuf> {
        None
    }

    pub(crate) fn schema() -> String {
        String::new()
    }

    pub(crate) fn print(loaded: &Loaded) -> String {
        String::new()
    }
}

pub(crate) mod aws {
    use std::ffi::OsString;

    use serde::Serialize;

    #[derive(Serialize)]
    pub(crate) struct Whoami {}

    impl Whoami {
        pub(crate) fn line(&self) -> String {
            String::new()
        }
        pub(crate) fn known(&self) -> bool {
            false
        }
    }

    pub(crate) async fn whoami(env: &[(OsString, OsString)], tries: &[String]) -> Whoami {
        Whoami {}
    }
}

pub(crate) mod show {
    use std::io::{self, Write};

    use crate::logs::Entry;
    use crate::manifest::Name;

    pub(crate) struct Style {
        pub prefix: bool,
        pub timestamps: bool,
        pub colour: bool,
        pub json: bool,
        pub names: Vec<Name>,
    }

    pub(crate) struct Printer {}

    impl Printer {
        pub(crate) fn new(style: Style) -> Self {
            Self {}
        }
        pub(crate) fn print(&mut self, out: &mut dyn Write, entry: &Entry) -> io::Result<()> {
            Ok(())
        }
    }
}

pub(crate) mod sandbox {
    use std::io;

    use crate::manifest::Manifest;
    use crate::sandbox::{Config, Ready};

    #[derive(Clone, Debug, Default)]
    pub(crate) struct Faults {
        pub down: bool,
        pub slow_ms: u64,
        pub throttle: u32,
        pub deny: Vec<String>,
        pub skew_s: i64,
    }

    pub(crate) fn from_manifest(manifest: &Manifest) -> Config {
        Config {
            region: String::new(),
            account: String::new(),
            base_role_arn: String::new(),
            roles: Vec::new(),
            buckets: std::collections::BTreeMap::new(),
            lease: manifest.sandbox.lease,
            strict: false,
            port: 0,
        }
    }

    pub(crate) struct Server {}

    impl Server {
        pub(crate) fn bind(config: Config, faults: Faults) -> io::Result<Self> {
            Ok(Self {})
        }
        pub(crate) fn ready(&self) -> Ready {
            Ready { url: String::new(), region: String::new(), access_key_id: String::new(), secret_access_key: String::new(), session_token: None }
        }
        pub(crate) async fn run(self) -> io::Result<()> {
            Ok(())
        }
    }
}
