//! Why a command could not be started: one sentence with its mend.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::manifest::{Resource, Rlimit};
use crate::sys::limits;
use crate::sys::process::{self, Errno};

#[derive(Debug)]
pub(super) struct Failure {
    /// `start`, `session`, `nice`, `limits`, `identity`, `working_dir`, `exec`.
    pub(super) stage: &'static str,
    pub(super) what: String,
}

impl Failure {
    /// Something that is nobody's mistake.
    pub(super) fn of(stage: &'static str, error: &io::Error) -> Self {
        Self { stage, what: format!("it cannot be prepared ({stage}): {error}") }
    }
}

fn exec(what: String) -> Failure {
    Failure { stage: "exec", what }
}

pub(super) fn zero_byte(what: &str) -> Failure {
    exec(format!("{what} holds a NUL byte, which no program can be given; remove it"))
}

pub(super) fn working_dir(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    let what = match Errno::from_io_error(error) {
        Some(Errno::NOENT) => {
            format!("working_dir `{path}`: no such folder; create it or mend `working_dir` in the manifest")
        }
        Some(Errno::NOTDIR) => format!("working_dir `{path}`: not a folder; mend `working_dir` in the manifest"),
        Some(Errno::ACCESS) => {
            format!("working_dir `{path}`: permission denied for uid {}; it needs `x` there", process::own_uid())
        }
        _ => format!("working_dir `{path}`: {error}"),
    };
    Failure { stage: "working_dir", what }
}

/// The number of `ready.fd` cannot be had.
pub(super) fn ready_fd(number: u32, error: &io::Error) -> Failure {
    let what = match Errno::from_io_error(error) {
        Some(Errno::INVAL | Errno::MFILE) => {
            format!("`ready.fd`: {number} is beyond its limit of open files; choose a small one, such as 3")
        }
        _ => format!("`ready.fd`: the service cannot have descriptor {number}: {error}; choose another, such as 3"),
    };
    Failure { stage: "start", what }
}

pub(super) fn nice(wanted: i32, error: &io::Error) -> Failure {
    let what = match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => {
            let now = limits::niceness().unwrap_or_default();
            format!(
                "`nice = {wanted}`: uid {} may not go below {now}, where devsup is; raise it, or run devsup as root",
                process::own_uid()
            )
        }
        _ => format!("`nice = {wanted}`: {error}"),
    };
    Failure { stage: "nice", what }
}

/// `hard`: what there was.
pub(super) fn limit(resource: Resource, wanted: Rlimit, hard: Option<u64>, error: &io::Error) -> Failure {
    let word = resource.word();
    let say = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let asked = if wanted.soft == wanted.hard {
        say(wanted.hard)
    } else {
        format!("{}, at most {}", say(wanted.soft), say(wanted.hard))
    };
    let most = limits::most_open_files().filter(|most| {
        let wanted = wanted.hard.unwrap_or(u64::MAX);
        resource == Resource::Nofile && wanted > *most
    });
    let about = match (Errno::from_io_error(error), most) {
        (Some(Errno::PERM), Some(most)) => {
            format!("this kernel allows {most} at most (`sysctl fs.nr_open`); lower it")
        }
        (Some(Errno::PERM), None) => format!(
            "the hard limit is {}, and uid {} may not raise it; lower it, or raise the hard limit (limits.conf) and \
             bring devsup up again",
            say(hard),
            process::own_uid()
        ),
        (Some(Errno::INVAL), _) => "the soft limit is above the hard one; lower it".to_owned(),
        _ => error.to_string(),
    };
    Failure { stage: "limits", what: format!("`limits.{word}` = {asked}: {about}") }
}

pub(super) fn identity(uid: u32, gid: u32, error: &io::Error) -> Failure {
    let mend = match Errno::from_io_error(error) {
        Some(Errno::PERM) => "; devsup needs CAP_SETUID and CAP_SETGID, as root has them outside of a container",
        Some(Errno::INVAL) => "; this container does not know that number",
        _ => "",
    };
    Failure { stage: "identity", what: format!("it cannot become uid {uid}, gid {gid}: {error}{mend}") }
}

/// A bare name that no folder of PATH has.
pub(super) fn not_in_path(program: &str, candidates: &[PathBuf], folder: &Path) -> Failure {
    if program.is_empty() {
        return exec("`command` is empty; write the program to run".into());
    }
    let folders: Vec<String> =
        candidates.iter().filter_map(|file| file.parent()).map(|folder| folder.display().to_string()).collect();
    let mend = if folder.join(program).is_file() {
        format!("there is one in `{}`: write `./{program}`", folder.display())
    } else {
        "install it, or write its path".to_owned()
    };
    exec(format!("command `{program}`: not found in PATH (`{}`); {mend}", folders.join(":")))
}

/// exec of this file failed.
pub(super) fn command(program: &str, file: &Path, folder: &Path, error: &io::Error) -> Failure {
    let whole = folder.join(file);
    let about = match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) if whole.exists() => missing_interpreter(&whole),
        Some(Errno::NOENT | Errno::NOTDIR) => missing_file(program, &whole, folder),
        Some(Errno::ACCESS | Errno::PERM) => denied(&whole),
        Some(Errno::NOEXEC) => not_a_program(&whole),
        Some(Errno::TOOBIG) => "its arguments and environment together are too long; shorten them".to_owned(),
        Some(Errno::TXTBSY) => "the file is being written to; start it again when the build is done".to_owned(),
        Some(Errno::LOOP) => format!("`{}` is a circle of symbolic links; mend the link", whole.display()),
        Some(Errno::AGAIN) => format!(
            "uid {} runs as many processes as its limit (`limits.nproc`, `ulimit -u`) allows; raise it, or end some",
            process::own_uid()
        ),
        Some(Errno::NOMEM) => "there is not enough memory to execute it; free some".to_owned(),
        _ => error.to_string(),
    };
    exec(format!("command `{program}`: {about}"))
}

fn missing_file(program: &str, whole: &Path, folder: &Path) -> String {
    if whole.is_symlink() {
        return format!("`{}` is a link to a file that does not exist; mend the link", whole.display());
    }
    if Path::new(program).is_absolute() {
        return "no such file; mend `command` in the manifest".to_owned();
    }
    format!("no such file (looked in `{}`); `command` is relative to `working_dir`", folder.display())
}

/// What the first line of a script names.
pub(super) fn interpreter(whole: &Path) -> Option<String> {
    let first = head(whole)?;
    let line = first.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim_start().to_owned())
}

pub(super) fn head(whole: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(whole).ok()?.take(256).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn missing_interpreter(whole: &Path) -> String {
    let file = whole.display();
    match interpreter(whole) {
        Some(line) if line.ends_with('\r') => {
            format!("its first line ends in a carriage return, as written on Windows; `sed -i 's/\\r$//' {file}`")
        }
        Some(line) => {
            let program = line.split_whitespace().next().unwrap_or_default();
            format!("its interpreter `{program}` does not exist; mend the first line of `{file}` or install it")
        }
        None => format!("the loader that `{file}` was built for does not exist here; build it for this system"),
    }
}

fn denied(whole: &Path) -> String {
    let file = whole.display();
    if whole.is_dir() {
        return format!("`{file}` is a folder; name a program in it");
    }
    match fs::metadata(whole) {
        Ok(_) if !process::may_execute(whole.as_os_str()) => format!("not executable; `chmod +x {file}`"),
        Ok(_) => match interpreter(whole) {
            Some(line) => format!(
                "its interpreter `{}` may not be executed; mend the first line of `{file}`",
                line.split_whitespace().next().unwrap_or_default()
            ),
            None => format!("permission denied; is the file system of `{file}` mounted noexec?"),
        },
        Err(_) => format!("permission denied for uid {}; the folders above `{file}` need `x`", process::own_uid()),
    }
}

fn not_a_program(whole: &Path) -> String {
    let file = whole.display();
    let head = head(whole).unwrap_or_default();
    if head.is_empty() {
        return format!("`{file}` is empty; build it again");
    }
    if !head.starts_with(b"\x7fELF") {
        return format!("neither a program nor a script with a `#!` line; add one, such as `#!/bin/sh`, to `{file}`");
    }
    let low = head.get(18).copied().unwrap_or_default();
    let high = head.get(19).copied().unwrap_or_default();
    let machine = match u16::from_le_bytes([low, high]) {
        3 => "x86",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => "another machine",
    };
    let own = process::machine();
    if machine == own {
        return format!("`{file}` is damaged; build it again");
    }
    format!("built for {machine}, and this machine is {own}; build it for {own}")
}
