//! Credentials in daily use: hold and release, refresh, what is masked, and who a command becomes.

use devsup::control::api::Service;

use crate::project::Project;

fn manifest(lease: &str) -> String {
    format!(
        "name = 'shop'\n[aws]\nregion = 'eu-west-1'\nrole_prefix = 'arn:aws:iam::033145145979:role/'\n\
         [services.a]\nrole = 'service-a'\ncommand = 'sleep 600'\n[services.b]\nrole = 'service-b'\ncommand = 'sleep 600'\n[services.plain]\ncommand = 'sleep 600'\n\
         [sandbox]\nlease = '{lease}'\nbuckets = {{ bucket1 = ['service-a'], bucket2 = ['service-b'] }}\n"
    )
}

fn key(service: &Service) -> String {
    let id = service.credentials.as_ref().and_then(|held| held.access_key_id.clone());
    id.expect("a service with credentials")
}

#[test]
fn a_held_service_outlives_its_lease_and_is_replaced_when_released() {
    let project = Project::new(&manifest("8s"));
    project.up_sandbox();
    project.devsup(&["hold", "a"]).ok();
    let before = project.service("a");
    assert!(before.held.is_some() && before.status.contains("held"), "{before:#?}");
    let expired =
        project.until_one("a", |a| a.credentials_text.contains("EXPIRED"), "the held service outlives its lease");
    assert_eq!((expired.pid, expired.run, key(&expired)), (before.pid, before.run, key(&before)));
    assert!(project.devsup(&["ps"]).ok().stdout.contains("EXPIRED"));
    let detail = project.devsup(&["ps", "a"]).ok().stdout;
    assert!(detail.contains("release"), "{detail}");
    project.devsup(&["release", "a"]).ok();
    let after = project.until_one("a", |a| a.run > before.run && a.ready, "it is replaced");
    assert!(after.held.is_none() && after.crashes == 0, "{after:#?}");
    assert_ne!(key(&after), key(&before));
    assert!(project.devsup(&["release", "a"]).ok().stderr.contains("not held"), "no silent no-op");
}

#[test]
fn a_hold_for_a_while_ends_by_itself() {
    let project = Project::new(&manifest("10m"));
    project.up_sandbox();
    project.devsup(&["hold", "a", "--for", "1s"]).ok();
    project.until_one("a", |a| a.held.is_none(), "it is released by itself");
    project.devsup(&["hold", "a"]).ok();
    let before = project.service("a").pid;
    project.devsup(&["restart", "a"]).ok();
    assert_ne!(project.service("a").pid, before, "people may replace what they hold");
}

#[test]
fn refresh_brings_a_new_key_and_a_new_run() {
    let project = Project::new(&manifest("10m"));
    project.up_sandbox();
    let before = project.ps();
    let said = project.devsup(&["creds", "a", "--refresh"]).ok().stdout;
    assert!(said.contains("assumed-role/service-a/") && !said.contains(&key(&before[0])), "{said}");
    let after = project.until_one("a", |a| a.run > before[0].run && a.ready, "it runs on them");
    assert_ne!(key(&after), key(&before[0]));
    assert_eq!(after.crashes, 0);
    assert_eq!(project.service("b").pid, before[1].pid);
    assert_eq!(project.service("plain").pid, before[2].pid);
    let json = project.devsup(&["creds", "--format", "json"]).ok().stdout;
    assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{json}");
}

#[test]
fn secrets_are_masked_unless_revealed_on_purpose() {
    let project = Project::new(&manifest("10m"));
    project.up_sandbox();
    let of = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned)).expect("it is set")
    };
    let masked = project.devsup(&["env", "a"]).ok().stdout;
    assert_eq!(of(&masked, "AWS_ACCESS_KEY_ID"), key(&project.service("a")));
    let refused = project.devsup(&["env", "a", "--reveal"]).ends(6);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("--force"), "{refused:#?}");
    let revealed = project.devsup(&["env", "a", "--reveal", "--force"]).ok().stdout;
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        let secret = of(&revealed, name);
        assert!(secret.len() > 20, "{name}");
        assert_eq!(of(&masked, name), "…");
        for said in [project.devsup(&["ps", "a"]), project.devsup(&["creds"]), project.devsup(&["events"])] {
            assert!(!said.stdout.contains(&secret) && !said.stderr.contains(&secret), "{name}");
        }
    }
    let events = project.events();
    assert!(events.iter().any(|event| event.by.is_some() && event.event.contains("reveal")), "{events:#?}");
    let json = project.devsup(&["env", "a", "--format", "json"]).ok().stdout;
    assert!(!json.contains(&of(&revealed, "AWS_SECRET_ACCESS_KEY")));
    project.devsup(&["env", "plain"]).ok();
}

#[test]
fn exec_becomes_a_command_with_the_services_identity() {
    let project = Project::new(&manifest("10m"));
    project.up_sandbox();
    let binary = crate::project::binary();
    let whoami = |service: &str| {
        let binary = binary.to_str().expect("utf-8");
        project.devsup(&["exec", service, "--", binary, "whoami", "--try", "s3://bucket1", "s3://bucket2"])
    };
    let a = whoami("a").ok().stdout;
    assert!(a.contains("service-a · bucket1 ok · bucket2 AccessDenied"), "{a}");
    let plain = whoami("plain");
    assert!(!plain.stdout.contains(" ok") && plain.status != 0, "no role, no identity: {plain:#?}");
    project.devsup(&["exec", "a", "--", "sh", "-c", "exit 9"]).ends(9);
    project.devsup(&["exec", "a", "--", "no-such-command"]).ends(127);
    let said = project.devsup(&["exec", "a", "--", "sh", "-c", "pwd; echo $DEVSUP_SERVICE; env"]).ok().stdout;
    let folder = project.path(".").canonicalize().expect("a folder");
    assert!(said.starts_with(&format!("{}\na\n", folder.display())), "{said}");
    assert!(!said.contains("DEVSUP_RUN="), "it is no run");
}
