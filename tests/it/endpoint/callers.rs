//! A token in other hands: of another service, of the same user's shell, of another user, of another project. Each is refused,
//! and the journal says who it was. And those who are the service's own however they got there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use devsup::sys::cgroup::Cgroup;
use devsup::sys::users;

use super::{Stolen, events, folder_for_all, get, shop};
use crate::faults::badly;
use crate::groups::can_be_made;
use crate::means::{root_for, skipped};
use crate::project::{Foreground, Project, misbehave, wait_until};

const SOMEBODY: u32 = 65534;

/// Once without cgroups, once with, if there are any here.
fn both(test: impl Fn(&str)) {
    for mode in ["session", "auto"] {
        if mode == "auto" && !can_be_made() {
            skipped("the half with cgroups: none can be made here");
            continue;
        }
        test(mode);
    }
}

/// Shows a's token until the journal says so in these words: of many in one second, not each is named.
fn until_told(project: &Project, words: &[&str], show: impl Fn()) {
    wait_until(&format!("the journal says {words:?}"), || {
        show();
        events(project, "token-refused").iter().any(|event| {
            let reason = event.reason.as_deref().unwrap_or_default();
            event.service.as_deref() == Some("a") && words.iter().all(|word| reason.contains(word))
        })
    });
}

#[test]
fn a_stolen_token_is_worth_nothing_to_others_of_the_same_user() {
    both(|mode| {
        let plain = format!("[services.c]\ncommand = {}", badly("asks c"));
        let project = shop("10m", &plain, &[("DEVSUP_TREE", mode)]);
        project.up_sandbox();
        let stolen = Stolen::of(&project, "a");
        assert_eq!(get(&project, "a").status, 200, "{mode}");
        let user = users::name(users::own_uid());
        for thief in ["b", "c"] {
            let pid = project.service(thief).pid.expect("it is up");
            let who = format!("pid {pid} (misbehave) of {user}, of service `{thief}`,");
            until_told(&project, &[&who, "it is in no run of the service"], || {
                let answer = stolen.shown_by(&project, thief);
                answer.is(403, "AccessDenied");
                assert!(answer.text("message").contains("no process of a run of it"), "{answer:?}");
            });
        }
        until_told(&project, &[&format!("pid {} (", std::process::id()), &user], || {
            stolen.shown_by_us().is(403, "AccessDenied");
        });
        let told = events(&project, "token-refused");
        assert!(told.iter().all(|event| event.by.as_ref().is_some_and(|by| by.uid == users::own_uid())), "{told:#?}");
        let (mine, shown) = (get(&project, "b"), events(&project, "credentials-issued"));
        assert_eq!(mine.status, 200, "its own token is as good as before");
        assert!(shown.iter().all(|event| event.service.as_deref() != Some("c")), "{shown:#?}");
    });
}

#[test]
fn a_service_of_another_project_is_nobody_here() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    let folder = project.path("c").display().to_string();
    let other =
        Project::new(&format!("name = 'den'\n[services.thief]\ncommand = {}", badly(&format!("asks {folder}"))));
    other.devsup(&["up", "-d", "--wait"]).ok();
    let (stolen, thief) = (Stolen::of(&project, "a"), other.service("thief").pid.expect("it is up"));
    until_told(&project, &[&format!("pid {thief} (misbehave)")], || {
        stolen.shown_by(&project, "c").is(403, "AccessDenied");
    });
}

#[test]
fn all_of_the_services_own_tree_may_ask() {
    both(|mode| {
        let project = shop("10m", "", &[("DEVSUP_TREE", mode)]);
        let words = "fork setsid [ asks c ] daemon [ asks d ] asks a";
        let manifest = fs::read_to_string(project.path("services.toml")).expect("the manifest");
        project.write("services.toml", &manifest.replace(&badly("asks a"), &badly(words)));
        folder_for_all(&project, "d");
        project.up_sandbox();
        for folder in ["a", "c", "d", "a", "d"] {
            let answer = get(&project, folder);
            assert_eq!(answer.status, 200, "{mode} {folder}: {answer:?}");
        }
        assert!(events(&project, "token-refused").is_empty());
    });
}

/// A user may move a process of theirs into a group of theirs. It is in no run's tree for that.
#[test]
fn who_only_went_into_a_runs_cgroup_is_refused() {
    if !can_be_made() {
        return skipped("no cgroups can be made here");
    }
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    let group = project.cgroups().into_iter().map(|base| base.join("a.1")).find(|group| group.is_dir());
    let group = Cgroup::open(&group.expect("the group of a's first run")).expect("it is there");
    // It goes there before it opens a socket: it asks only when it is told to.
    let thief = Foreground::start(project.command(misbehave().as_ref(), &["asks", "c"]));
    group.admit(thief.pid()).expect("it is this user's");
    assert!(group.members().contains(&thief.pid()));
    let stolen = Stolen::of(&project, "a");
    until_told(&project, &[&format!("pid {} (misbehave)", thief.pid()), "it is in no run of the service"], || {
        stolen.shown_by(&project, "c").is(403, "AccessDenied");
    });
    assert_eq!(get(&project, "a").status, 200);
}

#[test]
fn a_service_asks_as_its_user_and_nobody_else_does() {
    if !root_for("becoming another user") {
        return;
    }
    both(|mode| {
        let project = shop("10m", "", &[("DEVSUP_TREE", mode)]);
        fs::set_permissions(project.path(""), fs::Permissions::from_mode(0o711)).expect("our own");
        let program = project.path("program");
        fs::copy(misbehave(), &program).expect("a copy that everybody may run");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own");
        let command = |folder: &str| format!("[{:?}, 'asks', {:?}]", program, project.path(folder));
        let manifest = fs::read_to_string(project.path("services.toml")).expect("the manifest");
        let them = |name: &str, role: &str| {
            let user = format!("user = '{SOMEBODY}'\ngroup = '{SOMEBODY}'\nworking_dir = '/'");
            format!("[services.{name}]\n{user}\n{role}\ncommand = {}\n", command(name))
        };
        folder_for_all(&project, "d");
        let role = "role = { arn = 'service-d', delivery = 'endpoint' }";
        let both = format!("{}{}[sandbox]", them("c", ""), them("d", role));
        project.write("services.toml", &manifest.replace("[sandbox]", &both));
        project.up_sandbox();
        assert_eq!(get(&project, "d").status, 200, "{mode}: it is its own user's");
        let stolen = Stolen::of(&project, "a");
        until_told(&project, &[&users::name(SOMEBODY), "the service runs as another user"], || {
            let answer = stolen.shown_by(&project, "c");
            answer.is(403, "AccessDenied");
            assert!(answer.text("message").contains("runs as another user"), "{answer:?}");
        });
        // Root may read all, and is still not the service's user.
        Stolen::of(&project, "d").shown_by_us().is(403, "AccessDenied");
    });
}

/// Where it is asked for, the token is in a private file and in no variable; and in no log either way.
#[test]
fn a_token_in_a_file_is_in_no_variable_and_in_no_log() {
    let project = shop("10m", "", &[]);
    let script = |variable: &str, folder: &str| {
        let ask = format!("exec {:?} asks {folder}", misbehave());
        let show =
            "cat $AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE </dev/null; echo \" $AWS_CONTAINER_AUTHORIZATION_TOKEN\"";
        format!("command = '''env | grep -o \"^{variable}=\"; {show}; echo shown; {ask}'''")
    };
    let mut manifest = fs::read_to_string(project.path("services.toml")).expect("the manifest");
    manifest = manifest.replacen("delivery = 'endpoint'", "delivery = 'endpoint', token = 'file'", 1);
    manifest = manifest
        .replace(&format!("command = {}", badly("asks a")), &script("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "a"));
    manifest =
        manifest.replace(&format!("command = {}", badly("asks b")), &script("AWS_CONTAINER_AUTHORIZATION_TOKEN", "b"));
    project.write("services.toml", &manifest);
    project.up_sandbox();
    for service in ["a", "b"] {
        project.until_log(service, "shown");
        let log = project.log(service);
        assert!(log.contains(&format!("[devsup: endpoint token of {service}]")), "{log}");
        assert_eq!(get(&project, service).status, 200);
    }
    let pid = project.service("a").pid.expect("it is up");
    let variable = |name: &str| devsup::sys::tree::environment(pid, name);
    assert_eq!(variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"), None);
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").expect("devsup set it");
    let token = fs::read_to_string(&file).expect("its own");
    assert!(token.len() == 43 && !token.contains('\n'), "a file of {} bytes", token.len());
    let own = Stolen::of(&project, "b").token;
    let mut folders = vec![project.state().expect("a state folder")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("our own").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.display().to_string() != file && path.is_file() {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
                assert!(!text.contains(&token) && !text.contains(&own), "{}", path.display());
            }
        }
    }
}
