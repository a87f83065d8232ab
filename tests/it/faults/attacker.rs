//! A hostile service in a project that is up, with its owner's uid: it tries each way to another service, to the keepers and
//! to the daemon. Invariant 9. (What it asks for at the control socket is in `callers`.)

use std::fs;

use devsup::sys::isolation::Means;
use devsup::sys::tree;

use super::badly;
use crate::means::walls;
use crate::project::Project;

/// Ways to read another process; what else there is, is a signal.
const READS: [&str; 10] = ["environ", "maps", "mem", "cwd", "exe", "fd-link", "fd-open", "fd-get", "vm-read", "ptrace"];

/// `keys`: of the attacker.
fn project(keys: &str) -> Project {
    let attacker = badly("to said wait-for pids attack @pids attack parent touch done sleep 600");
    let project = Project::new(&format!(
        "name = 'den'\n[aws]\nregion = 'ap-southeast-2'\nrole_prefix = 'arn:aws:iam::033145145979:role/'\n\
         [services.attacker]\ncommand = {attacker}\n{keys}\n\
         [services.victim]\nrole = 'victim'\ncommand = {}\n\
         [services.plain]\ncommand = {}\n[sandbox]\nlease = '10m'\n",
        badly("sleep 600"),
        badly("sleep 600"),
    ));
    project.up_sandbox();
    project
}

/// Everybody an attacker might want: (victim, without a role, the victim's keeper, its own keeper, the daemon).
struct Den {
    victim: u32,
    plain: u32,
    keeper: u32,
    own_keeper: u32,
    daemon: u32,
}

fn attacked(project: &Project) -> (Den, String) {
    let pid = |name: &str| project.service(name).pid.expect("it is up");
    let above = |pid: u32| tree::look(pid).expect("it lives").parent;
    let (victim, plain) = (pid("victim"), pid("plain"));
    let (keeper, own_keeper) = (above(victim), above(pid("attacker")));
    let den = Den { victim, plain, keeper, own_keeper, daemon: above(keeper) };
    project.write("list", &format!("{victim} {plain} {keeper} {}", den.daemon));
    fs::rename(project.path("list"), project.path("pids")).expect("our own file");
    crate::project::wait_until("the attacker has tried", || project.path("done").exists());
    let said = fs::read_to_string(project.path("said")).expect("what it said");
    (den, said)
}

#[track_caller]
fn got(said: &str, way: &str, pid: u32) -> bool {
    let begins = format!("attack {way} of {pid}: ");
    let line = said.lines().find_map(|line| line.strip_prefix(begins.as_str()));
    line.unwrap_or_else(|| panic!("`{begins}` in {said}")).starts_with("got")
}

#[test]
fn a_service_with_a_role_gets_at_nobody() {
    let Some(means) = walls() else { return };
    let project = project("role = 'attacker'");
    let (den, said) = attacked(&project);
    for pid in [den.victim, den.plain, den.keeper, den.own_keeper, den.daemon] {
        for way in READS {
            assert!(!got(&said, way, pid), "{way} of {pid}: {said}");
        }
        assert_eq!(got(&said, "signal", pid), means == Means::Files, "{said}");
    }
    let shown = project.service("attacker").isolation;
    assert!(shown.starts_with("landlock"), "{shown}");
    let detail = project.devsup(&["ps", "attacker"]).ok().stdout;
    assert!(detail.contains("isolation landlock"), "{detail}");
    for name in ["attacker", "victim", "plain"] {
        assert_eq!(project.service(name).restarts, 0, "nobody was harmed: {name}");
    }
}

/// So that the test above can fail, and because SECURITY.md says it.
#[test]
fn without_isolation_it_sees_all_services_of_its_user() {
    let project = project("role = 'attacker'\nisolate = false");
    let (den, said) = attacked(&project);
    for pid in [den.victim, den.plain] {
        for way in ["environ", "maps", "cwd", "exe", "fd-link", "signal"] {
            assert!(got(&said, way, pid), "{way} of {pid}: {said}");
        }
    }
    if devsup::sys::users::own_uid() != 0 {
        // These hide from their own user without any wall; from root nothing hides.
        for pid in [den.keeper, den.own_keeper, den.daemon] {
            for way in READS {
                assert!(!got(&said, way, pid), "{way} of {pid}: {said}");
            }
        }
    }
    assert_eq!(project.service("attacker").isolation, "off");
}

#[test]
fn a_service_without_a_role_is_isolated_only_when_it_is_asked_for() {
    let Some(_) = walls() else { return };
    let bare = project("");
    assert_eq!(bare.service("attacker").isolation, "off");
    let asked = project("isolate = true");
    let (den, said) = attacked(&asked);
    assert!(!got(&said, "environ", den.victim), "{said}");
    assert!(asked.service("attacker").isolation.starts_with("landlock"));
}
