//! The story the project was made from: four services on one machine, three of them each as its own role, and the lives of
//! their credentials.

use std::collections::BTreeMap;

use devsup::control::api::Service;

use crate::project::{Project, wait_until};

const MANIFEST: &str = r#"
name = "shop"
[aws]
region = "ap-southeast-2"
role_prefix = "arn:aws:iam::033145145979:role/"
[defaults]
command = 'while :; do "$DEVSUP" whoami --try s3://bucket1 s3://bucket2 s3://bucket3; sleep 1 & wait; done'
stop_timeout = "20s"
[services.a]
role = "service-a"
[services.b]
role = "service-b"
[services.c]
role = "service-c"
[services.d]
inherit_aws = true
[sandbox]
lease = "LEASE"
buckets = { bucket1 = ["service-a"], bucket2 = ["service-b"], bucket3 = ["service-c"] }
"#;

const ROLES: [&str; 3] = ["a", "b", "c"];

fn project(lease: &str) -> Project {
    Project::new(&MANIFEST.replace("LEASE", lease))
}

/// Access key ids by service.
fn keys(services: &[Service]) -> BTreeMap<String, String> {
    let key = |service: &Service| service.credentials.as_ref()?.access_key_id.clone();
    services.iter().filter_map(|service| Some((service.name.clone(), key(service)?))).collect()
}

/// The line in which a service says who it is and what it may.
fn says(name: &str) -> String {
    let who = if name == "d" { "dev".to_owned() } else { format!("service-{name}") };
    let bucket = |(number, owner): (usize, &&str)| {
        format!("bucket{} {}", number + 1, if *owner == name { "ok" } else { "AccessDenied" })
    };
    let buckets: Vec<String> = ROLES.iter().enumerate().map(bucket).collect();
    format!("{who} · {}", buckets.join(" · "))
}

#[test]
fn each_runs_as_its_own_role_and_is_replaced_before_its_credentials_expire() {
    let project = project("24s");
    project.up_sandbox();
    let first = keys(&project.ps());
    let mut different: Vec<&String> = first.values().collect();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 3, "three roles, three keys: {first:?}");
    assert!(different.iter().all(|key| key.starts_with("ASIASANDBOX")));
    for name in ["a", "b", "c", "d"] {
        project.until_log(name, &says(name));
    }
    for name in ROLES {
        let said = project.devsup(&["creds", name]).ok().stdout;
        assert!(said.contains(&format!("assumed-role/service-{name}/")), "{said}");
    }

    let replaced = |all: &[Service]| all.iter().filter(|s| s.role.is_some()).all(|s| s.rotations > 0 && s.ready);
    let after = project.until(replaced, "the three have been replaced");
    for service in &after {
        assert_eq!(service.crashes, 0, "a replacement is no crash: {service:#?}");
        assert_ne!(service.state, devsup::supervisor::State::Backoff);
        if service.role.is_some() {
            assert_ne!(keys(&after)[&service.name], first[&service.name], "fresh credentials");
            let logs = project.devsup(&["logs", &service.name]).ok().stdout;
            assert!(logs.contains(&format!("{} restarted (credentials)", service.name)), "{logs}");
        }
    }
    let d = after.iter().find(|service| service.name == "d").expect("it is there");
    assert_eq!((d.run, d.rotations), (Some(1), 0), "nothing to replace it for");
    one_at_a_time(&project);
    assert!(!project.log("a").contains("bucket2 ok") && !project.log("d").contains(" ok"));
}

/// Between the stop of one and its being ready again no other is stopped.
fn one_at_a_time(project: &Project) {
    let mut away: Option<String> = None;
    let mut seen = 0;
    for event in project.events() {
        let Some(service) = event.service.clone() else { continue };
        let second = event.run.is_some_and(|run| run > 1);
        match event.event.as_str() {
            "stopped" | "exited" if away.is_none() => {
                away = Some(service);
                seen += 1;
            }
            "stopped" | "exited" => assert_eq!(away.as_ref(), Some(&service), "{:#?}", project.events()),
            "ready" if second => assert_eq!(away.take(), Some(service)),
            _ => {}
        }
    }
    assert!(seen >= 3, "each was stopped once at least: {:#?}", project.events());
}

#[test]
fn one_restarted_leaves_the_others_alone() {
    let project = project("10m");
    project.up_sandbox();
    let before = project.ps();
    let output = project.devsup(&["restart", "b"]).ok();
    assert!(output.stderr.contains("restarted") && output.stdout.is_empty(), "{output:#?}");
    let after = project.ps();
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(was.name, is.name);
        assert_eq!(was.pid == is.pid, was.name != "b", "{was:#?} {is:#?}");
        assert_eq!(was.run == is.run, was.name != "b");
    }
    let (old, new) = (keys(&before), keys(&after));
    assert_ne!(old["b"], new["b"], "fresh credentials");
    assert_eq!((&old["a"], &old["c"]), (&new["a"], &new["c"]));
    wait_until("the new run says who it is", || {
        project.devsup(&["logs", "b"]).stdout.split("run 2").nth(1).is_some_and(|log| log.contains(&says("b")))
    });
}
