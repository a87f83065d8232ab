//! A listening socket that outlives the runs it is for.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::Accepting;
use crate::sys::{listening, stream};

/// Callers that may wait while no run takes them; the kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Where, with everything known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(at) => at.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Bound and listening; let go when it is dropped, a path of its own included.
#[derive(Debug)]
pub struct Listener {
    place: Place,
    socket: Accepting,
    /// Of the path: device and inode.
    file: Option<(u64, u64)>,
}

/// What a socket that is a file is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// The mode bits that it does not get.
    pub umask: u32,
    /// User and group; `None`: who devsup is.
    pub owner: Option<(u32, u32)>,
}

impl Listener {
    pub fn bind(place: &Place, made: Made) -> io::Result<Self> {
        let (socket, file) = match place {
            Place::Tcp(at) => (Accepting::Tcp(TcpListener::bind(at)?), None),
            Place::Unix(path) => {
                let socket = bind_path(path, made)?;
                (Accepting::Unix(socket), file(path))
            }
        };
        let listener = Self { place: place.clone(), socket, file };
        listener.listen_again()?;
        Ok(listener)
    }

    /// Nobody took its path away, or put another in its place.
    pub fn is_there(&self) -> bool {
        match &self.place {
            Place::Tcp(_) => true,
            Place::Unix(path) => self.file.is_some() && file(path) == self.file,
        }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A run may have made the backlog smaller, or shut the socket down (TCP; a unix socket stays so).
    pub fn listen_again(&self) -> io::Result<()> {
        listening::listen(self, BACKLOG)
    }

    /// As the next program expects to find it; the one before may have changed that.
    pub fn as_new(&self) -> io::Result<()> {
        listening::blocking(self)?;
        self.listen_again()
    }

    /// One more handle of the same socket.
    pub fn share(&self) -> io::Result<Accepting> {
        Ok(match &self.socket {
            Accepting::Tcp(socket) => Accepting::Tcp(socket.try_clone()?),
            Accepting::Unix(socket) => Accepting::Unix(socket.try_clone()?),
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Accepting::Tcp(socket) => socket.as_fd(),
            Accepting::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Place::Unix(path) = &self.place
            && self.is_there()
        {
            drop(fs::remove_file(path));
        }
    }
}

fn file(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// What an earlier life left at the path is replaced; what somebody listens on, or what is no socket, is not.
fn bind_path(path: &Path, made: Made) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        // Only the kernel knows: the name that others used may be another one.
        Ok(_) if stream::is_answered(path).unwrap_or(true) => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    let socket = listening::with_umask(0o111 | made.umask, || UnixListener::bind(path))?;
    if let Some((user, group)) = made.owner {
        // Never what a link points to.
        std::os::unix::fs::lchown(path, Some(user), Some(group))?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn callers_wait_while_nobody_takes_them() {
        let listener = Listener::bind(&Place::Tcp("127.0.0.1:0".parse().unwrap()), Made::default()).unwrap();
        let Accepting::Tcp(shared) = listener.share().unwrap() else { panic!("tcp was asked for") };
        let mut callers: Vec<TcpStream> =
            (0..300).map(|_| TcpStream::connect(shared.local_addr().unwrap()).unwrap()).collect();
        callers[299].write_all(b"here").unwrap();
        let mut taken: Vec<TcpStream> = (0..300).map(|_| shared.accept().unwrap().0).collect();
        let last = &mut taken[299];
        let mut said = [0; 4];
        last.read_exact(&mut said).unwrap();
        assert_eq!(said, *b"here");
    }

    #[test]
    fn a_path_is_taken_over_from_the_dead_and_from_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Unix(folder.path().join("a.sock"));
        let Place::Unix(path) = &place else { unreachable!() };
        drop(UnixListener::bind(path).unwrap());
        assert!(path.exists());
        let first = Listener::bind(&place, Made { umask: 0o022, owner: None }).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(Listener::bind(&place, Made::default()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(UnixStream::connect(path).unwrap());
        assert!(first.is_there());
        drop(first);
        assert!(!path.exists());
        let second = Listener::bind(&place, Made::default()).unwrap();
        fs::remove_file(path).unwrap();
        let theirs = UnixListener::bind(path).unwrap();
        assert!(!second.is_there());
        drop(second);
        assert!(path.exists(), "what somebody else put there is theirs");
        drop(theirs);
        fs::remove_file(path).unwrap();
        fs::write(path, "mine").unwrap();
        assert_eq!(Listener::bind(&place, Made::default()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(path).unwrap(), b"mine");
    }
}
