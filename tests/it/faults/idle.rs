//! Invariant 11: idle costs nothing.

use std::fs;
use std::time::Duration;

use devsup::sys::tree;

use super::daemon;
use crate::project::Project;

/// How often a process gave up the processor by itself: each wake-up is one.
fn switches(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    tasks.map(of).sum()
}

#[test]
fn ten_idle_services_wake_nobody() {
    const LOOK: Duration = Duration::from_secs(5);
    let services: Vec<String> = (0..10).map(|n| format!("[services.s{n}]\ncommand = [\"sleep\", \"600\"]\n")).collect();
    let project = Project::new(&format!("name = \"idle\"\n{}", services.concat()));
    project.devsup(&["up", "-d", "--wait"]).ok();
    let all = project.until(|all| all.len() == 10 && all.iter().all(|one| one.ready), "all are ready");
    let mut pids = vec![daemon(&project)];
    pids.extend(all.iter().map(|one| tree::look(one.pid.expect("it runs")).expect("it lives").parent));
    let mut found = Vec::new();
    // A machine full of other work may wake somebody once for its own reasons; a timer of ours wakes every time.
    for _ in 0..6 {
        let before: Vec<u64> = pids.iter().map(|&pid| switches(pid)).collect();
        std::thread::sleep(LOOK);
        let woken = pids.iter().zip(before).map(|(&pid, before)| (pid, switches(pid) - before));
        found = woken.filter(|(_, count)| *count > 0).collect();
        if found.is_empty() {
            return;
        }
    }
    panic!("of the daemon {} and its keepers these woke up while nothing happened: {found:?}", pids[0]);
}
