//! What `/proc` tells of processes, and who descends from whom. The only reader of `/proc/PID/stat`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// One process as its `stat` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub comm: String,
    /// `R`, `S`, `D`, `T`, `Z` …
    pub state: char,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// Clock ticks since boot: with the pid it names a process for good.
    pub start_time: u64,
}

impl Process {
    /// It has ended, and waits to be waited for.
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// `None`: there is no such process any more.
pub fn look(pid: u32) -> Option<Process> {
    parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// The name stands in parentheses and may itself hold spaces, parentheses and line ends: it ends at the last one.
fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (comm, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    // Field 22 of proc_pid_stat(5); the session is the sixth.
    let start_time = fields.nth(15)?.trim_end().parse().ok()?;
    Some(Process { pid: pid.parse().ok()?, comm: comm.to_owned(), state, parent, group, session, start_time })
}

/// Every process there is.
pub fn all() -> Vec<u32> {
    numbers("/proc")
}

fn numbers(folder: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Needs CONFIG_PROC_CHILDREN, which some kernels lack.
fn has_children_files() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| Path::new("/proc/thread-self/children").exists())
}

/// The children of all threads of a process, those that have ended and were not waited for included.
pub fn children(pid: u32) -> Vec<u32> {
    if has_children_files() { children_by_file(pid) } else { children_by_parent().remove(&pid).unwrap_or_default() }
}

fn children_by_file(pid: u32) -> Vec<u32> {
    let tasks = format!("/proc/{pid}/task");
    let mut children = Vec::new();
    for task in numbers(&tasks) {
        let list = fs::read_to_string(format!("{tasks}/{task}/children")).unwrap_or_default();
        children.extend(list.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    children
}

fn children_by_parent() -> BTreeMap<u32, Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in all().into_iter().filter_map(look) {
        children.entry(process.parent).or_default().push(process.pid);
    }
    children
}

/// All descendants, parents before their children, without those of `except` and what descends from them.
pub fn descendants(of: u32, except: &[u32]) -> Vec<u32> {
    let mut by_parent = if has_children_files() { None } else { Some(children_by_parent()) };
    let mut found = Vec::new();
    let mut next = vec![of];
    while let Some(pid) = next.pop() {
        let children = match by_parent.as_mut() {
            Some(map) => map.remove(&pid).unwrap_or_default(),
            None => children_by_file(pid),
        };
        let children = children.into_iter().filter(|child| !except.contains(child));
        for child in children {
            found.push(child);
            next.push(child);
        }
    }
    found
}

/// Who holds this process by ptrace.
pub fn tracer(pid: u32) -> Option<u32> {
    let tracer = status_number(pid, "TracerPid:").filter(|tracer| *tracer != 0)?;
    // What is said there is the thread that traces; people know processes.
    Some(status_number(tracer, "Tgid:").unwrap_or(tracer))
}

fn status_number(pid: u32, field: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

/// One variable of a process's initial environment.
pub fn environment(pid: u32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let wanted = format!("{name}=");
    let entry = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(wanted.as_bytes()))?;
    Some(String::from_utf8_lossy(entry).into_owned())
}

/// Whose it is. (The owner of its folder in `/proc` is root when it hides.)
pub fn owner(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let process = parse("812 (a) S (b) R 7 8 9 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2\n").unwrap();
        assert_eq!((process.pid, process.comm.as_str(), process.state), (812, "a) S (b", 'R'));
        assert_eq!((process.parent, process.group, process.session, process.start_time), (7, 8, 9, 4711));
    }

    #[test]
    fn we_are_a_child_of_our_parent() {
        let (own, parent) = (std::process::id(), std::os::unix::process::parent_id());
        assert_eq!(look(own).map(|process| process.parent), Some(parent));
        assert!(descendants(parent, &[]).contains(&own));
        assert!(!descendants(parent, &[own]).contains(&own));
        assert!(children_by_parent().get(&parent).is_some_and(|children| children.contains(&own)));
    }

    #[test]
    fn our_processes_are_ours() {
        assert_eq!(owner(std::process::id()), Some(rustix::process::getuid().as_raw()));
        assert_eq!(owner(u32::MAX), None);
    }

    #[test]
    fn a_process_that_is_gone_has_no_children() {
        assert_eq!(look(u32::MAX), None);
        assert!(children(u32::MAX).is_empty());
    }
}
