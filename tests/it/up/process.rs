//! `delivery = "process"` and `credential-process`: what an SDK is told, from inside a service and beside all of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::faults::{calls, faults};
use crate::means::root_for;
use crate::project::{Project, binary, wait_until};
use devsup::control::api::{Event, Service};

/// What every SDK does that gives a `credential_process` to a shell, and prints of it what is no secret.
const CLIENT: &str = r#"
command=$(sed -n 's/^credential_process = //p' "$AWS_CONFIG_FILE")
while true; do
  sh -c "$command" > answer 2> why; code=$?
  echo "$code $(sed -n 's/.*"AccessKeyId":"\([A-Z0-9]*\)".*/key \1./p' answer) $(head -c 300 why)"
  sleep 0.2
done
"#;

fn manifest(lease: &str, more: &str) -> String {
    format!(
        "name = 'shop'\n[aws]\nregion = 'eu-west-1'\nrole_prefix = 'arn:aws:iam::033145145979:role/'\n\
         [services.a]\nrole = {{ arn = 'service-a', delivery = 'process' }}\ncommand = '''{CLIENT}'''\n\
         [services.b]\nrole = 'service-b'\ncommand = 'sleep 600'\nautostart = false\n\
         [services.plain]\ncommand = 'sleep 600'\nautostart = false\n{more}\
         [sandbox]\nlease = '{lease}'\nbuckets = {{ bucket1 = ['service-a'], bucket2 = ['service-b'] }}\n"
    )
}

fn keys(log: &str) -> BTreeSet<&str> {
    log.lines().filter_map(|line| line.split_once("key ")?.1.split_once('.').map(|(key, _)| key)).collect()
}

/// What a run of the service sees under this name.
fn variable(project: &Project, service: &str, name: &str) -> Option<String> {
    let env = project.devsup(&["env", service]).ok().stdout;
    env.lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

#[test]
fn a_service_sees_a_new_key_after_a_renewal_and_is_not_restarted() {
    let project = Project::new(&manifest("6s", ""));
    project.up_sandbox();
    let before = project.service("a");
    assert!(before.credentials_text.starts_with("served (process), "), "{before:#?}");
    assert_eq!(before.credentials.expect("a role").rotates, None);
    wait_until("the program has seen three keys", || keys(&project.log("a")).len() >= 3);
    let (after, log) = (project.service("a"), project.log("a"));
    assert_eq!((after.pid, after.run, after.restarts, after.rotations), (before.pid, before.run, 0, 0), "{after:#?}");
    assert!(log.lines().all(|line| line.starts_with("0 key ASIASANDBOX")), "never a gap: {log}");
    assert!(variable(&project, "a", "AWS_ACCESS_KEY_ID").is_none());
    let config = PathBuf::from(variable(&project, "a", "AWS_CONFIG_FILE").expect("a config"));
    let text = fs::read_to_string(&config).expect("readable");
    assert!(text.starts_with("[default]\nregion = eu-west-1\ncredential_process = \""), "{text}");
    assert_eq!(fs::metadata(&config).expect("there").mode() & 0o777, 0o600);
    let events = issued(&project);
    assert!(events.iter().all(|event| event.more["how"] == "process" && event.run == Some(1)), "{events:#?}");
    project.devsup(&["down"]).ok();
    assert!(!config.exists(), "nothing is left of it");
}

fn issued(project: &Project) -> Vec<Event> {
    project.events().into_iter().filter(|event| event.event == "credentials-issued").collect()
}

#[test]
fn what_is_printed_is_the_contract_of_the_sdks_and_nothing_else() {
    let project = Project::new(&manifest("10m", ""));
    project.up_sandbox();
    project.devsup(&["start", "b"]).ok();
    let output = project.devsup(&["credential-process", "b"]).ok();
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (1, ""), "one object and nothing else");
    let answer: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{name} is no text")).to_owned();
    assert_eq!(answer["Version"], serde_json::json!(1), "a number");
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(6));
    assert!(text("AccessKeyId").starts_with("ASIASANDBOX"));
    assert_eq!(text("AccountId"), "033145145979");
    assert!(text("SecretAccessKey").len() > 20 && text("SessionToken").len() > 20);
    let expires = text("Expiration");
    assert!(expires.len() == 20 && expires.ends_with('Z') && expires.parse::<jiff::Timestamp>().is_ok(), "{expires}");
    assert_eq!(Some(text("AccessKeyId")), project.service("b").credentials.expect("a role").access_key_id);
    let everything = format!("{:?} {}", project.events(), project.devsup(&["ps", "a"]).stdout);
    assert!(!everything.contains(&text("SecretAccessKey")) && !everything.contains(&text("SessionToken")));
    let (me, events) = (devsup::sys::users::own_uid(), issued(&project));
    let ours = events.iter().find(|event| event.service.as_deref() == Some("b")).expect("told who asked");
    assert_eq!(ours.by.as_ref().map(|by| by.uid), Some(me));
    assert_eq!(ours.more["access_key_id"], answer["AccessKeyId"]);
    assert_eq!(ours.more["expires"], answer["Expiration"]);
    assert!(ours.run.is_none() && ours.more["pid"].as_u64().is_some(), "{ours:#?}");
}

#[test]
fn a_service_that_is_down_gets_one_question_to_sts_for_all_who_ask() {
    let project = Project::new(&manifest("10m", ""));
    project.up_sandbox();
    let asking: Vec<_> = (0..8).map(|_| project.spawn(&["credential-process", "b"])).collect();
    let said: BTreeSet<String> = asking.into_iter().map(|one| one.finish().ok().stdout).collect();
    assert_eq!(said.len(), 1, "all got the same answer");
    assert_eq!(said.first(), Some(&project.devsup(&["credential-process", "b"]).ok().stdout), "and it is kept");
    assert_eq!(assumed(&project, "service-b"), 1);
    let began = |event: &Event| event.service.as_deref() == Some("b") && event.run.is_some();
    assert!(!project.events().iter().any(began), "it is still down");
    project.devsup(&["start", "b"]).ok();
    let held = project.service("b").credentials.expect("a role").access_key_id.expect("held");
    let after = project.devsup(&["credential-process", "b"]).ok().stdout;
    assert!(after.contains(&held), "once it is up, its lease is what is given");
}

/// How often the sandbox was asked for this role.
fn assumed(project: &Project, role: &str) -> u64 {
    calls(project, "a").count(role, "AssumeRole")
}

#[test]
fn what_cannot_be_had_is_one_line_and_an_exit_code() {
    let project = Project::new(&manifest("10m", ""));
    let fails = |args: &[&str], code: i32, words: &str| {
        let output = project.devsup(args).ends(code);
        assert!(output.stdout.is_empty() && output.stderr.lines().count() == 1, "{output:#?}");
        assert!(output.stderr.contains(words), "{output:#?}");
    };
    fails(&["credential-process", "a"], 5, "is not up; devsup up");
    project.up_sandbox();
    fails(&["credential-process", "nobody"], 4, "no service `nobody` in the manifest");
    fails(&["credential-process", "plain"], 1, "has no role");
    faults(&project, "a", r#"{"deny": ["service-b"]}"#);
    fails(&["credential-process", "b"], 7, "service `b`: no credentials: AccessDenied; ");
    fails(&["credential-process", "b"], 7, "AccessDenied");
    assert_eq!(assumed(&project, "service-b"), 1, "a refusal is not asked for again at once");
    let socket = project.state().expect("a state folder").join("control.sock").display().to_string();
    project.devsup(&["down"]).ok();
    let home = project.path("services.toml").canonicalize().expect("there").display().to_string();
    let mend = format!("project `shop` is not up; devsup -f {home} up -d");
    fails(&["credential-process", "--socket", &socket, "a"], 5, &mend);
    fails(&["credential-process", "--socket", "/nowhere/control.sock", "a"], 5, "no project listens at");
}

#[test]
fn a_terminal_is_refused_unless_it_is_meant() {
    let typed = |args: &str| format!("\"$DEVSUP\" credential-process t {args}; echo \"ended $?\"; exec sleep 600");
    let at_a_terminal = |args: &str| {
        let service = "[services.t]\nrole = 'service-c'\ntty = true\n";
        let project = Project::new(&manifest("10m", &format!("{service}command = '{}'\n", typed(args))));
        project.up_sandbox();
        project.until_log("t", "ended ");
        project.log("t")
    };
    let refused = at_a_terminal("");
    assert!(refused.contains("stdout is a terminal") && refused.contains("ended 6"), "{refused}");
    assert!(!refused.contains("AccessKeyId"), "{refused}");
    let meant = at_a_terminal("--force");
    assert!(meant.contains("\"AccessKeyId\":\"ASIASANDBOX") && meant.contains("ended 0"), "{meant}");
}

#[test]
fn a_neighbour_gets_nothing_and_it_is_told_who_tried() {
    let nosy = "[services.nosy]\nrole = { arn = 'service-c', delivery = 'process' }\n\
        command = '\"$DEVSUP\" credential-process a; echo \"$? tried\"; exec sleep 600'\n";
    let project = Project::new(&manifest("10m", nosy));
    project.up_sandbox();
    project.until_log("nosy", "6 tried");
    let log = project.log("nosy");
    assert!(log.contains("a process of service `nosy` may not see the credentials of `a`"), "{log}");
    assert!(!log.contains("ASIASANDBOX"), "{log}");
    let tried = |event: &Event| event.event == "refused" && event.service.as_deref() == Some("nosy");
    assert!(project.events().iter().any(tried), "{:#?}", project.events());
}

/// The whole way as another user: through folders of root's, by a door of the service's own.
#[test]
fn a_service_with_a_user_reads_its_config_and_reaches_devsup_and_nobody_else_does() {
    if !root_for("a service with another user") {
        return;
    }
    let tools = tempfile::tempdir_in("/tmp").expect("a folder");
    fs::set_permissions(tools.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let devsup = tools.path().join("devsup");
    fs::copy(binary(), &devsup).expect("a copy that anybody may run");
    let other = "[services.other]\nuser = '65534'\ngroup = '65534'\nworking_dir = '/tmp'\n\
        role = { arn = 'service-c', delivery = 'process' }\n\
        command = '''sh -c \"$(sed -n 's/^credential_process = //p' \"$AWS_CONFIG_FILE\")\" | \
        sed -n 's/.*\"AccessKeyId\":\"\\([A-Z0-9]*\\)\".*/key \\1./p'; exec sleep 600'''\n";
    let project = Project::new(&manifest("10m", other));
    project.run(&devsup, &["up", "-d", "--wait", "--sandbox"]).ok();
    project.until_log("other", "key ASIASANDBOX");
    let config = PathBuf::from(variable(&project, "other", "AWS_CONFIG_FILE").expect("a config"));
    let found = fs::metadata(&config).expect("there");
    assert_eq!((found.uid(), found.mode() & 0o777), (65534, 0o600), "{}", config.display());
    for above in config.ancestors().skip(1).take(2) {
        let found = fs::metadata(above).expect("there");
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o711), "{}", above.display());
    }
    let socket = config.with_file_name("control.sock");
    let typed = format!("'{}' credential-process --socket '{}' other", devsup.display(), socket.display());
    let outside = as_nobody(&project, &typed);
    assert!(outside.status == 6 && outside.stdout.is_empty(), "its user, and no process of it: {outside:#?}");
    let status = |path: &str| {
        let mut stream = UnixStream::connect(&socket).expect("root may");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("it reads");
        let answer = std::io::read_to_string(stream).expect("it answers");
        answer.split(' ').nth(1).map(str::to_owned).expect("a status")
    };
    let paths = ["/v1/credentials/other", "/v1/logs", "/v1/environment/other", "/v1/services", "/v1/down"];
    assert_eq!(paths.map(status), ["200", "404", "404", "404", "404"], "a door leads to credentials alone");
    assert!(as_nobody(&project, &format!("cat '{}'", project.path("state").display())).status != 0);
    project.devsup(&["down"]).ok();
    assert!(!config.exists() && !config.parent().expect("a folder").exists(), "nothing is left of it");
    assert!(!Path::new(&socket).exists());
}

fn as_nobody(project: &Project, script: &str) -> crate::project::Output {
    use std::os::unix::process::CommandExt;
    let mut command = project.command(Path::new("/bin/sh"), &["-c", script]);
    command.current_dir("/tmp").uid(65534).gid(65534);
    crate::project::Foreground::start(command).finish()
}

#[test]
fn env_shows_what_a_run_gets_and_exec_always_carries_the_keys() {
    let project = Project::new(&manifest("10m", ""));
    project.up_sandbox();
    let env = project.devsup(&["env", "a"]).ok().stdout;
    assert!(env.contains("AWS_SHARED_CREDENTIALS_FILE=/dev/null\n") && !env.contains("AWS_SECRET_ACCESS_KEY"), "{env}");
    let seen = project.devsup(&["env", "a", "--reveal", "--force"]).ok().stdout;
    assert_eq!(seen, env, "there is no secret in it");
    let whoami = |args: &[&str]| {
        let binary = binary().display().to_string();
        let words: Vec<&str> = args.iter().copied().chain([binary.as_str(), "whoami", "-v"]).collect();
        project.devsup(&words).ok().stdout
    };
    let before = project.service("a");
    project.devsup(&["creds", "a", "--refresh"]).ok();
    let after = project.service("a");
    assert_eq!((after.run, after.pid), (before.run, before.pid), "a refresh restarts nothing");
    let key = |service: &Service| service.credentials.as_ref().and_then(|held| held.access_key_id.clone());
    assert_ne!(key(&after), key(&before));
    let exec = whoami(&["exec", "a", "--"]);
    assert!(exec.starts_with("service-a") && exec.contains("from           environment"), "{exec}");
    let down = whoami(&["exec", "b", "--"]);
    assert!(down.starts_with("service-b"), "{down}");
}

#[test]
fn whoami_in_a_service_names_the_config_and_its_process() {
    let inside = "[services.who]\nrole = { arn = 'service-a', delivery = 'process' }\n\
        command = '\"$DEVSUP\" whoami -v --try s3://bucket1 s3://bucket2; exec sleep 600'\n";
    let project = Project::new(&manifest("10m", inside));
    project.up_sandbox();
    project.until_log("who", "region");
    let (log, config) = (project.log("who"), variable(&project, "who", "AWS_CONFIG_FILE").expect("a config"));
    assert!(log.contains("service-a · bucket1 ok · bucket2 AccessDenied"), "{log}");
    assert!(log.contains("from           profile default (credential_process)"), "{log}");
    assert!(log.contains(&format!("by             {config}, /dev/null")), "{log}");
}
