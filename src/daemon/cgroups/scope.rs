//! A transient scope of the user's service manager: where an ordinary user, outside of any unit with `Delegate`, is given a
//! cgroup to do with as they like.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::clocks::now;
use crate::daemon::world::Inherited;
use crate::sys::{cgroup, process, users};

/// Asking and being moved, together.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A scope ends with its manager, and that with its user's last login unless they linger: a project is to outlive that.
pub(super) fn may_be_asked(env: &[(OsString, OsString)]) -> Result<(), String> {
    socket(env)?;
    let user = users::name(users::own_uid());
    if Path::new("/var/lib/systemd/linger").join(&user).exists() {
        Ok(())
    } else {
        Err(format!("a scope would end with the last login of `{user}`: `loginctl enable-linger` makes it last"))
    }
}

/// Asks for a scope for this process, and waits until it is there.
pub(super) fn enter(env: &[(OsString, OsString)], name: &str) -> Result<(), String> {
    let runtime = socket(env)?;
    let busctl = program(env, "busctl").ok_or("there is no `busctl` in PATH to ask for a scope with")?;
    let before = cgroup::own();
    let until = now().mono + PATIENCE;
    let (pid, unit) = (process::own_pid().to_string(), format!("{name}.scope"));
    let args = [
        "--user",
        "--quiet",
        "--timeout=2",
        "call",
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        &unit,
        "fail",
        "4",
        "Description",
        "s",
        name,
        "CollectMode",
        "s",
        "inactive-or-failed",
        "Delegate",
        "b",
        "true",
        "PIDs",
        "au",
        "1",
        &pid,
        "0",
    ];
    let env = [("XDG_RUNTIME_DIR", runtime.as_os_str())];
    let refused = |why: String| format!("the user's service manager gave no scope: {why}");
    process::carry_out(&busctl, &args, &env, PATIENCE).map_err(refused)?;
    // The answer is a job; the move comes when it is done.
    while cgroup::own() == before {
        if now().mono >= until {
            return Err(refused(format!("it did not move us within {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The runtime folder, if a service manager listens in it.
pub(super) fn socket(env: &[(OsString, OsString)]) -> Result<PathBuf, String> {
    let folder = Inherited::lookup(env, "XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    folder
        .filter(|folder| folder.join("bus").exists() || folder.join("systemd/private").exists())
        .ok_or_else(|| "no service manager of the user is there to ask for a scope".to_owned())
}

fn program(env: &[(OsString, OsString)], name: &str) -> Option<PathBuf> {
    let path = Inherited::lookup(env, "PATH")?;
    let folders = path.split(':').filter(|folder| folder.starts_with('/'));
    folders.map(|folder| Path::new(folder).join(name)).find(|file| process::may_execute(AsRef::<OsStr>::as_ref(file)))
}
