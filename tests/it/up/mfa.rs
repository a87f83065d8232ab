//! A base identity that must show an MFA code: what is seen until there is one, how it is given, what is said of a wrong one.

use std::process::Stdio;

use crate::project::{Foreground, Output, Project, binary};

const MANIFEST: &str = "name = 'shop'\n[aws]\nmfa_serial = 'arn:aws:iam::033145145979:mfa/ann'\n\
    role_prefix = 'arn:aws:iam::033145145979:role/'\n\
    [defaults.role]\nvia = 'jump'\nsource_identity = '{user}'\ntags = { project = 'shop' }\ntransitive_tags = 'project'\n\
    [services.a]\nrole = { arn = 'service-a', external_id = 'x-1' }\ncommand = 'sleep 600'\n\
    [services.plain]\ncommand = 'sleep 600'\n[sandbox]\nlease = '10m'\n";

/// The code comes through a pipe, as from a password manager.
fn piped(project: &Project, line: &str) -> Output {
    let mut command = project.command(&binary(), &["creds", "--mfa"]);
    command.stdin(Stdio::piped());
    let mut typed = Foreground::start(command);
    typed.types(line.as_bytes());
    typed.finish()
}

#[test]
fn services_wait_for_the_code_and_start_when_it_comes() {
    let project = Project::new(MANIFEST);
    let up = project.devsup(&["up", "-d", "--sandbox"]).ends(7);
    assert!(up.stderr.contains("MfaRequired") && up.stderr.contains("devsup creds --mfa"), "{up:#?}");
    let waits = project.until_one("a", |a| a.status.contains("MFA"), "it waits for a code");
    assert_eq!(waits.status, "waiting for an MFA code: devsup creds --mfa");
    assert!(waits.next.as_deref().unwrap_or_default().contains("devsup creds --mfa"), "{waits:#?}");
    project.until_one("plain", |plain| plain.ready, "others do not wait");

    let bad = piped(&project, "12345\n").ends(2);
    assert!(bad.stderr.contains("six digits"), "{bad:#?}");
    let wrong = piped(&project, "654321\n").ends(7);
    assert!(
        wrong.stderr.contains("does not take this MFA code") && wrong.stderr.contains("give another one"),
        "{wrong:#?}"
    );
    assert!(project.service("a").status.contains("MFA"), "a wrong code changes nothing");

    let taken = piped(&project, " 123456 \n").ok();
    assert!(taken.stderr.contains("lasts until"), "{taken:#?}");
    let runs = project.until_one("a", |a| a.ready, "it starts at once");
    assert!(runs.credentials_text.contains("left"), "{runs:#?}");
    let said = project.devsup(&["creds", "a"]).ok().stdout;
    assert!(said.contains("assumed-role/service-a/"), "{said}");

    let events = project.events();
    for (event, words) in [("mfa-refused", "was not taken"), ("mfa", "was taken")] {
        let found = events.iter().find(|one| one.event == event).expect(event);
        assert!(found.reason.as_deref().unwrap_or_default().contains(words) && found.by.is_some(), "{found:?}");
    }
    for file in ["events.jsonl", "daemon.log"] {
        let text = std::fs::read_to_string(project.state().expect("a folder").join(file)).unwrap_or_default();
        // The hint names the sandbox's own code; nothing else may.
        let text = text.replace("(the sandbox takes 123456)", "");
        assert!(!text.contains("123456") && !text.contains("654321"), "{file}: {text}");
    }
}

#[test]
fn a_code_may_be_typed_as_an_argument_and_nobody_needs_one_twice() {
    let project = Project::new(MANIFEST);
    project.devsup(&["up", "-d", "--sandbox"]).ends(7);
    project.devsup(&["creds", "--mfa", "123456"]).ok();
    project.until_one("a", |a| a.ready, "it starts");
    let before = project.service("a");
    let again = project.devsup(&["creds", "--mfa", "123456"]).ok();
    assert!(again.stderr.contains("taken"), "{again:#?}");
    assert_eq!(project.service("a").run, before.run, "nobody waited for it, so nothing is replaced");
    project.devsup(&["creds", "a", "--mfa", "123456"]).ends(2);
}

#[test]
fn a_code_that_nobody_wants_is_said() {
    let project = Project::new("name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n");
    project.up_sandbox();
    let said = project.devsup(&["creds", "--mfa", "123456"]).ends(7);
    assert!(said.stderr.contains("no MFA code is wanted"), "{said:#?}");
}
