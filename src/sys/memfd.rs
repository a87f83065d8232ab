//! A file without a name: what must not stand in an argv, an environ or on a disk is handed over in one, sealed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};

/// A memfd that holds exactly these bytes and can no more be changed.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file.into())
}

/// All of it. The offset is left alone: the other side may be reading the same open file.
pub fn read(fd: impl AsFd) -> io::Result<Vec<u8>> {
    let size = usize::try_from(rustix::fs::fstat(&fd)?.st_size).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    let mut at = 0;
    while at < size {
        let Some(rest) = bytes.get_mut(at..) else { break };
        match rustix::io::pread(&fd, rest, at as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => at += n,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_can_be_read_twice_and_never_written() {
        let fd = sealed("test", b"secret").unwrap();
        assert_eq!(read(&fd).unwrap(), b"secret");
        assert_eq!(read(&fd).unwrap(), b"secret");
        assert!(File::from(fd).write_all(b"x").is_err());
    }
}
