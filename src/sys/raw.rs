//! Our own terminal, while another program is to have it: every key as it is, nothing echoed, and as it was afterwards.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::SIGWINCH;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::poll::{self, For};
use super::pty::{Size, size_of};
use super::tty;

/// The terminal hands over every key as it is typed. Dropped, also by a panic, it is again as it was.
#[derive(Debug)]
pub struct Raw {
    before: Termios,
}

impl Raw {
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        tcsetattr(stdin(), OptionalActions::Now, &self.before).ok();
    }
}

/// How large our terminal is, if there is one and it knows.
pub fn size() -> Option<Size> {
    size_of(stdout()).or_else(|| size_of(stdin()))
}

/// Each change of our terminal's size. Must be made inside a tokio runtime.
pub struct Resizes(tokio::net::UnixStream);

impl Resizes {
    pub fn catch() -> io::Result<Self> {
        Ok(Self(tty::pipe(SIGWINCH)?))
    }

    /// Several at once are one. Cancelling the wait loses nothing.
    pub async fn next(&mut self) {
        let mut many = [0; 64];
        // It ends only with the process: both ends are ours.
        drop(self.0.read(&mut many).await);
    }
}

/// What is typed, read by a thread that ends when this is dropped: our terminal is shared with whoever started us, so it
/// must not be made non-blocking.
pub struct Keys {
    typed: mpsc::Receiver<Vec<u8>>,
    _alive: UnixStream,
}

impl Keys {
    pub fn read() -> io::Result<Self> {
        let (send, typed) = mpsc::channel(16);
        let (alive, stop) = UnixStream::pair()?;
        thread::Builder::new().name("keys".into()).spawn(move || read_until(&stop, &send))?;
        Ok(Self { typed, _alive: alive })
    }

    /// `None`: the terminal is gone. Cancelling the wait loses nothing.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.typed.recv().await
    }
}

fn read_until(stop: &UnixStream, typed: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        let interests = [(stdin(), For::Reading), (stop.as_fd(), For::Reading)];
        match poll::wait(&interests, None).as_deref() {
            Ok([_, true]) | Err(_) => return,
            Ok([true, _]) => {}
            Ok(_) => continue,
        }
        match rustix::io::read(stdin(), &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(0) | Err(_) => return,
            Ok(n) => {
                if typed.blocking_send(buffer.get(..n).unwrap_or_default().to_vec()).is_err() {
                    return;
                }
            }
        }
    }
}
