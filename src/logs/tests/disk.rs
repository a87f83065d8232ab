//! Disks that are full, files and folders that others remove or cut.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Logs;
use crate::logs::disk::{Disk, Folder};
use crate::logs::{Capture, Mark, Stream};
use crate::supervisor::StopWhy;
use crate::sys::clock;
use crate::sys::files::Create;

/// A disk with so many bytes left for data; index space was set aside.
struct Full {
    under: Folder,
    left: Arc<AtomicU64>,
}

impl Disk for Full {
    fn create(&mut self, name: &str, how: Create) -> io::Result<File> {
        self.under.create(name, how)
    }

    fn write(&mut self, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length.is_multiple_of(24) {
            return self.under.write(file, parts);
        }
        let take = length.min(usize::try_from(self.left.load(Ordering::SeqCst)).expect("small"));
        if take == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left.fetch_sub(take as u64, Ordering::SeqCst);
        let bytes = parts.concat_bytes();
        self.under.write(file, &[IoSlice::new(&bytes[..take])])
    }

    fn point(&mut self, name: &str) -> io::Result<()> {
        self.under.point(name)
    }

    fn preallocate(&mut self, file: &File, from: u64, bytes: u64) -> io::Result<()> {
        self.under.preallocate(file, from, bytes)
    }
}

trait Joined {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl Joined for [IoSlice<'_>] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|part| part.to_vec()).collect()
    }
}

#[test]
fn a_full_disk_is_counted_marked_and_left_behind() {
    let logs = Logs::new();
    let left = Arc::new(AtomicU64::new(12));
    let under = Folder::new(File::open(logs.folder("a")).expect("opened").into());
    let disk = Full { under, left: Arc::clone(&left) };
    let mut capture = Capture::on(Box::new(disk), 1, 1 << 20, Vec::new());
    capture.write(Stream::Stdout, b"first\n");
    capture.write(Stream::Stdout, b"second line\n");
    capture.write(Stream::Stdout, b"third\n");
    assert_eq!(capture.dropped(), (12, Some("disk full".into())));
    assert!(capture.due().is_some(), "it is tried again");
    left.store(1000, Ordering::SeqCst);
    tick_until_well(&mut capture);
    capture.write(Stream::Stdout, b"back\n");
    capture.finish();
    assert_eq!(logs.history(&["a"], None), ["a1 first", "a1 second~", "a1 [dropped 12: disk full]", "a1 back"]);
}

/// As the keeper does: whenever something is due.
fn tick_until_well(capture: &mut Capture) {
    let deadline = clock::monotonic() + super::DEADLINE;
    while let Some(due) = capture.due() {
        assert!(clock::monotonic() < deadline, "it resumes");
        std::thread::sleep(due);
        capture.tick();
    }
}

#[test]
fn without_its_folder_a_run_goes_on_and_marks_wait() {
    let logs = Logs::new();
    let mut capture = logs.capture("a", 1, 1000);
    capture.write(Stream::Stdout, b"gone with the folder\n");
    let folder = logs.folder("a");
    std::fs::remove_dir_all(&folder).expect("removed");
    std::fs::write(&folder, "in the way").expect("written");
    capture.write(Stream::Stdout, b"lost\n");
    capture.mark(&Mark::Stopping { why: StopWhy::Asked });
    capture.write(Stream::Stdout, b"lost too\n");
    assert_eq!(capture.dropped(), (14, Some("log folder gone".into())));
    std::fs::remove_file(&folder).expect("removed");
    tick_until_well(&mut capture);
    capture.write(Stream::Stdout, b"back\n");
    capture.finish();
    let expected = ["a1 [dropped 5: log folder gone]", "a1 [stopping]", "a1 [dropped 9: log folder gone]", "a1 back"];
    assert_eq!(logs.history(&["a"], None), expected);
}

#[test]
fn a_file_removed_or_cut_from_outside_is_followed_by_a_new_one() {
    let logs = Logs::new();
    let mut reader = logs.reader(&["a"], None, true);
    let mut capture = logs.capture("a", 1, 1000);
    capture.write(Stream::Stdout, b"one\n");
    assert_eq!(super::await_entries(&mut reader, 1), ["a1 one"]);
    std::fs::remove_file(logs.folder("a").join("000001.log")).expect("removed");
    capture.write(Stream::Stdout, b"two\n");
    assert_eq!(super::await_entries(&mut reader, 1), ["a1 two"]);
    File::create(logs.folder("a").join("000001.1.log")).expect("cut");
    capture.write(Stream::Stdout, b"three\n");
    assert_eq!(super::await_entries(&mut reader, 1), ["a1 three"]);
    std::fs::remove_dir_all(logs.folder("a")).expect("removed");
    capture.write(Stream::Stdout, b"four\n");
    capture.mark(&Mark::Ended);
    capture.finish();
    assert_eq!(super::await_entries(&mut reader, 2), ["a1 four", "a1 [ended]"]);
    assert_eq!(logs.history(&["a"], None), ["a1 four", "a1 [ended]"]);
}

#[test]
fn a_folder_that_was_removed_before_the_start_is_not_made_under_another_name() {
    let logs = Logs::new();
    let folder = File::open(logs.folder("a")).expect("opened");
    std::fs::remove_dir(logs.root().join("a")).expect("removed");
    let mut capture = Capture::create(folder.into(), 1, 1000, Vec::new()).expect("created");
    capture.write(Stream::Stdout, b"lost\n");
    assert_eq!(capture.dropped(), (5, Some("log folder gone".to_owned())));
    capture.finish();
    assert_eq!(std::fs::read_dir(logs.root()).expect("listed").count(), 0);
}
