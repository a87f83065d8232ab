//! This project on this machine: whether it is up, by whom, what an earlier devsup left, and where its files go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::finding::Finding;
use crate::control::api::VERSION;
use crate::daemon::foresee::Leftover;

pub(super) struct Daemon {
    pub(super) pid: u32,
    pub(super) version: String,
    pub(super) sandbox: bool,
    /// Of a system project: whose it is.
    pub(super) shared_by: Option<String>,
}

#[derive(Default)]
pub(super) struct Facts {
    pub(super) daemon: Option<Daemon>,
    /// One that keeps its state elsewhere.
    pub(super) hidden: Option<u32>,
    pub(super) leftovers: Vec<Leftover>,
    /// Where state and logs go, or why they cannot.
    pub(super) state: Option<Result<PathBuf, String>>,
    /// XDG_STATE_HOME says so.
    pub(super) by_variable: bool,
    /// Bytes free where the logs go, and how many the logs may take.
    pub(super) free: Option<u64>,
    pub(super) wanted: u64,
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![daemon(facts)];
    all.extend(hidden(facts));
    all.extend(leftovers(&facts.leftovers));
    all.extend(state(facts));
    all.extend(disk(facts));
    all
}

fn daemon(facts: &Facts) -> Finding {
    let Some(daemon) = &facts.daemon else { return Finding::ok("daemon", "the project is not up") };
    let sandbox = if daemon.sandbox { ", in the sandbox" } else { "" };
    let whose = daemon.shared_by.as_ref().map_or_else(String::new, |whose| format!(" as a system project of {whose}"));
    let sentence = format!("the project is up{whose} (pid {}){sandbox}", daemon.pid);
    if daemon.version != VERSION {
        return Finding::warn("daemon", format!("{sentence}, kept by devsup {}; this is {VERSION}", daemon.version))
            .fix("devsup down && devsup up -d");
    }
    if daemon.shared_by.is_some() {
        return Finding::ok("daemon", format!("{sentence}; what follows is of your own user and environment"));
    }
    Finding::ok("daemon", sentence)
}

fn hidden(facts: &Facts) -> Option<Finding> {
    let pid = facts.hidden?;
    Some(
        Finding::error("daemon", format!("another devsup (pid {pid}) runs this project"))
            .detail("its state folder was removed under it, or XDG_STATE_HOME is another one there")
            .fix(format!("kill {pid}    # it ends its services in order")),
    )
}

fn leftovers(left: &[Leftover]) -> Vec<Finding> {
    let mut runs: BTreeMap<(&str, u32, bool), Vec<String>> = BTreeMap::new();
    for one in left {
        let shown = format!("{} (pid {})", one.comm, one.pid);
        runs.entry((&one.service, one.run, one.kept)).or_default().push(shown);
    }
    let finding = |((service, run, kept), who): ((&str, u32, bool), Vec<String>)| {
        let who = who.join(", ");
        if kept {
            let sentence = format!("run {run} of an earlier devsup is being ended: {who}");
            return Finding::ok("leftovers", sentence).of(service);
        }
        Finding::warn("leftovers", format!("run {run} of an earlier devsup left {who}"))
            .detail("both it and its keeper were killed")
            .fix("devsup up    # ends them first")
            .of(service)
    };
    runs.into_iter().map(finding).collect()
}

fn state(facts: &Facts) -> Option<Finding> {
    Some(match facts.state.as_ref()? {
        Ok(path) => {
            let by = if facts.by_variable { ", by XDG_STATE_HOME" } else { "" };
            Finding::ok("state", format!("state and logs go to `{}`{by}", path.display()))
        }
        Err(why) => Finding::error("state", why).fix("chmod 700 it, chown it to yourself, or set XDG_STATE_HOME"),
    })
}

fn disk(facts: &Facts) -> Option<Finding> {
    const TIGHT: u64 = 64 << 20;
    let free = facts.free?;
    Some(if free < TIGHT {
        Finding::warn("disk", format!("{} are free where the logs go", size(free)))
            .detail("services go on when the disk is full, and what they write then is lost, and counted")
            .fix("make room, or set XDG_STATE_HOME to another disk")
    } else if free < facts.wanted {
        Finding::warn(
            "disk",
            format!("{} are free where the logs go, which may take {}", size(free), size(facts.wanted)),
        )
        .fix(format!("[logs]\nmax_total = \"{}MiB\"", (free / 2) >> 20))
    } else {
        Finding::ok("disk", format!("{} are free where the logs go", size(free)))
    })
}

fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    if bytes >= GIB {
        format!("{}.{} GiB", bytes / GIB, bytes % GIB * 10 / GIB)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;

    fn up(version: &str) -> Facts {
        let daemon = Daemon { pid: 7, version: version.into(), sandbox: true, shared_by: None };
        Facts { daemon: Some(daemon), ..Facts::default() }
    }

    #[test]
    fn a_daemon_of_another_version_is_said_with_how_to_renew_it() {
        let old = daemon(&up("0.0.1"));
        assert_eq!((old.verdict, old.fix.as_deref()), (Verdict::Warn, Some("devsup down && devsup up -d")));
        assert_eq!(daemon(&up(VERSION)).sentence, "the project is up (pid 7), in the sandbox");
        assert_eq!(daemon(&Facts::default()).sentence, "the project is not up");
    }

    #[test]
    fn leftovers_are_said_a_run_at_a_time_and_kept_ones_are_no_trouble() {
        let left = |pid, kept| Leftover { service: "a".into(), run: 3, pid, comm: "node".into(), kept };
        let all = leftovers(&[left(11, false), left(12, false), left(13, true)]);
        let said: Vec<(Verdict, &str)> = all.iter().map(|found| (found.verdict, found.sentence.as_str())).collect();
        assert_eq!(
            said,
            [
                (Verdict::Warn, "run 3 of an earlier devsup left node (pid 11), node (pid 12)"),
                (Verdict::Ok, "run 3 of an earlier devsup is being ended: node (pid 13)"),
            ]
        );
    }

    #[test]
    fn a_tight_disk_is_a_warning_and_never_an_error() {
        let free = |free| disk(&Facts { free: Some(free), wanted: 2 << 30, ..Facts::default() }).expect("said");
        assert_eq!(free(1 << 20).verdict, Verdict::Warn);
        assert_eq!(free(1 << 30).sentence, "1.0 GiB are free where the logs go, which may take 2.0 GiB");
        assert_eq!(free(5 << 30).verdict, Verdict::Ok);
    }
}
