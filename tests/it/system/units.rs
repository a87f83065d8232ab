//! The units: systemd itself says whether they are well-formed.

use std::fs;

use crate::means::skipped;
use crate::place::sources;
use crate::project::{Foreground, Output, Project, binary};

/// Its exit code lies: what counts is that it prints nothing. `None`: it is not on this machine.
fn verify(project: &Project, name: &str, text: &str, kind: &str) -> Option<Output> {
    project.write(name, text);
    let analyze = ["/usr/bin/systemd-analyze", "/bin/systemd-analyze"].map(std::path::Path::new);
    let Some(analyze) = analyze.into_iter().find(|path| path.exists()) else {
        skipped("systemd-analyze is not here");
        return None;
    };
    let path = project.path(name).display().to_string();
    let mut command = project.command(analyze, &["verify", kind, "--man=no", &path]);
    command.env("XDG_RUNTIME_DIR", project.path("home"));
    Some(Foreground::start(command).finish())
}

#[track_caller]
fn is_silent(project: &Project, name: &str, text: &str, kind: &str) {
    if let Some(output) = verify(project, name, text, kind) {
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{text}");
    }
}

const MANIFEST: &str = r#"
name = "shop"
[services.web]
command = "sleep 600"
stop_timeout = "20s"
depends_on = ["db"]
[services.db]
command = "sleep 600"
stop_timeout = "40s"
[services.alone]
command = "sleep 600"
stop_timeout = "50s"
"#;

#[test]
fn the_units_that_come_with_it_are_well_formed() {
    let project = Project::new(MANIFEST);
    for (file, kind) in [("devsup@.service", "--system"), ("user/devsup@.service", "--user")] {
        let text = fs::read_to_string(sources().join("contrib/systemd").join(file)).expect("a unit");
        // The program must exist for this.
        let text = text.replace("/usr/local/bin/devsup", &binary().display().to_string());
        is_silent(&project, "devsup@shop.service", &text, kind);
    }
}

#[test]
fn a_fault_in_a_unit_would_be_printed() {
    let project = Project::new(MANIFEST);
    let bad = "[Service]\nType=notify\nExecStart=/nonexistent/devsup up\nKillMod=process\n";
    if let Some(output) = verify(&project, "devsup-bad.service", bad, "--system") {
        assert!(!output.stderr.is_empty(), "{output:#?}");
    }
}

#[test]
fn the_unit_of_a_manifest_has_its_own_timeouts() {
    let project = Project::new(MANIFEST);
    let system = project.devsup(&["unit"]).ok().stdout;
    let user = project.devsup(&["unit", "--user"]).ok().stdout;
    is_silent(&project, "devsup-shop.service", &system, "--system");
    is_silent(&project, "devsup-shop.service", &user, "--user");
    for text in [&system, &user] {
        // web, then db: 20 + 40, and 5 more for each; 10 for devsup itself.
        assert!(text.contains("\nTimeoutStopSec=80\n"), "{text}");
        assert!(text.contains("__await-empty --within 65"), "the longest alone, and 5 and 10 more: {text}");
    }
    assert!(system.contains("\nRuntimeDirectory=devsup/shop\n") && system.contains(" up --system\n"), "{system}");
    assert!(user.contains("loginctl enable-linger") && user.contains(" up --unit\n"), "{user}");
}

/// What the design asks of every unit.
#[test]
fn every_unit_leaves_the_services_to_devsup() {
    let project = Project::new(MANIFEST);
    let mut units = vec![project.devsup(&["unit"]).ok().stdout, project.devsup(&["unit", "--user"]).ok().stdout];
    units.extend(
        ["devsup@.service", "user/devsup@.service"]
            .map(|file| fs::read_to_string(sources().join("contrib/systemd").join(file)).expect("a unit")),
    );
    let lines = [
        "Type=notify",
        "NotifyAccess=main",
        "KillMode=process",
        "Delegate=yes",
        "OOMPolicy=continue",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
    ];
    for unit in units {
        for line in lines {
            assert!(unit.lines().any(|found| found == line), "`{line}` is missing:\n{unit}");
        }
        for begin in ["ExecStart=", "ExecReload=", "ExecStopPost=", "TimeoutStopSec="] {
            assert!(unit.lines().any(|found| found.starts_with(begin)), "`{begin}` is missing:\n{unit}");
        }
    }
}
