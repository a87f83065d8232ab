//! The real thread on real folders: what is told, and what is not.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::Watches;
use super::look::{Plan, Told};
use crate::sys::clock::monotonic;

/// Far above what a busy machine needs; only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(30);

struct Folder {
    dir: TempDir,
    told: UnboundedReceiver<Told>,
    watches: Option<Watches>,
}

impl Folder {
    /// Service `a` with these globs, and service `probe`, whose file tells us that everything before it was seen.
    fn with(globs: &[&str], prepare: impl Fn(&Path)) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let top = dir.path().canonicalize().expect("there");
        prepare(&top);
        let services = BTreeMap::from([
            ("a".into(), globs.iter().map(|&glob| glob.to_owned()).collect()),
            ("probe".into(), vec!["probe-*".to_owned()]),
        ]);
        let own = top.join("state");
        let (watches, told) = Watches::begin(Plan { dir: top, services, own }).expect("a thread");
        let mut folder = Self { dir, told, watches: Some(watches) };
        folder.is_awake();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn next(&mut self) -> Told {
        let until = monotonic() + DEADLINE;
        loop {
            match self.told.try_recv() {
                Ok(told) => return told,
                Err(TryRecvError::Empty) => {
                    assert!(monotonic() < until, "nothing is told");
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryRecvError::Disconnected) => panic!("the thread has ended"),
            }
        }
    }

    /// It looks once it tells of the probe; what is written before that it may take for old.
    fn is_awake(&mut self) {
        let until = monotonic() + DEADLINE;
        loop {
            self.write(&format!("probe-awake-{:?}", monotonic()), "");
            let patience = monotonic() + Duration::from_millis(200);
            while monotonic() < patience {
                if self.told.try_recv().is_ok() {
                    self.all();
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(monotonic() < until, "it never looks");
        }
    }

    /// The paths told of `a` for all that was done up to now: a burst that begins with the probe is told after them.
    fn all(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            let probe = format!("probe-{:?}", monotonic());
            self.write(&probe, "");
            loop {
                match self.next() {
                    Told::Changed { service, path } if service.as_str() == "probe" => {
                        if path == probe {
                            return found;
                        }
                        // It went into a burst that had begun before.
                        break;
                    }
                    Told::Changed { path, .. } => found.push(path),
                    Told::Trouble(sentence) => panic!("{sentence}"),
                }
            }
        }
    }
}

fn folders(names: &[&str]) -> impl Fn(&Path) {
    move |top| names.iter().for_each(|name| fs::create_dir_all(top.join(name)).expect("a folder"))
}

#[test]
fn a_change_a_new_file_and_a_removed_one_are_told_with_their_path() {
    let mut folder = Folder::with(&["src/**/*.py"], |top| {
        folders(&["src/deep/er"])(top);
        fs::write(top.join("src/deep/er/old.py"), "1").expect("a file");
    });
    folder.write("src/deep/er/old.py", "2");
    assert_eq!(folder.all(), ["src/deep/er/old.py"]);
    folder.write("src/new.py", "1");
    assert_eq!(folder.all(), ["src/new.py"]);
    fs::remove_file(folder.path("src/new.py")).expect("there");
    assert_eq!(folder.all(), ["src/new.py"]);
    folder.write("src/new.txt", "1");
    folder.write("other.py", "1");
    assert_eq!(folder.all(), Vec::<String>::new());
}

#[test]
fn a_save_by_rename_is_one_change_and_so_is_a_storm() {
    let mut folder = Folder::with(&["src/*.py"], |top| {
        folders(&["src"])(top);
        fs::write(top.join("src/x.py"), "1").expect("a file");
    });
    // As vim does it: a probe of the folder, the old file aside, the new one in its place.
    folder.write("src/4913", "");
    fs::remove_file(folder.path("src/4913")).expect("there");
    folder.write("src/.x.py.swp", "swap");
    fs::rename(folder.path("src/x.py"), folder.path("src/x.py~")).expect("renamed");
    folder.write("src/x.py", "2");
    fs::remove_file(folder.path("src/x.py~")).expect("there");
    assert_eq!(folder.all(), ["src/x.py"]);
    // As most others do.
    folder.write("src/.x.py.tmp123", "3");
    fs::rename(folder.path("src/.x.py.tmp123"), folder.path("src/x.py")).expect("renamed");
    assert_eq!(folder.all(), ["src/x.py"]);
    let (began, mut file) = (monotonic(), fs::File::create(folder.path("src/y.py")).expect("a file"));
    for _ in 0..1000 {
        file.write_all(b"line\n").expect("written");
    }
    // A slow machine may take longer than a burst is let last.
    let bursts = 1 + usize::try_from(monotonic().saturating_sub(began).as_secs()).expect("few") * 2;
    let told = folder.all();
    assert!((1..=bursts).contains(&told.len()) && told.iter().all(|path| path == "src/y.py"), "{told:?}");
}

#[test]
fn looking_and_touching_change_nothing() {
    let mut folder = Folder::with(&["**/*"], |top| fs::write(top.join("x"), "1").expect("a file"));
    drop(folder.all());
    fs::read(folder.path("x")).expect("readable");
    let file = fs::File::options().write(true).open(folder.path("x")).expect("opened");
    // Both times, as touch does: one alone the kernel calls a change of the file.
    let times = fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH).set_modified(std::time::UNIX_EPOCH);
    file.set_times(times).expect("touched");
    let rights = fs::metadata(folder.path("x")).expect("there").permissions();
    fs::set_permissions(folder.path("x"), rights).expect("our own");
    drop(file);
    let told = folder.all();
    assert!(told.iter().all(|path| path.starts_with("probe-")), "{told:?}");
}

#[test]
fn folders_that_come_later_are_looked_into_at_once() {
    let mut folder = Folder::with(&["src/**/*.py", "lib/*.py"], |_| {});
    fs::create_dir_all(folder.path("src/a/b")).expect("folders");
    folder.write("src/a/b/x.py", "1");
    assert_eq!(folder.all(), ["src/a/b/x.py"]);
    folder.write("src/a/b/x.py", "2");
    assert_eq!(folder.all(), ["src/a/b/x.py"]);
    // One that is moved in brings its files with it.
    fs::create_dir_all(folder.path("elsewhere/lib")).expect("folders");
    folder.write("elsewhere/lib/y.py", "1");
    assert_eq!(folder.all(), Vec::<String>::new());
    fs::rename(folder.path("elsewhere/lib"), folder.path("lib")).expect("moved");
    assert_eq!(folder.all(), ["lib/y.py"]);
    // And one that goes and comes back is seen both times.
    fs::remove_dir_all(folder.path("src")).expect("removed");
    assert_eq!(folder.all(), ["src/a/b/x.py"]);
    fs::create_dir_all(folder.path("src")).expect("a folder");
    folder.write("src/z.py", "1");
    assert_eq!(folder.all(), ["src/z.py"]);
    fs::rename(folder.path("src"), folder.path("gone")).expect("moved away");
    assert_eq!(folder.all(), ["src"]);
    folder.write("gone/z.py", "2");
    assert_eq!(folder.all(), Vec::<String>::new());
}

#[test]
fn devsups_own_files_and_what_nobody_means_are_no_change() {
    let mut folder =
        Folder::with(&["**/*.log", "**/*.py"], folders(&["state/shop/logs", ".git", "node_modules/m", "a"]));
    for name in ["state/shop/logs/current.log", ".git/x.py", "node_modules/m/x.py", "a/.#x.py"] {
        folder.write(name, "1");
    }
    fs::create_dir(folder.path("a/__pycache__")).expect("a folder");
    folder.write("a/__pycache__/x.py", "1");
    assert_eq!(folder.all(), Vec::<String>::new());
    folder.write("a/x.py", "1");
    assert_eq!(folder.all(), ["a/x.py"]);
}

#[test]
fn links_are_followed_within_the_folder_only() {
    let outside = tempfile::tempdir().expect("a folder");
    let there = outside.path().canonicalize().expect("there");
    let mut folder = Folder::with(&["near/*.py", "all/**/*.py"], |top| {
        folders(&["real", "all"])(top);
        std::os::unix::fs::symlink(top.join("real"), top.join("near")).expect("a link");
        std::os::unix::fs::symlink(&there, top.join("all/out")).expect("a link");
    });
    folder.write("real/x.py", "1");
    assert_eq!(folder.all(), ["real/x.py"]);
    fs::write(there.join("x.py"), "1").expect("a file");
    assert_eq!(folder.all(), Vec::<String>::new());

    let dir = tempfile::tempdir().expect("a folder");
    let top = dir.path().canonicalize().expect("there");
    std::os::unix::fs::symlink(&there, top.join("far")).expect("a link");
    let services = BTreeMap::from([("a".into(), vec!["far/*.py".to_owned(), "[".to_owned()])]);
    let own = top.join("state");
    let (watches, told) = Watches::begin(Plan { dir: top, services, own }).expect("a thread");
    let mut folder = Folder { dir, told, watches: Some(watches) };
    let Told::Trouble(sentence) = folder.next() else { panic!("it was followed") };
    assert!(sentence.contains("`far/*.py`") && sentence.contains(there.to_str().expect("a path")), "{sentence}");
    let Told::Trouble(sentence) = folder.next() else { panic!("it was understood") };
    assert!(sentence.contains("`[` is not understood"), "{sentence}");
}

#[test]
fn dropped_it_looks_no_more_and_leaves_no_thread() {
    let mut folder = Folder::with(&["*.py"], |_| {});
    folder.watches = None;
    let until = monotonic() + DEADLINE;
    while !matches!(folder.told.try_recv(), Err(TryRecvError::Disconnected)) {
        assert!(monotonic() < until, "the thread lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}
