use super::*;

fn private(root: &Path) -> Private {
    Private {
        hash: "0123456789ab".into(),
        near: root.join("state/handed"),
        note: root.join("state/handed-in-memory"),
        candidates: Vec::new(),
        memory: None,
    }
}

fn state(root: &Path) {
    private_folder(&root.join("state")).expect("a state folder");
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

/// A folder in memory that is ours alone, or the word that there is none here.
fn memory() -> Option<tempfile::TempDir> {
    let shared = Path::new("/dev/shm");
    if !files::in_memory(shared) {
        return None;
    }
    tempfile::Builder::new().prefix("devsup-test-").tempdir_in(shared).ok()
}

#[test]
fn a_file_is_replaced_whole_at_the_same_path_and_nobody_else_reads_it() {
    let root = tempfile::tempdir().expect("a folder");
    state(root.path());
    let mut private = private(root.path());
    let first = private.open("a", Reader::Own, "config", b"one").expect("written");
    let held = fs::File::open(&first).expect("readable");
    let second = private.open("a", Reader::Own, "config", b"another").expect("written");
    assert_eq!((&first, fs::read(&second).expect("readable")), (&second, b"another".to_vec()));
    assert_eq!(io::read_to_string(held).expect("readable"), "one", "who had it open reads the whole old one");
    assert_eq!(mode_of(&first), 0o600);
    assert_eq!((mode_of(first.parent().expect("a folder")), mode_of(&private.near)), (0o700, 0o700));
    let names: Vec<_> = fs::read_dir(private.near.join("a")).expect("a folder").flatten().collect();
    assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
    private.sweep();
    assert!(!private.near.exists());
}

#[test]
fn a_secret_is_kept_in_memory_and_found_by_the_next_daemon() {
    let (root, Some(memory)) = (tempfile::tempdir().expect("a folder"), memory()) else { return };
    state(root.path());
    let on_disk = (root.path().to_owned(), root.path().join("0123456789ab"));
    let in_memory = (memory.path().to_owned(), memory.path().join("between/0123456789ab"));
    let mut killed = private(root.path());
    // A disk is never the place, though it comes first.
    killed.candidates = if files::in_memory(root.path()) { vec![in_memory] } else { vec![on_disk, in_memory] };
    let token = killed.secret("a", Reader::Own, "token", b"secret").expect("written");
    assert_eq!(token, memory.path().join("between/0123456789ab/a/token"));
    assert_eq!((fs::read(&token).expect("readable"), mode_of(&token)), (b"secret".to_vec(), 0o600));
    assert_eq!(mode_of(token.parent().expect("a folder")), mode());
    // It is killed; the next one knows of no candidate at all.
    private(root.path()).sweep();
    assert!(!token.exists() && !memory.path().join("between/0123456789ab").exists());
    assert!(!killed.note.exists());
}

#[test]
fn nothing_is_put_where_somebody_else_could_have_been_first() {
    let (root, Some(memory)) = (tempfile::tempdir().expect("a folder"), memory()) else { return };
    state(root.path());
    let place = memory.path().join("0123456789ab");
    std::os::unix::fs::symlink(root.path(), &place).expect("a link");
    let mut linked = private(root.path());
    linked.candidates = vec![(memory.path().to_owned(), place.clone())];
    let refused = linked.secret("a", Reader::Own, "token", b"secret").expect_err("a link");
    assert_eq!(refused, format!("`{}` is not a folder; remove it", place.display()));
    linked.sweep();
    assert!(root.path().join("state").exists() && place.is_symlink(), "a link is not followed at the end either");
    fs::remove_file(&place).expect("ours");
    fs::create_dir(&place).expect("a folder");
    fs::set_permissions(&place, Permissions::from_mode(0o777)).expect("chmod");
    linked.secret("a", Reader::Own, "token", b"secret").expect("it is ours");
    assert_eq!(mode_of(&place), mode(), "others may not write there any more");
    if users::own_uid() == 0 {
        std::os::unix::fs::chown(&place, Some(65534), Some(65534)).expect("root may");
        let refused = linked.secret("a", Reader::Own, "token", b"x").expect_err("somebody else's");
        assert!(refused.contains("belongs to `"), "{refused}");
    }
}

#[test]
fn only_what_one_of_us_could_have_noted_is_removed() {
    let root = tempfile::tempdir().expect("a folder");
    state(root.path());
    let precious = root.path().join("precious");
    fs::create_dir(&precious).expect("a folder");
    let private = private(root.path());
    fs::write(&private.note, precious.to_str().expect("utf-8")).expect("a note");
    private.sweep();
    assert!(precious.exists() && !private.note.exists());
}

#[test]
fn without_a_place_in_memory_that_is_said() {
    let root = tempfile::tempdir().expect("a folder");
    state(root.path());
    let mut private = private(root.path());
    private.candidates = vec![(PathBuf::from("/proc"), PathBuf::from("/proc/x"))];
    let said = private.secret("a", Reader::Own, "token", b"x").expect_err("no memory");
    assert_eq!(said, "no place in memory (tmpfs) for what only its user may read: tried `/proc`");
}

#[test]
fn another_users_file_is_theirs_and_the_way_to_it_open_only_for_going_through() {
    let (root, Some(memory)) = (tempfile::tempdir().expect("a folder"), memory()) else { return };
    if users::own_uid() != 0 {
        return;
    }
    state(root.path());
    let mut private = private(root.path());
    private.candidates = vec![(memory.path().to_owned(), memory.path().join("0123456789ab"))];
    let other = Reader::Other { uid: 65534, gid: 65534 };
    let path = private.open("a", other, "config", b"x").expect("written");
    let found = fs::metadata(&path).expect("there");
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (65534, 65534, 0o600));
    for above in [path.parent().expect("a"), &memory.path().join("0123456789ab")] {
        let found = fs::metadata(above).expect("there");
        assert_eq!((found.uid(), found.mode() & 0o7777), (0, 0o711));
    }
}
