//! Invariant 8: every secret that STS gave out is searched for in all that a stranger, a log reader or a backup could see.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use devsup::sys::tree;
use nix::sys::signal::Signal;

use super::{ask, daemon, keeper_of, send};
use crate::project::Project;

const MANIFEST: &str = r#"
name = "shop"
[aws]
region = "ap-southeast-2"
role_prefix = "arn:aws:iam::033145145979:role/"
[defaults]
# Written to a private file for us, and to the log as careless programs do.
command = 'env >> secrets-of-$DEVSUP_SERVICE; env; env >&2; exec sleep 600'
stop_timeout = "5s"
[services.a]
role = "service-a"
[services.b]
role = "service-b"
[services.d]
inherit_aws = true
[sandbox]
lease = "6s"
buckets = { bucket1 = ["service-a"], bucket2 = ["service-b"] }
"#;

/// Of lines like `AWS_SESSION_TOKEN=…`.
fn secrets(env: &str) -> impl Iterator<Item = String> + '_ {
    env.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| matches!(*name, "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN"))
        .map(|(_, value)| value.to_owned())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

/// What is looked through, by a name for the one who has to mend it.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn text(&mut self, name: &str, text: impl Into<Vec<u8>>) {
        self.0.push((name.to_owned(), text.into()));
    }

    fn processes(&mut self) {
        for pid in tree::all() {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            self.text(&format!("argv of {pid} ({})", String::from_utf8_lossy(&words)), words);
        }
    }

    fn environ(&mut self, name: &str, pid: u32) {
        // Another user than root may not even look, for it is not dumpable: that is as good.
        self.text(&format!("environ of {name}"), fs::read(format!("/proc/{pid}/environ")).unwrap_or_default());
    }

    fn must_not_hold(&self, secrets: &BTreeSet<String>) {
        for (name, bytes) in &self.0 {
            for secret in secrets {
                let found = memchr::memmem::find(bytes, secret.as_bytes());
                assert!(found.is_none(), "{name} holds a secret at {found:?}");
            }
        }
    }
}

/// What a person types in a day.
const TYPED: [&[&str]; 12] = [
    &["ps"],
    &["ps", "a"],
    &["ps", "--format", "json"],
    &["events"],
    &["events", "--format", "json"],
    &["creds"],
    &["creds", "--format", "json"],
    &["env", "a"],
    &["env", "a", "--format", "json"],
    &["logs", "-n", "all"],
    &["config"],
    &["ls", "--format", "json"],
];

const PATHS: [&str; 8] = [
    "/v1/project",
    "/v1/self",
    "/v1/services",
    "/v1/services/a",
    "/v1/events",
    "/v1/creds?service=a&service=b",
    "/v1/environment/a",
    "/v1/nothing",
];

#[test]
fn no_secret_is_found_in_a_whole_story() {
    let mut project = Project::new(MANIFEST);
    project.env.insert("DEVSUP_LOG".into(), "trace".into());
    let mut seen = Seen::default();
    let up = project.up_sandbox();
    seen.text("what `up` says", up.stdout + &up.stderr);
    let mut secret = BTreeSet::new();
    for rotations in 1..=3 {
        project.until_one("a", |a| a.rotations >= rotations, "it is replaced with fresh credentials");
        let revealed = project.devsup(&["env", "a", "--reveal", "--force"]).ok().stdout;
        secret.extend(secrets(&revealed));
        seen.processes();
    }
    // Things go wrong too: a crash, a refusal, a run that cannot start, a mistake at the socket.
    super::faults(&project, "a", r#"{"deny": ["service-b"]}"#);
    send(project.service("b").pid.expect("it runs"), Signal::SIGKILL);
    project.until_one("b", |b| b.credentials.as_ref().is_some_and(|held| held.error.is_some()), "it is refused");
    // So that it stays while it is looked at.
    project.devsup(&["hold", "a"]).ok();
    project.until_one("a", |a| a.ready, "it is up");
    for words in TYPED {
        let output = project.devsup(words);
        let output = output.ok();
        seen.text(&format!("`devsup {}`", words.join(" ")), output.stdout + &output.stderr);
    }
    for path in PATHS {
        seen.text(path, ask(&project, "GET", path, ""));
    }
    seen.text("an error", ask(&project, "POST", "/v1/stop", "{\"services\": 7}"));
    seen.environ("the daemon", daemon(&project));
    seen.environ("a keeper", keeper_of(&project, "a"));
    hidden(daemon(&project));
    hidden(keeper_of(&project, "a"));
    let down = project.devsup(&["down"]).ok();
    seen.text("what `down` says", down.stdout + &down.stderr);
    for name in ["a", "b", "d"] {
        let written = fs::read_to_string(project.path(&format!("secrets-of-{name}"))).expect("it wrote its own");
        secret.extend(secrets(&written));
    }
    let state = files(&project.path("state"));
    for file in &state {
        seen.text(&file.display().to_string(), fs::read(file).expect("it can be read"));
    }
    assert!(secret.len() >= 12, "three runs and more of two services have a key and a token each: {}", secret.len());
    let trace = state.iter().find(|path| path.ends_with("daemon.log")).expect("devsup's own log");
    assert!(fs::metadata(trace).expect("it is there").len() > 1000, "the log was not at its most talkative");
    let log = project.log("a");
    assert!(log.contains("[devsup: secret access key of a]") && log.contains("ASIASANDBOX"), "{log}");
    seen.must_not_hold(&secret);
}

/// It leaves no core, and its memory and environment are root's alone to look at.
fn hidden(pid: u32) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let owner = fs::metadata(format!("/proc/{pid}/environ")).expect("it lives").uid();
    assert_eq!(owner, 0, "{pid} is dumpable");
}
