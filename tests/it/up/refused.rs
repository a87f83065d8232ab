//! What is refused before anything happens: mixing the sandbox with the real thing, and manifests with errors.

use crate::project::Project;

const MANIFEST: &str = r#"
name = "shop"
[services.a]
command = "sleep 600"
"#;

#[test]
fn sandbox_and_real_aws_do_not_mix() {
    let modes: [(&[&str], &[&str], &str); 2] = [
        (&["up", "-d", "--sandbox"], &["up", "-d"], "sandbox"),
        (&["up", "-d"], &["up", "-d", "--sandbox"], "real AWS"),
    ];
    for (is, asked, word) in modes {
        let mut project = Project::new(MANIFEST);
        project.env.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
        project.devsup(is).ok();
        let before = project.ps();
        let refused = project.devsup(asked).ends(1);
        assert!(refused.stderr.contains(word) && refused.stderr.contains("devsup down"), "{refused:#?}");
        let foreground = project.devsup(&asked.iter().copied().filter(|word| *word != "-d").collect::<Vec<_>>());
        assert_eq!(foreground.status, 1, "{foreground:#?}");
        assert_eq!(project.ps()[0].pid, before[0].pid);
        let table = project.devsup(&["ps"]).ok().stdout;
        assert_eq!(table.contains("SANDBOX"), is.contains(&"--sandbox"), "{table}");
    }
}

#[test]
fn a_bad_manifest_starts_nothing() {
    let bad = [
        ("not toml", "[services.a\n"),
        ("an unknown key", "[services.a]\ncommand = 'touch ran'\ncomand = 'x'\n"),
        ("a wrong type", "[services.a]\ncommand = 3\n[services.b]\ncommand = 'touch ran'\n"),
        ("an unknown dependency", "[services.a]\ncommand = 'touch ran'\ndepends_on = ['nobody']\n"),
        (
            "a circle",
            "[services.a]\ncommand = 'touch ran'\ndepends_on = ['b']\n[services.b]\ncommand = 'touch ran'\ndepends_on = ['a']\n",
        ),
        ("no such role", "[services.a]\ncommand = 'touch ran'\nrole = 'arn:aws:iam::1:role/x'\n"),
        ("an unset variable", "[services.a]\ncommand = 'touch ran'\nenv = { X = '${NOT_SET_ANYWHERE}' }\n"),
    ];
    for (what, manifest) in bad {
        let project = Project::new(manifest);
        for verb in [&["up", "--sandbox"][..], &["up", "-d"], &["up", "-d", "--wait", "--sandbox"], &["config", "-q"]] {
            let output = project.devsup(verb).ends(2);
            assert!(output.stdout.is_empty() && output.stderr.contains("services.toml"), "{what}: {output:#?}");
        }
        assert!(!project.path("state").exists() && !project.path("home/.local").exists(), "{what}");
        assert!(!project.path("ran").exists(), "{what}");
        project.until_gone();
    }
}

#[test]
fn no_manifest_is_said_with_the_mend() {
    let project = Project::new(MANIFEST);
    std::fs::remove_file(project.path("services.toml")).expect("it was there");
    let output = project.devsup(&["up", "-d", "--sandbox"]).ends(2);
    assert!(output.stderr.contains("services.toml"), "{output:#?}");
    assert!(!project.path("state").exists());
}

#[test]
fn a_manifest_that_went_bad_while_up_changes_nothing() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    let before = project.service("a").pid;
    project.write("services.toml", "[services.a]\ncomand = 'sleep 600'\n");
    project.devsup(&["up", "-d", "--sandbox"]).ends(2);
    assert_eq!(project.service("a").pid, before);
    project.devsup(&["restart", "a"]).ok();
    assert_ne!(project.service("a").pid, before, "the manifest that is up is still the one that counts");
}

/// The one who types `up` has seen it with its place; the daemon's list of warnings says it again to others.
#[test]
fn a_warning_of_the_manifest_is_said_once() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\ncommand = 'sleep 600'\n\
         [services.b]\ncommand = 'true'\ndepends_on = { a = 'ready' }\n",
    );
    let said = |args: &[&str]| project.devsup(args).ok().stderr.matches("`a` does not say when it is ready").count();
    assert_eq!(said(&["up", "-d", "--wait"]), 1);
    assert_eq!(said(&["up", "-d"]), 1, "up already");
    assert_eq!(said(&["up", "--exit-code-from", "b"]), 1, "attached");
    assert_eq!(said(&["ps"]), 1);
}
