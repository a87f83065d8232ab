//! The story the project was made from: four services on one machine, and the lives of their credentials.

use crate::project::Project;

const MANIFEST: &str = r#"
name = "shop"
[aws]
region = "ap-southeast-2"
role_prefix = "arn:aws:iam::033145145979:role/"
[defaults]
command = 'while :; do "$DEVSUP" whoami --try s3://bucket1 s3://bucket2 s3://bucket3; sleep 1 & wait; done'
[services.a]
role = "service-a"
[services.b]
role = "service-b"
[services.c]
role = "service-c"
[services.d]
inherit_aws = true
[sandbox]
lease = "12s"
buckets = { bucket1 = ["service-a"], bucket2 = ["service-b"], bucket3 = ["service-c"] }
"#;

#[test]
fn one_restart_leaves_the_others_alone() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    let key = |name: &str| project.service(name).credentials.and_then(|held| held.access_key_id);
    let before = (project.service("a").pid, project.service("b").pid, key("b"));
    project.devsup(&["restart", "b"]).ok();
    assert_ne!(project.service("b").pid, before.1);
    assert_ne!(key("b"), before.2);
    assert_eq!(project.service("a").pid, before.0);
}
