//! cgroup v2: where this process is, a group for each run, and the end of all that is in one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, fstatfs, mkdirat, open, openat, unlinkat};

use super::signal;

/// statfs(2)
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// Rounds of looking for processes that were not told yet; a bound against what forks faster.
const ROUNDS: usize = 64;

/// The folder of the group that this process is in, if cgroup v2 is mounted where we can see that group.
pub fn own() -> Option<PathBuf> {
    let mounts = fs::read(format!("{PROC}/mountinfo")).ok()?;
    let groups = fs::read(format!("{PROC}/cgroup")).ok()?;
    place(&String::from_utf8_lossy(&mounts), &String::from_utf8_lossy(&groups)).into_iter().find(|path| path.is_dir())
}

const PROC: &str = "/proc/self";

/// Every place where `groups` (`/proc/PID/cgroup`) may be found by `mounts` (`/proc/PID/mountinfo`): proc(5).
fn place(mounts: &str, groups: &str) -> Vec<PathBuf> {
    let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::")) else { return Vec::new() };
    let mount = |line: &str| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
        // A mount may show only a part of the tree: what is below its root.
        let below = Path::new(own).strip_prefix(root).ok()?;
        kind.starts_with("cgroup2 ")
            .then(|| if below.as_os_str().is_empty() { point.clone() } else { point.join(below) })
    };
    mounts.lines().filter_map(mount).collect()
}

/// mountinfo writes space, tab, line end and backslash as `\040` and so on.
fn unescaped(field: &str) -> PathBuf {
    let (mut out, mut rest) = (Vec::new(), field.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(meant) if byte == b'\\' => {
                out.push(meant);
                rest = &after[3..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// What divides a machine's means among groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Pids,
}

impl Controller {
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// Is it in the hands of cgroup v1, so that v2 cannot have it?
    pub fn is_of_version_1(self) -> bool {
        let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let row = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        row.into_iter().any(|row| row.first() == Some(&self.word()) && row.get(1).is_some_and(|tree| *tree != "0"))
    }
}

/// One group, held open: it cannot come to mean another.
#[derive(Debug)]
pub struct Cgroup {
    folder: OwnedFd,
}

impl Cgroup {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { folder: open(path, folder_flags(), Mode::empty())? })
    }

    /// By this number the kernel knows it.
    pub fn id(&self) -> io::Result<u64> {
        Ok(fstat(&self.folder)?.st_ino)
    }

    /// The numbers of all groups in this one.
    pub fn ids_within(&self) -> Vec<u64> {
        let inner = self.groups().into_iter().filter_map(|name| self.below(&name).ok());
        inner.flat_map(|group| group.id().into_iter().chain(group.ids_within()).collect::<Vec<_>>()).collect()
    }

    /// Whether this is a group at all, and not a folder of that name.
    pub fn is_real(&self) -> bool {
        fstatfs(&self.folder).is_ok_and(|found| u64::try_from(found.f_type) == Ok(CGROUP2_SUPER_MAGIC))
    }

    fn below(&self, name: &str) -> io::Result<Self> {
        Ok(Self { folder: openat(&self.folder, name, folder_flags(), Mode::empty())? })
    }

    /// A group in this one; one that is there already is that one.
    pub fn make(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => self.below(name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes a group in this one away, and all groups in it. An error while a process is left in any of them.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let group = self.below(name)?;
        for inner in group.groups() {
            group.remove(&inner)?;
        }
        Ok(unlinkat(&self.folder, name, AtFlags::REMOVEDIR)?)
    }

    /// The names of the groups in this one.
    pub fn groups(&self) -> Vec<String> {
        let Ok(entries) = Dir::read_from(&self.folder) else { return Vec::new() };
        let folders = entries.flatten().filter(|entry| entry.file_type() == FileType::Directory);
        let names = folders.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        names.filter(|name| name != "." && name != "..").collect()
    }

    /// This process goes there, and what it starts from now on.
    pub fn join(&self) -> io::Result<()> {
        self.write("cgroup.procs", "0")
    }

    pub fn admit(&self, pid: u32) -> io::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Who is in exactly this group, without those that have ended.
    pub fn members(&self) -> Vec<u32> {
        let text = self.read("cgroup.procs").unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).collect()
    }

    /// Who is in this group or in one in it.
    pub fn processes(&self) -> Vec<u32> {
        let inner = self.groups().into_iter().filter_map(|name| self.below(&name).ok());
        self.members().into_iter().chain(inner.flat_map(|group| group.processes())).collect()
    }

    /// Its `cgroup.events`, to be waited for: see [`is_populated`].
    pub fn events(&self) -> io::Result<File> {
        self.file("cgroup.events", OFlags::RDONLY)
    }

    /// SIGKILL to all, those included who are being forked at this moment. To be repeated until nobody is left.
    pub fn kill(&self) -> io::Result<()> {
        match self.write("cgroup.kill", "1") {
            // Before Linux 5.14.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.kill_each(),
            done => done,
        }
    }

    /// The same without `cgroup.kill`: frozen, nobody forks while they are killed one by one.
    pub fn kill_each(&self) -> io::Result<()> {
        self.write("cgroup.freeze", "1")?;
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            let mut new = self.processes();
            new.retain(|pid| !told.contains(pid));
            if new.is_empty() {
                break;
            }
            for pid in &new {
                // It may have ended meanwhile.
                drop(signal::send(*pid, signal::KILL));
            }
            told.append(&mut new);
        }
        self.write("cgroup.freeze", "0")
    }

    /// What groups in this one may be given a share of.
    pub fn has(&self, controller: Controller) -> bool {
        self.read("cgroup.controllers")
            .is_ok_and(|all| all.split_ascii_whitespace().any(|one| one == controller.word()))
    }

    /// Do the groups in this one have it already?
    pub fn hands_down(&self, controller: Controller) -> bool {
        self.read("cgroup.subtree_control")
            .is_ok_and(|all| all.split_ascii_whitespace().any(|one| one == controller.word()))
    }

    /// The one that all others are in: it alone may have members and hand down.
    pub fn is_top(&self) -> bool {
        self.file("cgroup.type", OFlags::RDONLY).is_err()
    }

    /// Hands a controller down to the groups in this one. Not while it has members of its own (unless it is the top).
    pub fn hand_down(&self, controller: Controller) -> io::Result<()> {
        self.write("cgroup.subtree_control", &format!("+{}", controller.word()))
    }

    pub fn take_back(&self, controller: Controller) -> io::Result<()> {
        self.write("cgroup.subtree_control", &format!("-{}", controller.word()))
    }

    /// All in this group together may use so much: bytes, or processes and threads.
    pub fn limit(&self, controller: Controller, most: u64) -> io::Result<()> {
        self.write(&format!("{}.max", controller.word()), &most.to_string())
    }

    fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        Ok(File::from(openat(&self.folder, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?))
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let mut text = String::new();
        self.file(name, OFlags::RDONLY)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        self.file(name, OFlags::WRONLY | OFlags::TRUNC)?.write_all(text.as_bytes())
    }
}

impl From<OwnedFd> for Cgroup {
    fn from(folder: OwnedFd) -> Self {
        Self { folder }
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW
}

/// Is anybody in the group of these [`Cgroup::events`], or in one in it? A group that is gone has nobody. Until this is
/// asked, what changed is still news to whoever waits for it.
pub fn is_populated(events: &File) -> bool {
    let mut text = [0; 256];
    let read = events.read_at(&mut text, 0).unwrap_or(0);
    String::from_utf8_lossy(&text[..read]).lines().any(|line| line == "populated 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_found_wherever_it_is_mounted() {
        let hybrid = "31 1 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      40 31 0:37 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/x\n0::/user.slice/a.scope\n";
        assert_eq!(place(hybrid, groups), [PathBuf::from("/sys/fs/cgroup/unified/user.slice/a.scope")]);
        assert_eq!(place(hybrid, "0::/\n"), [PathBuf::from("/sys/fs/cgroup/unified")]);
        let part = "41 31 0:38 /docker/1f /sys/fs/c\\040group ro - cgroup2 cgroup rw";
        assert_eq!(place(part, "0::/docker/1f/x"), [PathBuf::from("/sys/fs/c group/x")]);
        for (mounts, groups) in [(part, "0::/docker/1f2"), (hybrid, "4:memory:/x\n"), ("", "0::/x")] {
            assert!(place(mounts, groups).is_empty(), "{mounts} {groups}");
        }
    }

    /// A folder that looks like a group, for what needs controllers that this machine may not have.
    fn look_alike() -> (tempfile::TempDir, Cgroup) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("cgroup.controllers", "cpu memory\n"),
            ("cgroup.subtree_control", ""),
            ("cgroup.procs", "7\n9\n"),
            ("memory.max", "max\n"),
            ("pids.max", "max\n"),
        ] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let group = Cgroup::open(folder.path()).expect("a folder");
        (folder, group)
    }

    #[test]
    fn limits_are_written_where_the_kernel_reads_them() {
        let (folder, group) = look_alike();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
        assert!(group.has(Controller::Memory) && !group.has(Controller::Pids));
        group.hand_down(Controller::Memory).expect("written");
        assert_eq!(read("cgroup.subtree_control"), "+memory");
        group.take_back(Controller::Memory).expect("written");
        assert_eq!(read("cgroup.subtree_control"), "-memory");
        group.limit(Controller::Memory, 512 << 20).expect("written");
        group.limit(Controller::Pids, 64).expect("written");
        assert_eq!((read("memory.max").as_str(), read("pids.max").as_str()), ("536870912", "64"));
    }

    #[test]
    fn members_are_read_and_a_folder_is_no_group() {
        let (folder, group) = look_alike();
        fs::create_dir(folder.path().join("inner")).expect("a folder");
        fs::write(folder.path().join("inner/cgroup.procs"), "11\n").expect("a file");
        assert_eq!((group.members(), group.processes()), (vec![7, 9], vec![7, 9, 11]));
        assert_eq!(group.groups(), ["inner"]);
        assert!(!group.is_real());
    }

    #[test]
    fn populated_is_one_line_of_several() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, is) in [("populated 1\nfrozen 0\n", true), ("populated 0\nfrozen 1\n", false), ("", false)] {
            fs::write(folder.path().join("cgroup.events"), text).expect("a file");
            let events = Cgroup::open(folder.path()).and_then(|group| group.events()).expect("a file");
            assert_eq!(is_populated(&events), is, "{text}");
        }
    }
}
