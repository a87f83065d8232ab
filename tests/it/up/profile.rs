//! `devsup profile`: services as profiles of `~/.aws/config`, for tools that devsup does not start.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::project::{Foreground, Output, Project, binary};

const MANIFEST: &str = "name = 'shop'\n[aws]\nregion = 'eu-west-1'\nrole_prefix = 'arn:aws:iam::033145145979:role/'\n\
    [services.a]\nrole = 'service-a'\ncommand = 'sleep 600'\n\
    [services.b]\nrole = 'service-b'\ncommand = 'sleep 600'\nautostart = false\n\
    [services.plain]\ncommand = 'sleep 600'\n\
    [sandbox]\nlease = '10m'\nbuckets = { bucket1 = ['service-a'], bucket2 = ['service-b'] }\n";

const OWN: &str = "[default]\nregion = us-east-1\n\n[profile mine]\nsso_session = corp";

/// A home with a config of somebody's own, whose last line has no end.
fn project() -> Project {
    let project = Project::new(MANIFEST);
    fs::create_dir(project.path("home/.aws")).expect("a folder");
    project.write("home/.aws/config", OWN);
    fs::set_permissions(project.path("home/.aws/config"), fs::Permissions::from_mode(0o640)).expect("ours");
    project
}

fn config(project: &Project) -> String {
    fs::read_to_string(project.path("home/.aws/config")).expect("readable")
}

/// As an IDE would: another folder, the home, a profile's name, and nothing of devsup's.
fn elsewhere(project: &Project, profile: &str, url: &str) -> Output {
    let mut command = project.command(&binary(), &["whoami", "-v", "--try", "s3://bucket1", "s3://bucket2"]);
    command.current_dir("/").env_clear();
    for name in ["HOME", "PATH"] {
        command.env(name, &project.env[name]);
    }
    command.env("AWS_PROFILE", profile).env("AWS_ENDPOINT_URL", url);
    Foreground::start(command).finish()
}

#[test]
fn a_tool_that_devsup_did_not_start_is_the_service_of_its_profile() {
    let project = project();
    project.up_sandbox();
    let said = project.devsup(&["profile", "--install"]).ok();
    assert!(said.stdout.is_empty() && said.stderr.contains("shop-a, shop-b written to `"), "{said:#?}");
    assert!(said.stderr.contains("worth nothing at AWS"), "the sandbox is said: {said:#?}");
    let url = project.sandbox_url("a");
    let a = elsewhere(&project, "shop-a", &url).ok().stdout;
    assert!(a.contains("service-a · bucket1 ok · bucket2 AccessDenied"), "{a}");
    assert!(a.contains("from           profile shop-a (credential_process)"), "{a}");
    let b = elsewhere(&project, "shop-b", &url).ok().stdout;
    assert!(b.contains("service-b · bucket1 AccessDenied · bucket2 ok"), "the service itself is down: {b}");
    project.devsup(&["down"]).ok();
    let down = elsewhere(&project, "shop-a", &url);
    assert!(down.status == 7 && down.stdout.contains("project `shop` is not up"), "{down:#?}");
}

#[test]
fn what_is_there_is_kept_byte_for_byte_and_twice_is_once() {
    let project = project();
    let printed = project.devsup(&["profile", "a"]).ok();
    assert!(printed.stdout.starts_with("[profile shop-a]\ncredential_process = \""), "{printed:#?}");
    assert!(
        printed.stdout.ends_with("a\nregion = eu-west-1\n") && printed.stderr.contains("is not up"),
        "{printed:#?}"
    );
    project.devsup(&["profile", "--install"]).ok();
    let installed = config(&project);
    assert!(installed.starts_with(&format!("{OWN}\n# devsup: begin shop-")), "{installed}");
    let mode = || fs::metadata(project.path("home/.aws/config")).expect("there").mode() & 0o777;
    assert_eq!(mode(), 0o640);
    let again = project.devsup(&["profile", "--install"]).ok();
    assert!(again.stderr.contains("has shop-a, shop-b already"), "{again:#?}");
    assert_eq!(config(&project), installed);
    project.devsup(&["profile", "b", "--install"]).ok();
    assert!(!config(&project).contains("[profile shop-a]"), "what is named is what is there");
    project.up_sandbox();
    project.devsup(&["profile", "--install"]).ok();
    assert_eq!(config(&project), installed, "up or not, it is found at the same place");
    project.devsup(&["profile", "--remove"]).ok();
    assert_eq!((config(&project).as_str(), mode()), (OWN, 0o640));
    assert!(project.devsup(&["profile", "--remove"]).ok().stderr.contains("has nothing of this project"));
    let beside: Vec<_> = fs::read_dir(project.path("home/.aws")).expect("a folder").flatten().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn a_profile_of_somebody_elses_is_refused_and_nothing_is_written() {
    let project = project();
    let taken = format!("{OWN}\n[profile shop-b]\nregion = x\n");
    project.write("home/.aws/config", &taken);
    let refused = project.devsup(&["profile", "--install"]).ends(1);
    assert!(refused.stderr.contains("line 6: profile `shop-b` is there already"), "{refused:#?}");
    assert_eq!(config(&project), taken);
    project.devsup(&["profile", "a", "--install"]).ok();
    project.write("home/.aws/credentials", "[shop-a]\naws_access_key_id = AKIA\n");
    let keys = project.devsup(&["profile", "a", "--install"]).ends(1);
    assert!(keys.stderr.contains("line 1: profile `shop-a` has keys there"), "{keys:#?}");
    project.devsup(&["profile", "nobody"]).ends(4);
    assert!(project.devsup(&["profile", "plain"]).ends(1).stderr.contains("has no role"));
}

#[test]
fn the_file_is_the_one_the_sdks_read() {
    let mut project = project();
    project.write("real", "");
    symlink(project.path("real"), project.path("link")).expect("a link");
    project.env.insert("AWS_CONFIG_FILE".into(), project.path("link").display().to_string());
    project.devsup(&["profile", "--install"]).ok();
    assert!(fs::symlink_metadata(project.path("link")).expect("there").is_symlink(), "a link stays one");
    assert!(fs::read_to_string(project.path("real")).expect("readable").contains("[profile shop-a]"));
    assert_eq!(config(&project), OWN);
    project.env.insert("AWS_CONFIG_FILE".into(), "~/new/config".into());
    project.devsup(&["profile", "--install"]).ok();
    let made = project.path("home/new/config");
    assert_eq!(fs::metadata(&made).expect("made").mode() & 0o777, 0o600);
    project.env.insert("AWS_CONFIG_FILE".into(), "/dev/null".into());
    let refused = project.devsup(&["profile", "--install"]).ends(1);
    assert!(refused.stderr.contains("`/dev/null` is not a file"), "{refused:#?}");
    assert!(!fs::metadata(Path::new("/dev/null")).expect("there").is_file());
}
