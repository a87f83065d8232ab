//! What this machine can do for services: walls between them, trees, limits.

use super::finding::Finding;
use crate::daemon::foresee::Outlook;
use crate::sys::isolation::{Lack, Means};

pub(super) struct Facts {
    pub(super) walls: Result<Means, Lack>,
    /// Services with `isolate = false`.
    pub(super) open: Vec<String>,
    /// Services that are root, as devsup is.
    pub(super) as_root: Vec<String>,
    /// Of services of one user there are several.
    pub(super) neighbours: bool,
    pub(super) tree: Outlook,
    /// `limits.memory` and `limits.pids` that cannot be kept: (service, sentence).
    pub(super) refused: Vec<(String, String)>,
    pub(super) services: u64,
    /// The hard limit of open files.
    pub(super) files: Option<u64>,
    /// Whether one more instance of inotify can be had, or what the kernel says.
    pub(super) inotify: Result<(), String>,
    pub(super) watches: Option<u64>,
    /// Some service has `watch`.
    pub(super) watching: bool,
    /// Services with `limits.core`.
    pub(super) core: Vec<String>,
}

/// Descriptors of the daemon for each run (its keeper's socket and pidfd, lock, cgroup, watches), and its own.
const FILES_A_RUN: u64 = 16;
const FILES: u64 = 128;
/// Below this many watches a source tree of middling size is too much.
const FEW_WATCHES: u64 = 16_384;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![isolation(facts)];
    all.extend(root(facts));
    all.push(tree(&facts.tree));
    all.extend(facts.refused.iter().map(|(service, why)| {
        Finding::error("limits", why)
            .of(service)
            .fix("take the limit out, or start devsup by a systemd unit with `Delegate=memory pids`: devsup unit")
    }));
    all.push(files(facts));
    all.extend(inotify(facts));
    all.push(core(facts));
    all
}

fn isolation(facts: &Facts) -> Finding {
    let open = match facts.open.as_slice() {
        [] => String::new(),
        open => format!("; not for {} (`isolate = false`), which see all others of their user", open.join(", ")),
    };
    let mend = "give services a user of their own (`user`), or a kernel with Landlock: Linux 5.19, for signals 6.12";
    match &facts.walls {
        Ok(Means::Signals) => Finding::ok(
            "isolation",
            format!("services are kept from each other's memory, environment and signals by Landlock{open}"),
        ),
        Ok(Means::Files) => Finding::ok(
            "isolation",
            format!("services are kept from each other's memory and environment by Landlock, not from signals{open}"),
        ),
        Err(lack) if facts.neighbours => {
            Finding::warn("isolation", format!("none: {lack}; services of one user can read each other's credentials"))
                .fix(mend)
        }
        Err(lack) => Finding::ok("isolation", format!("none: {lack}; no two services have one user")),
    }
}

fn root(facts: &Facts) -> Option<Finding> {
    let all = facts.as_root.as_slice();
    let (run, name) = (if all.len() == 1 { "runs" } else { "run" }, all.first()?);
    Some(
        Finding::warn("isolation", format!("{} {run} as root, as devsup does", all.join(", ")))
            .detail("root reads the whole machine, walls or not, and no firewall rule is about it alone")
            .fix(format!("[services.{name}]\nuser = \"{name}\"    # sudo useradd --system {name}")),
    )
}

fn tree(tree: &Outlook) -> Finding {
    match tree {
        Outlook::Cgroup(above) => Finding::ok("tree", format!("a cgroup for each run, in `{}`", above.display())),
        Outlook::Scope => {
            Finding::ok("tree", "a cgroup for each run, in a scope that the user's service manager gives")
        }
        Outlook::Session(why) => {
            Finding::ok("tree", format!("session: a tree is what descends from its keeper ({why})"))
        }
        Outlook::NoScope(why) => {
            Finding::warn("tree", format!("DEVSUP_TREE=scope cannot be had: {why}")).fix("unset DEVSUP_TREE")
        }
        Outlook::Wrong(why) => Finding::error("tree", why).fix("unset DEVSUP_TREE"),
    }
}

fn files(facts: &Facts) -> Finding {
    let need = FILES + FILES_A_RUN * facts.services;
    match facts.files {
        Some(most) if most < need => {
            Finding::warn("files", format!("{most} open files are allowed, and devsup may need {need}"))
                .fix("ulimit -n 65536    # or LimitNOFILE= of the unit, `nofile` of limits.conf")
        }
        Some(most) => Finding::ok("files", format!("{most} open files are allowed")),
        None => Finding::ok("files", "any number of open files is allowed"),
    }
}

fn inotify(facts: &Facts) -> Option<Finding> {
    if let Err(why) = &facts.inotify {
        return Some(
            Finding::warn("inotify", format!("no instance of inotify can be had: {why}"))
                .detail("`logs -f` and `watch` need one; other programs of this user hold them all")
                .fix("sudo sysctl fs.inotify.max_user_instances=1024"),
        );
    }
    let watches = facts.watches.filter(|_| facts.watching)?;
    Some(if watches < FEW_WATCHES {
        Finding::warn("inotify", format!("{watches} folders may be watched by all programs of this user"))
            .detail("`watch` needs one for each folder, and falls short of changes beyond that")
            .fix("sudo sysctl fs.inotify.max_user_watches=524288")
    } else {
        Finding::ok("inotify", format!("{watches} folders may be watched"))
    })
}

fn core(facts: &Facts) -> Finding {
    match facts.core.as_slice() {
        [] => Finding::ok("core", "neither devsup nor a service writes core dumps, which would hold credentials"),
        some => Finding::ok("core", format!("core dumps of {} (`limits.core`) may hold credentials", some.join(", "))),
    }
}
