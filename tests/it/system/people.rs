//! Two people with one manifest have two projects, their own logs, and their own names in CloudTrail.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use devsup::control::api::{Creds, Service};

use super::{Person, open_folder};
use crate::means::root_for;
use crate::project::{Foreground, Output, Project};

const MANIFEST: &str = r#"
name = "both"
[aws]
region = "ap-southeast-2"
role_prefix = "arn:aws:iam::033145145979:role/"
[services.a]
role = "service-a"
command = 'echo "I am $(id -u)"; exec sleep 600'
[sandbox]
lease = "10m"
"#;

/// Someone with a home of their own; their project ends with them.
struct Developer<'a> {
    person: Person<'a>,
    home: PathBuf,
}

impl Developer<'_> {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.person.command(args);
        command.env("HOME", &self.home).env("XDG_STATE_HOME", self.home.join("state"));
        Foreground::start(command).finish()
    }
}

impl Drop for Developer<'_> {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

#[test]
fn two_people_with_one_manifest_have_two_projects() {
    if !root_for("two people") {
        return;
    }
    let project = Project::new(MANIFEST);
    let binary = open_folder(&project);
    fs::set_permissions(project.path("services.toml"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let developer = |uid: u32| {
        let home = project.path(&format!("home-{uid}"));
        fs::create_dir(&home).expect("a home");
        chown(&home, Some(uid), Some(uid)).expect("given away");
        Developer { person: Person { project: &project, binary: binary.clone(), uid, group: uid }, home }
    };
    let people = [developer(65_534), developer(65_533)];
    let mut pids = Vec::new();
    for one in &people {
        one.run(&["up", "-d", "--wait", "--sandbox"]).ok();
    }
    for one in &people {
        let uid = one.person.uid;
        let ps: Service = serde_json::from_str(&one.run(&["ps", "--format", "json"]).ok().stdout).expect("a service");
        pids.push(ps.pid.expect("it runs"));
        let list = one.run(&["ls"]).ok().stdout;
        assert_eq!(list.lines().count(), 2, "one sees one's own: {list}");
        let logs = one.run(&["logs", "--no-log-prefix", "a"]).ok().stdout;
        let said: Vec<&str> = logs.lines().filter(|line| line.starts_with("I am")).collect();
        assert_eq!(said, [format!("I am {uid}")], "one's own logs");
        let creds: Creds = serde_json::from_str(&one.run(&["creds", "--format", "json"]).ok().stdout).expect("creds");
        let user = devsup::sys::users::name(uid);
        let identity = creds.identity.expect("the sandbox says who it is");
        assert!(identity.ends_with(&format!("/devsup-{user}-a")), "{identity}");
    }
    assert_ne!(pids[0], pids[1]);
    people[0].run(&["down"]).ok();
    people[1].run(&["ps", "a"]).ok();
    people[0].run(&["ps"]).ends(5);
}
