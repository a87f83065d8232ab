//! How runs start: what the process is given, and why there is none.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use devsup::keeper::protocol::{Hello, Report, VERSION};
use devsup::supervisor::Exit;
use devsup::sys::packet::{self, Received};
use devsup::sys::process::{self, Stdio3, Waited};
use devsup::sys::{memfd, tree};

use super::LONG;
use super::kept::{Setup, devsup, misbehave, wait_until};
use super::stop;

#[test]
fn the_environment_is_exactly_the_specified_one() {
    let mut setup = Setup::new();
    setup.spec.env.push(("SECRET".into(), "s3cret".into()));
    let mut kept = setup.start(&["to", "out", "env", "cwd", "exit", "0"]);
    kept.until_gone();
    assert_eq!(setup.read("out"), format!("PATH\nDEVSUP_RUN\nSECRET\n{}\n", setup.folder.path().display()));
}

#[test]
fn no_descriptor_leaks_into_the_service() {
    let setup = Setup::new();
    let mut kept = setup.start(&["to", "out", "fds", "exit", "0"]);
    kept.until_gone();
    let out = setup.read("out");
    let fds: Vec<&str> = out.lines().collect();
    assert_eq!(fds.len(), 3, "{out}");
    assert_eq!(fds[0], "fd 0 /dev/null");
    assert!(fds[1].starts_with("fd 1 pipe:") && fds[2].starts_with("fd 2 pipe:"), "{out}");
}

#[test]
fn signals_are_as_if_freshly_born() {
    let setup = Setup::new();
    let mut kept = setup.start_argv(&["/bin/sh", "-c", "cat /proc/self/status > out"]);
    kept.until_gone();
    for line in setup.read("out").lines().filter(|line| line.starts_with("Sig") && !line.starts_with("SigQ")) {
        let (what, mask) = line.split_once(':').unwrap();
        // 32 and 33 are libc's own: nobody can set them through it, and some who start us have them ignored.
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap() & !(3 << 31);
        assert_eq!(mask, 0, "{what}");
    }
    assert!(setup.read("out").contains("SigIgn:"));
}

#[test]
fn the_service_leads_a_session_of_its_own() {
    let setup = Setup::new();
    let mut kept = setup.start(&["to", "out", "ids", "touch", "ready", "sleep", "60"]);
    let pid = kept.started();
    setup.wait_for("ready");
    assert_eq!(setup.read("out"), format!("ids {pid} {} {pid} {pid}\n", kept.keeper()));
    let keeper = tree::look(kept.keeper()).unwrap();
    assert_eq!((keeper.comm.as_str(), keeper.session), ("keep:a#4", keeper.pid));
}

#[test]
fn no_secret_is_in_the_keepers_argv_or_environ() {
    let mut setup = Setup::new();
    setup.spec.env.push(("SECRET".into(), "s3cret-of-a-test".into()));
    let mut kept = setup.start(&["touch", "ready", "sleep", "60"]);
    setup.wait_for("ready");
    let keeper = kept.keeper();
    assert_eq!(fs::read(format!("/proc/{keeper}/cmdline")).unwrap(), b"devsup\0__keep\0a#4\0");
    // Root may look, nobody else can: it is not dumpable.
    match fs::read(format!("/proc/{keeper}/environ")) {
        Ok(environ) => assert!(!String::from_utf8_lossy(&environ).contains("s3cret")),
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::PermissionDenied),
    }
    kept.order(&stop(LONG));
    kept.until_gone();
}

#[test]
fn the_lock_is_held_for_as_long_as_the_keeper_lives() {
    let setup = Setup::new();
    let lock = fs::File::open(setup.path("lock")).unwrap();
    let mut kept = setup.start(&["touch", "ready", "sleep", "60"]);
    setup.wait_for("ready");
    // The test gave an unlocked file; the keeper's is the same open file, so only its presence can be seen.
    let held = fs::read_dir(format!("/proc/{}/fd", kept.keeper())).ok();
    let is_lock = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to == setup.path("lock"));
    assert!(held.is_none_or(|fds| fds.flatten().any(is_lock)));
    kept.order(&stop(LONG));
    kept.until_gone();
    assert_eq!(kept.reaped(), Exit::Code(0));
    lock.try_lock().unwrap();
}

fn failure(argv: &[&str], prepare: impl Fn(&Path)) -> String {
    failure_in(&Setup::new(), argv, prepare)
}

fn failure_in(setup: &Setup, argv: &[&str], prepare: impl Fn(&Path)) -> String {
    prepare(setup.folder.path());
    let mut kept = setup.start_argv(argv);
    let what = kept.start_failure();
    kept.until_gone();
    assert_eq!((kept.exit(), kept.reaped()), (None, Exit::Code(0)));
    kept.nothing_is_left();
    what.replace(&setup.folder.path().display().to_string(), "FOLDER")
}

fn file(path: &Path, text: &[u8], mode: u32) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
}

#[test]
fn a_file_that_is_not_there() {
    assert_eq!(
        failure(&["./x"], |_| {}),
        "command `./x`: no such file (looked in `FOLDER`); `command` is relative to `working_dir`"
    );
    assert_eq!(failure(&["/no/such/x"], |_| {}), "command `/no/such/x`: no such file; mend `command` in the manifest");
    let link = |folder: &Path| std::os::unix::fs::symlink("nowhere", folder.join("x")).unwrap();
    assert_eq!(
        failure(&["./x"], link),
        "command `./x`: `FOLDER/./x` is a link to a file that does not exist; mend the link"
    );
}

#[test]
fn a_name_that_no_folder_of_path_has() {
    let with_path = || {
        let mut setup = Setup::new();
        setup.spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        setup
    };
    assert_eq!(
        failure_in(&with_path(), &["no-such-program"], |_| {}),
        "command `no-such-program`: not found in PATH (`/usr/bin:/bin`); install it, or write its path"
    );
    assert_eq!(
        failure_in(&with_path(), &["x-of-mine"], |folder| file(&folder.join("x-of-mine"), b"#!/bin/sh\n", 0o755)),
        "command `x-of-mine`: not found in PATH (`/usr/bin:/bin`); there is one in `FOLDER`: write `./x-of-mine`"
    );
}

#[test]
fn a_file_that_may_not_be_executed() {
    assert_eq!(
        failure(&["./x"], |folder| file(&folder.join("x"), b"#!/bin/sh\n", 0o644)),
        "command `./x`: not executable; `chmod +x FOLDER/./x`"
    );
    assert_eq!(
        failure(&["./x"], |folder| fs::create_dir(folder.join("x")).unwrap()),
        "command `./x`: `FOLDER/./x` is a folder; name a program in it"
    );
}

#[test]
fn a_script_without_its_interpreter() {
    assert_eq!(
        failure(&["./x"], |folder| file(&folder.join("x"), b"#!/no/such/python\nprint()\n", 0o755)),
        "command `./x`: its interpreter `/no/such/python` does not exist; mend the first line of `FOLDER/./x` or install it"
    );
    assert_eq!(
        failure(&["./x"], |folder| file(&folder.join("x"), b"#!/bin/sh\r\ntrue\r\n", 0o755)),
        "command `./x`: its first line ends in a carriage return, as written on Windows; `sed -i 's/\\r$//' FOLDER/./x`"
    );
    assert_eq!(
        failure(&["./x"], |folder| file(&folder.join("x"), b"true\n", 0o755)),
        "command `./x`: neither a program nor a script with a `#!` line; add one, such as `#!/bin/sh`, to `FOLDER/./x`"
    );
    assert_eq!(
        failure(&["./x"], |folder| file(&folder.join("x"), b"", 0o755)),
        "command `./x`: `FOLDER/./x` is empty; build it again"
    );
}

#[test]
fn a_program_of_another_machine() {
    let elf = |folder: &Path| {
        let mut program = fs::read(misbehave()).unwrap();
        // e_machine: SPARC, which this is not.
        program[18..20].copy_from_slice(&[43, 0]);
        file(&folder.join("x"), &program[..4096], 0o755);
    };
    let what = failure(&["./x"], elf);
    assert!(what.starts_with("command `./x`: built for another machine, and this machine is "), "{what}");
}

#[test]
fn a_working_dir_that_is_none() {
    let with_folder = |name: &str| {
        let mut setup = Setup::new();
        setup.spec.working_dir = setup.path(name);
        setup
    };
    assert_eq!(
        failure_in(&with_folder("w"), &["true"], |_| {}),
        "working_dir `FOLDER/w`: no such folder; create it or mend `working_dir` in the manifest"
    );
    assert_eq!(
        failure_in(&with_folder("w"), &["true"], |folder| fs::write(folder.join("w"), "").unwrap()),
        "working_dir `FOLDER/w`: not a folder; mend `working_dir` in the manifest"
    );
}

#[test]
fn an_environment_that_is_too_long() {
    let mut setup = Setup::new();
    setup.spec.env.push(("BIG".into(), "x".repeat(4 << 20).into()));
    assert_eq!(
        failure_in(&setup, &["/bin/true"], |_| {}),
        "command `/bin/true`: its arguments and environment together are too long; shorten them"
    );
}

#[test]
fn a_path_is_looked_for_in_the_services_own_environment() {
    let mut setup = Setup::new();
    setup.spec.env = vec![("PATH".into(), format!("/no/such:{}/bin", setup.folder.path().display()).into())];
    fs::create_dir(setup.path("bin")).unwrap();
    file(&setup.path("bin/only-here"), b"#!/bin/sh\n: > ran\n", 0o755);
    let mut kept = setup.start_argv(&["only-here"]);
    assert_eq!(kept.exited(), Exit::Code(0));
    assert!(setup.has("ran"));
}

#[test]
fn another_version_of_the_program_is_refused_with_a_mend() {
    let (socket, theirs) = packet::pair().unwrap();
    let any = memfd::sealed("any", b"").unwrap();
    let hello = serde_json::to_vec(&Hello { version: VERSION + 1, cgroup: false, sockets: 0 }).unwrap();
    packet::send(&socket, &hello, &[any.as_fd(), any.as_fd(), any.as_fd()]).unwrap();
    let stdio = Stdio3 { stdin: theirs, stdout: None, stderr: None };
    let keeper = process::start(&devsup(), &["__keep", "a#4"], &[], stdio).unwrap();
    wait_until("the keeper ends", || process::wait(Some(keeper)) != Waited::Alive);
    let mut said = Vec::new();
    while let Received::Packet(bytes, _) = packet::receive(&socket).unwrap() {
        said.push(serde_json::from_slice::<Report>(&bytes).unwrap());
    }
    let [Report::Hello { version: VERSION }, Report::StartFailed { what, .. }, Report::Gone] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(what.ends_with("its program was replaced; `devsup down`, then `devsup up`"), "{what}");
}

#[test]
fn a_keeper_of_a_dead_daemon_starts_nothing() {
    let mut setup = Setup::new();
    setup.spec.daemon = 1;
    let mut kept = setup.start(&["touch", "ran"]);
    assert_eq!(kept.reaped(), Exit::Code(0));
    assert!(kept.said().is_empty());
    assert!(!setup.has("ran"));
}
