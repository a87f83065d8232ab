//! The state folder is taken away under a project that is up: its services do not notice.

use nix::sys::signal::Signal;

use super::{daemon, lives, send, until_gone, until_nothing_is_left};
use crate::means::{root_for, skipped};
use crate::project::{Project, wait_until};

/// A keeper that finds its file removed begins another one, perhaps while the folder is being removed.
pub(super) fn remove_all(folder: &std::path::Path) {
    wait_until("it is removed", || std::fs::remove_dir_all(folder).is_ok() && !folder.exists());
}

#[test]
fn a_service_outlives_its_logs_folder() {
    let project = Project::new(
        "name = \"gone\"\n[services.a]\n\
         command = 'while :; do echo tick; echo tick >> ticks; sleep 0.05; done'\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    let pid = project.service("a").pid.expect("it runs");
    let daemon = daemon(&project);
    let ticks = || std::fs::read(project.path("ticks")).map(|ticks| ticks.len() / 5).unwrap_or_default();
    wait_until("it writes", || ticks() > 5);
    remove_all(&project.path("state"));
    let then = ticks();
    wait_until("it writes on", || ticks() > then + 40);
    assert!(lives(pid) && lives(daemon));
    let second = project.devsup(&["up", "-d"]).ends(1);
    assert!(second.stderr.contains(&format!("another devsup (pid {daemon}) runs this project")), "{second:#?}");
    // Nobody can reach it by its socket any more, but a signal still ends it in order.
    send(daemon, Signal::SIGTERM);
    until_gone(&[daemon, pid]);
    until_nothing_is_left(&project);
    project.devsup(&["up", "-d", "--wait"]).ok();
    assert!(project.service("a").ready || project.service("a").pid.is_some());
}

/// In a mount namespace of its own the state folder is a file system of 4 MiB, which is filled up and freed again.
const FULL: &str = r#"
set -e
until_so() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 600 ] || { echo "waited too long: $1"; exit 9; }; sleep 0.1; done; }
mkdir -p "$XDG_STATE_HOME"
mount -t tmpfs -o size=4m none "$XDG_STATE_HOME"
"$DEVSUP_BINARY" up -d --wait
until_so '"$DEVSUP_BINARY" logs a | grep -q "tick 3$"'
dd if=/dev/zero of="$XDG_STATE_HOME/fill" bs=4k 2>/dev/null || true
until_so '"$DEVSUP_BINARY" ps a --format json | grep -q "\"log_dropped\":[1-9]"'
before=$(wc -l < ticks)
until_so '[ "$(wc -l < ticks)" -gt $((before + 20)) ]'
"$DEVSUP_BINARY" ps a | grep 'lost lines'
rm "$XDG_STATE_HOME/fill"
until_so '"$DEVSUP_BINARY" logs a | grep -q "of log lost: disk full"'
after=$(wc -l < ticks)
until_so "\"\$DEVSUP_BINARY\" logs a | grep -q 'tick $((after + 3))\$'"
echo "restarts $("$DEVSUP_BINARY" ps a --format json | grep -c '"restarts":0')"
"$DEVSUP_BINARY" down
"$DEVSUP_BINARY" logs a --no-log-prefix | grep -c 'of log lost'
"#;

#[test]
fn a_disk_that_is_really_full_costs_lines_that_are_counted_and_nothing_else() {
    if !root_for("mounting a small disk") {
        return;
    }
    let mut project = Project::new(
        "name = \"full\"\n[services.a]\n\
         command = 'i=0; while :; do i=$((i+1)); echo \"tick $i\"; echo tick >> ticks; head -c 3000 /dev/zero | tr \"\\0\" x; echo; sleep 0.02; done'\n",
    );
    project.env.insert("DEVSUP_BINARY".into(), crate::project::binary().display().to_string());
    let said = project.run(std::path::Path::new("unshare"), &["-m", "sh", "-c", FULL]);
    if said.stderr.contains("unshare") {
        skipped(&said.stderr);
        return;
    }
    let said = said.ok();
    assert!(said.stdout.contains("lost lines") && said.stdout.contains("restarts 1"), "{said:#?}");
    assert!(said.stdout.trim_end().lines().last().is_some_and(|count| count != "0"), "{said:#?}");
}

/// A log folder that cannot be written to, then can: in a mount namespace of its own.
const READ_ONLY: &str = r#"
set -e
until_so() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 600 ] || { echo "waited too long: $1"; exit 9; }; sleep 0.1; done; }
"$DEVSUP_BINARY" up -d --wait b
logs=$("$DEVSUP_BINARY" logs --path)/a
mkdir -m 700 "$logs"
mount --bind "$logs" "$logs"
mount -o remount,bind,ro "$logs"
"$DEVSUP_BINARY" start a
until_so '"$DEVSUP_BINARY" ps a --format json | grep -q "\"log_dropped\":[1-9]"'
"$DEVSUP_BINARY" ps a | grep 'lost lines'
before=$(wc -l < ticks)
until_so '[ "$(wc -l < ticks)" -gt $((before + 20)) ]'
mount -o remount,bind,rw "$logs"
until_so '"$DEVSUP_BINARY" logs a | grep -q "of log lost: read-only file system"'
after=$(wc -l < ticks)
until_so "\"\$DEVSUP_BINARY\" logs a | grep -q 'tick $((after + 3))\$'"
echo "restarts $("$DEVSUP_BINARY" ps a --format json | grep -c '"restarts":0')"
"$DEVSUP_BINARY" down
umount "$logs"
"#;

#[test]
fn a_log_folder_that_is_read_only_costs_lines_that_are_counted_and_nothing_else() {
    if !root_for("mounting a folder read-only") {
        return;
    }
    let mut project = Project::new(
        "name = \"fixed\"\n[services.b]\ncommand = 'echo b; exec sleep 600'\n[services.a]\nautostart = false\n\
         command = 'i=0; while :; do i=$((i+1)); echo \"tick $i\"; echo tick >> ticks; sleep 0.02; done'\n",
    );
    project.env.insert("DEVSUP_BINARY".into(), crate::project::binary().display().to_string());
    let said = project.run(std::path::Path::new("unshare"), &["-m", "sh", "-c", READ_ONLY]);
    if said.stderr.contains("unshare") {
        skipped(&said.stderr);
        return;
    }
    let said = said.ok();
    assert!(said.stdout.contains("lost lines") && said.stdout.contains("restarts 1"), "{said:#?}");
}
