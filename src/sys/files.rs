//! Files by descriptor: what `std::fs` cannot say about a folder that is held open.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, fallocate, openat, renameat, symlinkat, unlinkat};

/// Whether a file of that name may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// `EEXIST` if it is.
    New,
    /// Begun again, empty.
    Again,
}

/// Creates a file (0600) for appending in a folder.
pub fn create_in(folder: impl AsFd, name: &str, how: Create) -> io::Result<File> {
    let how = match how {
        Create::New => OFlags::EXCL,
        Create::Again => OFlags::TRUNC,
    };
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW | how;
    Ok(File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Bytes of the whole disk that a file is on.
pub fn disk_size(path: &Path) -> Option<u64> {
    let seen = rustix::fs::statvfs(path).ok()?;
    seen.f_blocks.checked_mul(seen.f_frsize)
}

/// Is what is written there kept in memory only (tmpfs, ramfs)?
pub fn in_memory(path: &Path) -> bool {
    // magic.h of Linux; fields of statfs(2) differ in width between machines.
    const TMPFS: i128 = 0x0102_1994;
    const RAMFS: i128 = 0x8584_58f6;
    rustix::fs::statfs(path).is_ok_and(|seen| [TMPFS, RAMFS].contains(&i128::from(seen.f_type)))
}

/// Bytes that an ordinary user may still write to the disk that a file is on.
pub fn disk_free(path: &Path) -> Option<u64> {
    let seen = rustix::fs::statvfs(path).ok()?;
    seen.f_bavail.checked_mul(seen.f_frsize)
}

/// May we make and remove names in this folder?
pub fn may_write_in(folder: &Path) -> io::Result<()> {
    let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(rustix::fs::accessat(rustix::fs::CWD, folder, wanted, AtFlags::EACCESS)?)
}

/// May we write to this file?
pub fn may_write(file: &Path) -> io::Result<()> {
    Ok(rustix::fs::accessat(rustix::fs::CWD, file, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS)?)
}

/// Makes `name` a link to `target`, replacing an older link in one step.
pub fn point(folder: impl AsFd, target: &str, name: &str) -> io::Result<()> {
    let beside = format!(".{name}.{}", rustix::process::getpid().as_raw_nonzero());
    match unlinkat(&folder, &beside, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    symlinkat(target, &folder, &beside)?;
    renameat(&folder, &beside, &folder, name)?;
    Ok(())
}

/// Blocks set aside past the end, without changing the size; given back when the length is set.
pub fn preallocate(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes)?)
}
