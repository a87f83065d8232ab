//! `devsup doctor` against the embedded AWS, alone on loopback, and a machine that is what the test makes it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::thread;

use devsup::control::paths::Folder;
use devsup::sandbox::{Config, Down, Faults, Handle};
use serde_json::Value;

use crate::means::{is_root, root_for};
use crate::project::{Output, Project, wait_until};

const MANIFEST: &str = r#"
name = "shop"
[aws]
region = "ap-southeast-2"
role_prefix = "arn:aws:iam::033145145979:role/"
[defaults]
command = ["sleep", "600"]
[services.a]
role = "service-a"
[services.b]
role = "service-b"
"#;

const A: &str = "arn:aws:iam::033145145979:role/service-a";
const B: &str = "arn:aws:iam::033145145979:role/service-b";

struct Shop {
    project: Project,
    aws: Handle,
}

impl Shop {
    /// A shell whose environment leads to an AWS of this test's own.
    fn of(manifest: &str, strict: bool) -> Self {
        let config = Config {
            account: "033145145979".into(),
            base_role_arn: "arn:aws:iam::033145145979:role/dev".into(),
            roles: vec![A.into(), B.into()],
            strict,
            ..Config::default()
        };
        let aws = Handle::start(config).expect("a port on loopback");
        let (mut project, ready) = (Project::new(manifest), aws.ready());
        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
        for (name, value) in [
            ("AWS_ENDPOINT_URL_STS", ready.url.clone()),
            ("AWS_ACCESS_KEY_ID", ready.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", ready.secret_access_key.clone()),
            ("AWS_SESSION_TOKEN", ready.session_token.clone().unwrap_or_default()),
            // Whatever this machine is, it is none with instance metadata.
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{nobody}")),
        ] {
            project.env.insert(name.into(), value);
        }
        Self { project, aws }
    }

    fn new() -> Self {
        Self::of(MANIFEST, false)
    }

    /// Whatever is asked, no secret comes of it.
    fn doctor(&self, args: &[&str]) -> Output {
        let output = self.project.devsup(&[&["doctor"], args].concat());
        let ready = self.aws.ready();
        for secret in [Some(ready.secret_access_key), ready.session_token].into_iter().flatten() {
            assert!(!output.stdout.contains(&secret) && !output.stderr.contains(&secret), "a secret: {output:#?}");
        }
        output
    }

    fn json(&self, args: &[&str], status: i32) -> Vec<Value> {
        let output = self.doctor(&[&["--format", "json"], args].concat()).ends(status);
        output.stdout.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    }
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

/// The only one of this check.
#[track_caller]
fn one<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = of(findings, check);
    assert_eq!(found.len(), 1, "{check}: {findings:#?}");
    found[0]
}

fn words<'a>(finding: &'a Value, field: &str) -> &'a str {
    finding[field].as_str().unwrap_or_default()
}

#[test]
fn where_all_is_well_every_role_was_really_assumed_and_nothing_was_made() {
    let shop = Shop::new();
    let output = shop.doctor(&["-v"]).ok();
    for line in [
        "ok     base: `arn:aws:sts::033145145979:assumed-role/dev/",
        "ok     role a: ",
        "ok     role b: ",
        "ok     clock: ",
    ] {
        assert!(output.stdout.contains(line), "{line}: {output:#?}");
    }
    assert!(output.stdout.trim_end().ends_with(", 0 errors: `devsup up` would work"), "{output:#?}");
    let calls = shop.aws.calls();
    assert_eq!((calls.count(A, "AssumeRole"), calls.count(B, "AssumeRole")), (1, 1));
    assert!(!shop.project.path("state").exists(), "a look makes nothing");
}

#[test]
fn the_shape_of_a_finding_is_a_promise() {
    let findings = Shop::new().json(&[], 0);
    for finding in &findings {
        let object = finding.as_object().expect("an object");
        let known = ["check", "service", "verdict", "sentence", "detail", "fix"];
        assert!(object.keys().all(|key| known.contains(&key.as_str())), "{finding}");
        assert!(!words(finding, "check").is_empty() && !words(finding, "sentence").is_empty(), "{finding}");
        assert!(["ok", "warn", "error"].contains(&words(finding, "verdict")), "{finding}");
    }
    for check in ["manifest", "daemon", "state", "tree", "files", "core", "region", "clock", "sts", "metadata"] {
        one(&findings, check);
    }
    assert_eq!(of(&findings, "role").len(), 2, "{findings:#?}");
    assert!(words(of(&findings, "endpoint")[0], "sentence").starts_with("AWS_ENDPOINT_URL_STS = http://127.0.0.1:"));
    assert!(words(one(&findings, "region"), "sentence").contains("`[aws] region`"));
}

#[test]
fn a_role_that_is_refused_ends_with_7_and_the_policy_to_paste() {
    let shop = Shop::new();
    shop.aws.set_faults(Faults { deny: vec!["service-b".into()], ..Faults::default() });
    let output = shop.doctor(&[]).ends(7);
    assert!(output.stdout.contains("ok     role a: ") && output.stdout.contains("error  role b: "), "{output:#?}");
    assert!(output.stdout.contains("would not get all credentials"), "{output:#?}");
    let findings = shop.json(&["b"], 7);
    let denied = one(&findings, "role");
    assert!(words(denied, "detail").starts_with("AccessDenied"), "{denied:#}");
    for part in [B, "sts:AssumeRole", "arn:aws:iam::033145145979:role/dev"] {
        assert!(words(denied, "fix").contains(part), "{part}: {denied:#}");
    }
    shop.json(&["a"], 0);
}

#[test]
fn without_a_base_identity_the_rest_is_said_all_the_same() {
    let mut shop = Shop::new();
    shop.project.env.retain(|name, _| !name.starts_with("AWS_"));
    shop.project.env.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
    let place = "http://127.0.0.1:9".to_owned();
    shop.project.env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), place);
    let findings = shop.json(&[], 7);
    let base = one(&findings, "base");
    assert!(words(base, "sentence").starts_with("no base credentials: "), "{base:#}");
    assert!(words(base, "fix").contains("aws sso login"), "{base:#}");
    assert!(words(one(&findings, "role"), "sentence").ends_with("for want of a base identity: a, b"));
    assert_eq!(of(&findings, "service").len(), 2, "{findings:#?}");
    assert_eq!(shop.aws.calls().count(A, "AssumeRole"), 0);
}

#[test]
fn a_base_that_is_not_base_role_asks_for_nothing() {
    let shop =
        Shop::of(&MANIFEST.replace("[aws]", "[aws]\nbase_role = \"arn:aws:iam::033145145979:role/other\""), false);
    let findings = shop.json(&[], 7);
    assert!(words(one(&findings, "base"), "detail").starts_with("BaseRoleMismatch"), "{findings:#?}");
    assert_eq!(shop.aws.calls().count(A, "AssumeRole"), 0);
}

#[test]
fn a_clock_that_is_off_is_said_with_its_mend() {
    let shop = Shop::new();
    let clock = |skew_s, status| {
        shop.aws.set_faults(Faults { skew_s, ..Faults::default() });
        let findings = shop.json(&[], status);
        one(&findings, "clock").clone()
    };
    assert_eq!(words(&clock(0, 0), "verdict"), "ok");
    let some = clock(-100, 0);
    assert_eq!(words(&some, "verdict"), "warn", "{some:#}");
    assert!(words(&some, "sentence").ends_with("ahead of AWS's"), "{some:#}");
    let much = clock(400, 1);
    assert_eq!(words(&much, "verdict"), "error", "{much:#}");
    assert!(
        words(&much, "fix").contains("timedatectl") && words(&much, "sentence").ends_with("behind AWS's"),
        "{much:#}"
    );
    // So far that AWS refuses the first signature; devsup's own SDK corrects itself by the answer's date.
    let beyond = clock(1_800, 1);
    assert_eq!(words(&beyond, "verdict"), "error", "{beyond:#}");
}

#[test]
fn an_sts_that_does_not_answer_is_no_refusal() {
    let shop = Shop::new();
    shop.aws.set_faults(Faults { down: Some(Down::Drop), ..Faults::default() });
    let findings = shop.json(&[], 1);
    assert_eq!(words(one(&findings, "sts"), "verdict"), "error");
    assert!(words(one(&findings, "base"), "detail").starts_with("Unreachable"), "{findings:#?}");
    shop.aws.set_faults(Faults { down: Some(Down::Unavailable), ..Faults::default() });
    let findings = shop.json(&[], 1);
    assert_eq!(words(one(&findings, "base"), "verdict"), "error", "{findings:#?}");
    assert_eq!(of(&findings, "service").len(), 2, "what is offline is said: {findings:#?}");
}

#[test]
fn what_takes_longer_than_a_second_says_what_it_waits_for() {
    let shop = Shop::new();
    shop.aws.set_faults(Faults { slow_ms: 1_500, ..Faults::default() });
    let output = shop.doctor(&[]).ok();
    assert!(output.stderr.contains("waiting for the base identity"), "{output:#?}");
    assert!(output.stderr.contains("waiting for role of a, role of b"), "{output:#?}");
}

#[test]
fn a_broken_manifest_is_2_as_everywhere() {
    let shop = Shop::of("name = \"shop\"\n[services.a]\ncomand = \"x\"\n", false);
    let output = shop.doctor(&[]).ends(2);
    assert!(output.stdout.is_empty() && output.stderr.contains("comand"), "{output:#?}");
    let shop = Shop::new();
    assert!(shop.doctor(&["c"]).ends(4).stderr.contains("no such service"));
}

#[test]
fn a_manifest_without_roles_never_asks_aws() {
    let shop = Shop::of("name = \"shop\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n", false);
    let findings = shop.json(&[], 0);
    assert_eq!(words(one(&findings, "base"), "sentence"), "no service has a role: AWS is not asked");
    assert!(of(&findings, "metadata").is_empty() && of(&findings, "sts").is_empty(), "{findings:#?}");
    let calls = shop.aws.calls();
    assert_eq!((calls.count("dev", "GetCallerIdentity"), calls.answered("GetCallerIdentity", "ok")), (0, 0));
}

#[test]
fn what_the_shell_carries_is_said_by_name_only() {
    let mut shop = Shop::new();
    for (name, value) in [
        ("AWS_PROFILE", "a-profile-of-ann"),
        ("AWS_SECURITY_TOKEN", "geheim1"),
        ("AWS_VAULT", "geheim2"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/geheim3"),
        ("AWS_ENDPOINT_URL_S3", "http://ann:geheim4@127.0.0.1:9"),
        ("HTTPS_PROXY", "http://ann:geheim5@127.0.0.1:9"),
    ] {
        shop.project.env.insert(name.into(), value.into());
    }
    let output = shop.doctor(&["-v"]).ok();
    assert!(!output.stdout.contains("geheim") && !output.stderr.contains("geheim"), "{output:#?}");
    let findings = shop.json(&[], 0);
    let said: String = of(&findings, "environment").iter().map(|finding| words(finding, "sentence")).collect();
    for name in ["`AWS_PROFILE`", "`AWS_VAULT`", "`AWS_WEB_IDENTITY_TOKEN_FILE`", "`AWS_ENDPOINT_URL_S3`"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(said.contains("`AWS_PROFILE` and `AWS_SECURITY_TOKEN` would have beaten"), "{said}");
    assert!(words(one(&findings, "sts"), "sentence").contains("http://127.0.0.1:9 (HTTPS_PROXY)"));
}

/// Instance metadata as far as a thief needs it. Ends with the test's process.
fn metadata() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (status, body) = if request.starts_with("PUT /latest/api/token ") {
                ("200 OK", "TOKEN-OF-A-TEST")
            } else if !request.contains("TOKEN-OF-A-TEST") {
                ("401 Unauthorized", "")
            } else {
                ("200 OK", "dev-box\n")
            };
            let length = body.len();
            // It may have left: that is its affair.
            drop(write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"));
        }
    });
    at
}

#[test]
fn instance_metadata_within_reach_is_a_warning_with_its_mend() {
    let mut shop = Shop::new();
    shop.project.env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), metadata());
    let output = shop.doctor(&[]).ok();
    assert!(!output.stdout.contains("TOKEN-OF-A-TEST"), "{output:#?}");
    let findings = shop.json(&[], 0);
    let open = one(&findings, "metadata");
    assert_eq!(words(open, "verdict"), "warn", "{open:#}");
    assert!(words(open, "sentence").contains("can take the instance's role `dev-box`"), "{open:#}");
    // They are who devsup is.
    assert!(words(open, "fix").contains("user = ") && !words(open, "fix").contains("nft"), "{open:#}");
}

#[test]
fn services_of_another_user_get_a_rule() {
    if !root_for("a service of another user") {
        return;
    }
    let other = "\n[services.c]\nrole = \"service-a\"\nuser = \"4000001\"\ngroup = \"4000001\"\nworking_dir = \"/\"\n";
    let mut shop = Shop::of(&format!("{MANIFEST}{other}"), false);
    shop.project.env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), metadata());
    let findings = shop.json(&["c"], 0);
    let open = one(&findings, "metadata");
    for part in ["meta skuid '{ 4000001 }' ip daddr 169.254.169.254", "ip6 daddr fd00:ec2::254", "--uid-owner 4000001"]
    {
        assert!(words(open, "fix").contains(part), "{part}: {open:#}");
    }
}

#[test]
fn what_another_user_may_not_execute_is_seen_as_them() {
    if !root_for("a service of another user") {
        return;
    }
    let service =
        "[services.c]\ncommand = [\"./closed\"]\nuser = \"4000001\"\ngroup = \"4000001\"\nworking_dir = \"/\"\n";
    let shop = Shop::of(&format!("name = \"shop\"\n{service}"), false);
    shop.project.write("closed", "#!/bin/sh\n");
    let at = shop.project.path("closed");
    std::fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("chmod");
    let folder = at.parent().expect("a folder").display().to_string();
    let manifest = format!("name = \"shop\"\n{}", service.replace("\"./closed\"", &format!("\"{folder}/closed\"")));
    shop.project.write("services.toml", &manifest);
    let findings = shop.json(&[], 1);
    let service = one(&findings, "service");
    assert_eq!((words(service, "verdict"), words(service, "service")), ("error", "c"), "{service:#}");
    assert!(words(service, "sentence").ends_with("closed`: not executable"), "{service:#}");
    // As root it would be.
    shop.project.write("services.toml", &manifest.replace("user = \"4000001\"\ngroup = \"4000001\"\n", ""));
    assert_eq!(words(one(&shop.json(&[], 0), "service"), "verdict"), "ok");
}

#[test]
fn what_would_not_start_is_said_and_is_in_the_way_only_of_what_up_starts() {
    let idle = "\n[services.c]\ncommand = [\"./no-such-program\"]\nautostart = false\n";
    let shop = Shop::of(&format!("{MANIFEST}{idle}"), false);
    let findings = shop.json(&[], 0);
    let lost = of(&findings, "service").into_iter().find(|finding| finding["service"] == "c").expect("said");
    assert_eq!(words(lost, "verdict"), "warn", "{lost:#}");
    let findings = shop.json(&["c"], 1);
    assert!(words(one(&findings, "service"), "sentence").contains("no such file"), "{findings:#?}");
    assert!(!findings.iter().any(|finding| finding["service"] == "a"), "only what was asked for: {findings:#?}");
}

#[test]
fn a_role_that_lasts_an_hour_at_most_is_said() {
    let long = MANIFEST.replace("role = \"service-b\"", "role = { arn = \"service-b\", duration = \"2h\" }");
    let shop = Shop::of(&long, true);
    let findings = shop.json(&["b"], 0);
    let capped = one(&findings, "role");
    assert_eq!(words(capped, "verdict"), "warn", "{capped:#}");
    assert_eq!(words(capped, "fix"), "duration = \"1h\"");
}

#[test]
fn in_the_sandbox_no_real_aws_is_asked_and_a_project_that_is_up_in_it_stays_there() {
    let shop = Shop::new();
    let findings = shop.json(&["--sandbox"], 0);
    assert!(words(one(&findings, "base"), "sentence").starts_with("SANDBOX: "), "{findings:#?}");
    assert_eq!(of(&findings, "role").len(), 2);
    shop.project.up_sandbox();
    let findings = shop.json(&[], 0);
    assert!(words(one(&findings, "base"), "sentence").starts_with("SANDBOX: "), "{findings:#?}");
    assert!(words(one(&findings, "daemon"), "sentence").ends_with(", in the sandbox"), "{findings:#?}");
    assert!(of(&findings, "leftovers").is_empty(), "its own runs are none: {findings:#?}");
    assert_eq!(shop.aws.calls().answered("AssumeRole", "ok"), 0);
}

/// Ended and waited for, whatever comes.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn what_an_earlier_devsup_left_is_named() {
    let shop = Shop::new();
    let file = shop.project.path("services.toml").canonicalize().expect("there");
    let folder = Folder::of(&shop.project.path("state/devsup"), "shop", &file);
    let mut command = shop.project.command(Path::new("sleep"), &["600"]);
    command.env("DEVSUP_RUN", format!("{}/a#3", folder.id())).arg0("sleep");
    let sleeper = Sleeper(command.spawn().expect("it starts"));
    let pid = sleeper.0.id();
    let environ = format!("/proc/{pid}/environ");
    wait_until("it is what it becomes", || {
        std::fs::read(&environ).is_ok_and(|all| memchr::memmem::find(&all, b"DEVSUP_RUN").is_some())
    });
    let findings = shop.json(&[], 0);
    let left = one(&findings, "leftovers");
    assert_eq!((words(left, "verdict"), words(left, "service")), ("warn", "a"), "{left:#}");
    assert!(words(left, "sentence").contains(&format!("(pid {pid})")), "{left:#}");
    drop(sleeper);
    assert!(of(&shop.json(&[], 0), "leftovers").is_empty());
}

#[test]
fn a_state_folder_of_others_is_in_the_way() {
    let mut shop = Shop::new();
    let state = shop.project.path("open/devsup");
    std::fs::create_dir_all(&state).expect("a folder");
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let before = shop.project.env.insert("XDG_STATE_HOME".into(), shop.project.path("open").display().to_string());
    let findings = shop.json(&[], 1);
    assert!(words(one(&findings, "state"), "sentence").contains("may be entered by others"), "{findings:#?}");
    shop.project.env.extend(before.map(|before| ("XDG_STATE_HOME".into(), before)));
    if !is_root() {
        // Who may write anywhere is not kept from it.
        let closed = shop.project.path("closed");
        std::fs::create_dir(&closed).expect("a folder");
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o500)).expect("chmod");
        let before = shop.project.env.insert("XDG_STATE_HOME".into(), closed.display().to_string());
        let findings = shop.json(&[], 1);
        assert_eq!(words(one(&findings, "state"), "verdict"), "error", "{findings:#?}");
        shop.project.env.extend(before.map(|before| ("XDG_STATE_HOME".into(), before)));
    }
}
