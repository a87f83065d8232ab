//! What a service is given: interpolation, local changes, files read at each start, and whose environment it inherits.

use crate::project::Project;

/// The value that `exec` would give.
fn value(project: &Project, service: &str, name: &str) -> Option<String> {
    let said = project.devsup(&["env", service]).ok().stdout;
    said.lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

const SHOW: &str = "command = 'echo \"${NAME:-nobody} $COLOUR [$HANDED]\"; exec sleep 600'";

#[test]
fn variables_are_expanded_from_the_shell_that_typed_up() {
    let mut project = Project::new(
        "name = 'shop'\n[services.a]\nenv = { TO = '${GREETED:-world}', FROM = '${ME}', PRICE = '5$$' }\ncommand = 'env'\n",
    );
    project.devsup(&["up", "-d", "--sandbox"]).ends(2);
    project.env.insert("ME".into(), "alice".into());
    project.up_sandbox();
    project.until_log("a", "TO=world\n");
    project.until_log("a", "FROM=alice\n");
    project.until_log("a", "PRICE=5$\n");
}

#[test]
fn a_local_file_is_merged_over_the_manifest() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\nenv = { ONE = '1', TWO = '1' }\ncommand = 'sleep 600'\n\
         [services.b]\ncommand = 'sleep 600'\n",
    );
    project.write("services.local.toml", "[services.a]\nenv = { TWO = '2' }\n[services.b]\nautostart = false\n");
    project.up_sandbox();
    assert_eq!(value(&project, "a", "ONE").as_deref(), Some("1"));
    assert_eq!(value(&project, "a", "TWO").as_deref(), Some("2"));
    assert!(project.ps().iter().all(|service| service.name == "a"), "b was switched off");
    project.write("services.local.toml", "[services.a]\nenv = { TWO = '3' }\n");
    project.up_sandbox();
    assert_eq!(value(&project, "a", "TWO").as_deref(), Some("3"));
    assert_eq!(project.ps().len(), 2);
}

#[test]
fn an_env_file_is_read_again_at_every_start() {
    let project =
        Project::new("name = 'shop'\n[services.a]\nenv_file = ['.env']\ncommand = 'echo is $COLOUR; exec sleep 600'\n");
    project.write(".env", "# colours\nCOLOUR=red\n");
    project.up_sandbox();
    project.until_log("a", "is red");
    project.write(".env", "export COLOUR=\"dark blue\"\n");
    let before = project.service("a").pid;
    assert_eq!(project.service("a").pid, before, "a changed file alone replaces nothing");
    project.devsup(&["restart", "a"]).ok();
    project.until_log("a", "is dark blue");
}

#[test]
fn the_environment_of_the_last_command_reaches_the_next_run() {
    let mut project = Project::new(&format!("name = 'shop'\n[services.a]\n{SHOW}\n[services.b]\n{SHOW}\n"));
    project.env.insert("HANDED".into(), "first".into());
    project.up_sandbox();
    project.until_log("a", "[first]");
    let before = (project.service("a").pid, project.service("b").pid);
    project.env.insert("HANDED".into(), "second".into());
    project.up_sandbox();
    assert_eq!((project.service("a").pid, project.service("b").pid), before, "a changed environment replaces nothing");
    assert_eq!(value(&project, "a", "HANDED").as_deref(), Some("second"));
    project.env.insert("HANDED".into(), "third".into());
    project.devsup(&["restart", "a"]).ok();
    project.until_log("a", "[third]");
    assert_eq!(project.service("b").pid, before.1);
    project.devsup(&["kill", "b"]).ok();
    project.until_log("b", "[third]");
}

#[test]
fn a_clean_environment_inherits_next_to_nothing() {
    let mut project = Project::new(
        "name = 'shop'\n[services.clean]\nclean_env = true\nenv = { OWN = '1' }\ncommand = 'env; exec sleep 600'\n\
         [services.usual]\ncommand = 'env; exec sleep 600'\n",
    );
    project.env.insert("HANDED".into(), "yes".into());
    project.env.insert("LANG".into(), "C.UTF-8".into());
    project.up_sandbox();
    project.until_log("usual", "HANDED=yes");
    project.until_log("clean", "OWN=1");
    let log = project.log("clean");
    assert!(
        !log.contains("HANDED") && log.contains("PATH=") && log.contains("LANG=") && log.contains("HOME="),
        "{log}"
    );
}

#[test]
fn a_service_without_a_role_gets_nothing_of_the_shells_aws() {
    let mut project = Project::new("name = 'shop'\n[services.a]\ncommand = 'env; echo end; exec sleep 600'\n");
    let inherited = [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "not-for-services"),
        ("AWS_SESSION_TOKEN", "nor-this"),
        ("AWS_PROFILE", "prod"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"),
    ];
    project.env.extend(inherited.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    project.up_sandbox();
    project.until_log("a", "end\n");
    let log = project.log("a");
    for (name, value) in inherited {
        assert!(!log.contains(&format!("{name}={value}")), "{name}: {log}");
    }
    assert!(project.sandbox_url("a").starts_with("http://127.0.0.1:"));
    let said = project.devsup(&["env", "a"]).ok().stderr;
    assert!(said.contains("AWS_PROFILE") && !said.contains("not-for-services"), "named, not shown: {said}");
}
