//! What a process was made before it became the service, as it sees it itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use devsup::keeper::protocol::Identity;
use devsup::manifest::{Resource, Rlimit};
use devsup::sys::{identity, limits};

use super::kept::{Setup, capable, isolates_freely};
use super::{LONG, stop};
use crate::means::root_for;

/// An ordinary user whom nobody is.
const SOMEBODY: u32 = 65534;
const GROUPS: [u32; 2] = [4_000_002, 65534];

fn both(limit: u64) -> Rlimit {
    Rlimit { soft: Some(limit), hard: Some(limit) }
}

fn somebody() -> Setup {
    Setup::of(Identity { uid: SOMEBODY, gid: GROUPS[0], groups: GROUPS.to_vec() })
}

fn line<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("`{name}` in {text}")).split_whitespace().collect()
}

#[test]
fn umask_and_niceness_are_those_that_were_promised() {
    let mut setup = Setup::new();
    let nice = limits::niceness().expect("our own") + 3;
    setup.spec.birth.umask = 0o027;
    setup.spec.birth.nice = Some(nice.min(19));
    setup.start(&["to", "out", "show", "/proc/self/stat", "touch", "made", "exit", "0"]).until_gone();
    let stat = setup.read("out");
    let after = stat.rsplit(')').next().expect("a name in parentheses");
    assert_eq!(after.split_whitespace().nth(16), Some(nice.min(19).to_string().as_str()), "{stat}");
    assert_eq!(fs::metadata(setup.path("made")).expect("made").mode() & 0o777, 0o640);
}

#[test]
fn limits_are_seen_from_inside() {
    let mut setup = Setup::new();
    setup.spec.birth.limits = [
        (Resource::Nofile, Rlimit { soft: Some(40), hard: Some(50) }),
        (Resource::Core, both(0)),
        (Resource::Stack, both(4 << 20)),
        (Resource::Fsize, both(1 << 20)),
        (Resource::Cpu, both(1000)),
        (Resource::As, both(1 << 32)),
        (Resource::Data, both(1 << 31)),
        (Resource::Memlock, both(4096)),
    ]
    .into();
    setup.start(&["to", "out", "show", "/proc/self/limits", "exit", "0"]).until_gone();
    let seen = setup.read("out");
    for (name, soft, hard) in [
        ("Max open files", "40", "50"),
        ("Max core file size", "0", "0"),
        ("Max stack size", "4194304", "4194304"),
        ("Max file size", "1048576", "1048576"),
        ("Max cpu time", "1000", "1000"),
        ("Max address space", "4294967296", "4294967296"),
        ("Max data size", "2147483648", "2147483648"),
        ("Max locked memory", "4096", "4096"),
    ] {
        assert_eq!(line(&seen, name)[..2], [soft, hard], "{name}");
    }
}

#[test]
fn soft_limits_are_given_back_unless_the_manifest_has_others() {
    let mut setup = Setup::new();
    setup.spec.birth.soft = [(Resource::Nofile, Some(40)), (Resource::Stack, Some(2 << 20))].into();
    setup.spec.birth.limits = [(Resource::Stack, both(4 << 20))].into();
    setup.start(&["to", "out", "show", "/proc/self/limits", "exit", "0"]).until_gone();
    let seen = setup.read("out");
    let hard = limits::hard(limits::Resource::Nofile).map_or_else(|| "unlimited".to_owned(), |hard| hard.to_string());
    assert_eq!(line(&seen, "Max open files")[..2], ["40", hard.as_str()]);
    assert_eq!(line(&seen, "Max stack size")[..2], ["4194304", "4194304"]);
    // There is less now than there was: that is no reason not to start.
    setup.spec.birth.soft = [(Resource::Nofile, None)].into();
    setup.start(&["to", "again", "show", "/proc/self/limits", "exit", "0"]).until_gone();
    assert_eq!(line(&setup.read("again"), "Max open files")[..2], [hard.as_str(); 2]);
}

#[test]
fn very_low_limits_are_the_services_affair_and_not_the_shims() {
    let mut setup = Setup::new();
    setup.spec.birth.limits = [(Resource::Nofile, both(3)), (Resource::Core, both(0))].into();
    setup.start(&["touch", "made", "exit", "0"]).until_gone();
    // It has 0, 1 and 2, and can open nothing; but it ran.
    assert!(!setup.has("made"));
    let setup = Setup::new();
    assert_eq!(setup.start(&["exit", "7"]).exited(), devsup::supervisor::Exit::Code(7));
}

fn failure(setup: &Setup) -> String {
    let mut kept = setup.start(&["exit", "0"]);
    let what = kept.start_failure();
    kept.until_gone();
    what
}

#[test]
fn a_limit_that_cannot_be_set_is_named_with_what_there_is() {
    let mut setup = Setup::new();
    setup.spec.birth.limits = [(Resource::Nofile, Rlimit { soft: Some(9), hard: Some(8) })].into();
    assert_eq!(failure(&setup), "`limits.nofile` = 9, at most 8: the soft limit is above the hard one; lower it");
    setup.spec.birth.limits = [(Resource::Nofile, Rlimit { soft: None, hard: None })].into();
    let most = limits::most_open_files().expect("the kernel says so");
    assert_eq!(
        failure(&setup),
        format!("`limits.nofile` = unlimited: this kernel allows {most} at most (`sysctl fs.nr_open`); lower it")
    );
}

#[test]
fn who_may_not_raise_a_limit_or_be_favoured_is_told_what_there_is() {
    let mut setup = Setup::new();
    setup.spec.birth.nice = Some(-5);
    let sys_nice = 23;
    if capable(sys_nice) {
        setup.start(&["to", "out", "show", "/proc/self/stat", "exit", "0"]).until_gone();
        assert!(setup.read("out").contains(" -5 "), "{}", setup.read("out"));
        return;
    }
    let who = format!("uid {}", identity::own().0);
    let now = limits::niceness().expect("our own");
    assert_eq!(
        failure(&setup),
        format!("`nice = -5`: {who} may not go below {now}, where devsup is; raise it, or run devsup as root")
    );
    setup.spec.birth.nice = None;
    // None has a bound here: then nothing can be raised.
    let bounds = [(Resource::Nproc, limits::Resource::Nproc), (Resource::Memlock, limits::Resource::Memlock)];
    let bounded = |(ours, kind): (Resource, limits::Resource)| Some((ours, limits::hard(kind)?));
    let Some((resource, hard)) = bounds.into_iter().find_map(bounded) else { return };
    setup.spec.birth.limits = [(resource, both(hard + 1))].into();
    let said = failure(&setup);
    let about = format!("the hard limit is {hard}, and {who} may not raise it; lower it");
    let begins = format!("`limits.{}` = {}: {about}", resource.word(), hard + 1);
    assert!(said.starts_with(&begins), "{said}");
}

#[test]
fn a_service_becomes_its_user_with_its_groups_and_nothing_of_roots() {
    if !root_for("becoming another user") {
        return;
    }
    let mut setup = somebody();
    setup.spec.birth.isolate = true;
    setup.start(&["to", "out", "show", "/proc/self/status", "touch", "made", "exit", "0"]).until_gone();
    let status = setup.read("out");
    let (uid, gid) = (SOMEBODY.to_string(), GROUPS[0].to_string());
    assert_eq!(line(&status, "Uid:"), [uid.as_str(); 4]);
    assert_eq!(line(&status, "Gid:"), [gid.as_str(); 4]);
    assert_eq!(line(&status, "Groups:"), ["65534", "4000002"], "sorted by the kernel, and nobody else's");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(&status, set), ["0000000000000000"], "{set}");
    }
    if isolates_freely() {
        assert_eq!(line(&status, "NoNewPrivs:"), ["0"], "root's devsup can do without, so setuid programs work");
    }
    let made = fs::metadata(setup.path("made")).expect("made");
    assert_eq!((made.uid(), made.gid()), (SOMEBODY, GROUPS[0]));
}

#[test]
fn another_user_may_open_its_own_output_and_dies_with_its_keeper() {
    if !root_for("becoming another user") {
        return;
    }
    let setup = somebody();
    let mut kept = setup.start_argv(&[
        "/bin/sh",
        "-c",
        "echo one > /dev/stdout && echo two > /dev/stderr && touch ready; sleep 60",
    ]);
    kept.started();
    setup.wait_for("ready");
    kept.tree_has(2);
    kept.hang_up();
    kept.nothing_is_left();
}

#[test]
fn a_killed_keeper_takes_a_leader_of_another_user_with_it() {
    if !root_for("becoming another user") {
        return;
    }
    let setup = somebody();
    let mut kept = setup.start(&["touch", "ready", "sleep", "600"]);
    let pid = kept.started();
    setup.wait_for("ready");
    devsup::sys::signal::send(kept.keeper(), devsup::sys::signal::KILL).expect("our own");
    super::kept::wait_until("the leader is gone", || {
        devsup::sys::tree::look(pid).is_none_or(|process| process.state == 'Z')
    });
    kept.reaped();
}

#[test]
fn the_folder_is_entered_as_the_user() {
    if !root_for("becoming another user") {
        return;
    }
    let mut setup = somebody();
    let closed = setup.path("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("our own");
    setup.spec.working_dir.clone_from(&closed);
    let said = failure(&setup);
    assert_eq!(
        said,
        format!("working_dir `{}`: permission denied for uid {SOMEBODY}; it needs `x` there", closed.display())
    );
}

#[test]
fn who_cannot_become_another_user_says_so() {
    let mut setup = Setup::new();
    if identity::own().0 == 0 {
        // To the kernel this number means that nothing is to change.
        setup.spec.birth.identity = Some(Identity { uid: u32::MAX, gid: 1, groups: vec![1] });
        assert!(failure(&setup).starts_with("it cannot become uid 4294967295, gid 1: "), "{}", failure(&setup));
        return;
    }
    setup.spec.birth.identity = Some(Identity { uid: 1, gid: 1, groups: vec![1] });
    let said = failure(&setup);
    assert!(said.starts_with("it cannot become uid 1, gid 1: ") && said.contains("CAP_SETUID"), "{said}");
}

#[test]
fn too_many_processes_of_a_user_are_named() {
    if !root_for("becoming a user of whom nobody else makes processes") {
        return;
    }
    let alone = 4_000_003;
    let mut setup = Setup::of(Identity { uid: alone, gid: alone, groups: vec![alone] });
    let mut one = setup.start(&["sleep", "600"]);
    one.started();
    setup.spec.birth.limits = [(Resource::Nproc, both(0))].into();
    let said = failure(&setup);
    let words = format!("uid {alone} runs as many processes as its limit (`limits.nproc`, `ulimit -u`) allows");
    assert!(said.contains(&words), "{said}");
    one.order(&stop(LONG));
    one.until_gone();
}
