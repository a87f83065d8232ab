//! `answer`, `deaf` and what else there is to do with listening sockets: our own, or passed to us.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{env, process, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{getsockname, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Held while a caller is taken, and to the end by one who leaves: nobody is taken and then left without a word.
static TAKING: Mutex<()> = Mutex::new(());

pub(crate) fn leave() -> MutexGuard<'static, ()> {
    TAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `PORT`, `PORT_ADMIN`: on 127.0.0.1; `fd:3`: what was passed; a path; `HOST:PORT`.
pub(crate) fn listener(at: &str) -> OwnedFd {
    if let Some(number) = at.strip_prefix("fd:") {
        let own = pidfd_open(getpid(), PidfdFlags::empty()).expect("ourselves");
        let number = number.parse().expect("a descriptor's number");
        return pidfd_getfd(own, number, PidfdGetfdFlags::empty()).expect("a descriptor that was passed");
    }
    if at.starts_with('/') {
        return UnixListener::bind(at).expect("a path that is free").into();
    }
    match env::var(at) {
        Ok(number) if at.starts_with("PORT") => TcpListener::bind(format!("127.0.0.1:{number}")),
        _ => TcpListener::bind(at),
    }
    .expect("the address is free")
    .into()
}

/// Says to each caller which run this is, and then each of his lines back, but for `hush`.
pub(crate) fn answer(at: &str) {
    let socket = listener(at);
    if getsockname(&socket).expect("a socket").address_family() == rustix::net::AddressFamily::UNIX {
        let listener = UnixListener::from(socket);
        listener.set_nonblocking(true).expect("a socket");
        thread::spawn(move || {
            take(&listener, || {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                let end = |stream: &UnixStream| stream.shutdown(Shutdown::Both);
                greet(stream.try_clone()?, stream, end)
            })
        });
    } else {
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true).expect("a socket");
        thread::spawn(move || {
            take(&listener, || {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                let end = |stream: &TcpStream| stream.shutdown(Shutdown::Both);
                greet(stream.try_clone()?, stream, end)
            })
        });
    }
}

/// Another run may be faster: nobody waits for a caller while he keeps us from leaving.
fn take(listener: &impl AsFd, one: impl Fn() -> io::Result<()>) -> ! {
    loop {
        poll(&mut [PollFd::new(listener, PollFlags::IN)], None).ok();
        let taking = leave();
        // He may be gone, or somebody else's; or the socket was shut down.
        one().ok();
        drop(taking);
    }
}

fn greet<R, W>(from: R, mut to: W, end: impl Fn(&W) -> io::Result<()> + Send + 'static) -> io::Result<()>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let mark = env::var("DEVSUP_RUN").unwrap_or_default();
    let run = mark.rsplit('#').next().unwrap_or_default().to_owned();
    writeln!(to, "run {run}")?;
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if line != "hush" && writeln!(to, "run {run}: {line}").is_err() {
                break;
            }
        }
        // He said his last, and hears ours.
        writeln!(to, "run {run}, the end").ok();
        end(&to).ok();
    });
    Ok(())
}

/// What was passed, and how it is: `sockets 2 admin:http for this process`, `fd 3 listens blocking`.
pub(crate) fn sockets() -> String {
    use std::fmt::Write as _;

    let said = |name: &str| env::var(name).unwrap_or_else(|_| "-".into());
    let whom = match said("LISTEN_PID") {
        pid if pid == process::id().to_string() => "this process",
        pid if pid == "-" => "nobody",
        _ => "another",
    };
    let mut text = format!("sockets {} {} for {whom}\n", said("LISTEN_FDS"), said("LISTEN_FDNAMES"));
    for number in 3..3 + said("LISTEN_FDS").parse().unwrap_or(0) {
        let socket = listener(&format!("fd:{number}"));
        let listens = if sockopt::socket_acceptconn(&socket).unwrap_or(false) { "listens" } else { "is deaf" };
        let flags = fcntl_getfl(&socket).expect("a descriptor");
        let blocks = if flags.contains(OFlags::NONBLOCK) { "nonblocking" } else { "blocking" };
        writeln!(text, "fd {number} {listens} {blocks}").expect("memory");
    }
    text
}

/// What a program may do to a socket that others share with it.
pub(crate) fn spoil(how: &str, at: &str) {
    let socket = listener(at);
    match how {
        "shrink" => rustix::net::listen(&socket, 5).expect("it listens"),
        "shut" => rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).expect("it listened"),
        _ => {
            let flags = fcntl_getfl(&socket).expect("a descriptor");
            fcntl_setfl(&socket, flags | OFlags::NONBLOCK).expect("a descriptor");
        }
    }
}
