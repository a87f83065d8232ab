//! A badly behaved program, for tests: does what its arguments say, one after the other.
//!
//! ```text
//! misbehave ignore TERM say ready sleep 60
//! misbehave on TERM touch /tmp/told say ready sleep 60
//! misbehave fork setsid [ ignore TERM sleep 60 ] exit 0
//! ```
//!
//! | words | what it does |
//! |---|---|
//! | `say TEXT`, `cry TEXT` | a line to stdout, to stderr |
//! | `mutter TEXT` | TEXT to stdout without a line end |
//! | `lines N`, `bytes N` | N numbered lines; N bytes without a line end, to stdout |
//! | `pour` | lines for ever |
//! | `ignore SIG` | from now on it does nothing at SIG |
//! | `on SIG touch PATH`, `on SIG exit N`, `on SIG say TEXT` | at SIG, while it sleeps |
//! | `fork [ WORDS ]` | a child of the same kind goes on with WORDS; we with the rest |
//! | `fork setsid [ WORDS ]` | the same, in a session of its own |
//! | `daemon [ WORDS ]` | twice forked, session of its own: nobody's child |
//! | `bomb N` | each process starts two, until about N live; all sleep |
//! | `hop N` | N times: a child that ignores TERM goes on in its own session, and the parent ends |
//! | `close-stdout`, `close-stderr` | |
//! | `env`, `fds`, `cwd`, `ids` | prints variables' names, open descriptors, folder, `pid ppid pgid sid` |
//! | `signals` | prints the ignored, blocked and caught signals |
//! | `attack WHO` | tries to get at another process: a pid, `@FILE` of pids, `parent`, or a `child` of its own |
//! | `asks FOLDER` | for ever: sends what is put there to the credential endpoint, and puts the answers beside it |
//! | `show FILE` | prints a file, such as `/proc/self/limits` |
//! | `to PATH` | from now on what is said or shown goes to the end of this file |
//! | `setsid` | a session of its own |
//! | `stop` | stops itself (SIGSTOP) |
//! | `die SIG` | ends by SIG |
//! | `listen HOST:PORT` | takes connections from now on, beside what follows |
//! | `http HOST:PORT CODE` | the same, and answers each GET with this status; CODE may be a file that holds it |
//! | `answer WHERE` | takes callers beside what follows: says `run N` to each, and his lines back. WHERE: HOST:PORT, a path, a variable `PORT…`, or `fd:3` |
//! | `deaf WHERE` | listens and takes nobody |
//! | `shrink`, `shut`, `unblock` WHERE | a small backlog, no callers any more, O_NONBLOCK: of a socket that was passed |
//! | `sockets`, `value NAME` | prints what was passed and how it is; a variable |
//! | `if PATH [ WORDS ]` | WORDS only when there is such a file |
//! | `notify TEXT`, `notify-fd TEXT` | TEXT to `NOTIFY_SOCKET`, `\\n` in it is a line end; with descriptors along |
//! | `notify-bytes N`, `notify-flood N` | N bytes in one datagram; N datagrams |
//! | `write-fd N TEXT` | a line to the inherited descriptor N |
//! | `touch PATH`, `wait-for PATH` | makes a file; waits until there is one |
//! | `sleep SECONDS`, `ms N` | |
//! | `exit N` | |

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what it is for")]
#![expect(clippy::disallowed_methods, reason = "a program of its own, that starts processes and ends abruptly")]
#![expect(clippy::zombie_processes, reason = "orphans and zombies are what it makes")]

use std::io::{IoSlice, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use nix::sys::signal::{Signal, raise};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd;

#[path = "misbehave/answer.rs"]
mod answer;
#[path = "misbehave/attack.rs"]
mod attack;
#[path = "misbehave/sdk.rs"]
mod sdk;

struct Told {
    seen: Arc<AtomicBool>,
    act: String,
    with: String,
}

struct Child {
    words: std::vec::IntoIter<String>,
    told: Vec<Told>,
    to: Option<String>,
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    Child { words: words.into_iter(), told: Vec::new(), to: None }.go();
}

impl Child {
    fn word(&mut self) -> String {
        self.words.next().expect("one more word")
    }

    fn number(&mut self) -> u64 {
        self.word().parse().expect("a number")
    }

    fn signal(&mut self) -> Signal {
        format!("SIG{}", self.word()).parse().expect("a signal's name without SIG")
    }

    /// The words between `[` and its `]`.
    fn block(&mut self) -> Vec<String> {
        assert_eq!(self.word(), "[");
        let (mut words, mut depth) = (Vec::new(), 1);
        loop {
            let word = self.word();
            depth += i32::from(word == "[") - i32::from(word == "]");
            if depth == 0 {
                return words;
            }
            words.push(word);
        }
    }

    fn go(mut self) {
        while let Some(word) = self.words.next() {
            match word.as_str() {
                "say" | "cry" | "mutter" | "lines" | "bytes" | "pour" => self.write(&word),
                "value" => {
                    let name = self.word();
                    self.print(&format!("{name}={}\n", env::var(&name).unwrap_or_default()));
                }
                "env" | "fds" | "cwd" | "ids" | "signals" | "sockets" => {
                    let text = show(&word);
                    self.print(&text);
                }
                "attack" => {
                    let text = attack::attack(&self.word());
                    self.print(&text);
                }
                "asks" => sdk::asks(&self.word()),
                "show" => {
                    let text = fs::read_to_string(self.word()).expect("a file");
                    self.print(&text);
                }
                "to" => self.to = Some(self.word()),
                "setsid" => {
                    unistd::setsid().expect("not a group's leader");
                }
                "fork" | "daemon" | "bomb" | "hop" => self.multiply(&word),
                "ignore" | "on" | "stop" | "die" => self.signals(&word),
                "listen" | "http" => self.serve(&word),
                "answer" => answer::answer(&self.word()),
                // Until we end.
                "deaf" => std::mem::forget(answer::listener(&self.word())),
                "shrink" | "shut" | "unblock" => answer::spoil(&word, &self.word()),
                "if" => self.only_if(),
                "notify" | "notify-fd" | "notify-bytes" | "notify-flood" => self.notify(&word),
                "write-fd" => {
                    let path = format!("/proc/self/fd/{}", self.number());
                    let line = self.word() + "\n";
                    let mut fd = fs::File::options().write(true).open(path).expect("an inherited descriptor");
                    fd.write_all(line.as_bytes()).expect("somebody reads");
                }
                "close-stdout" => nix_close(1),
                "close-stderr" => nix_close(2),
                "touch" => fs::write(self.word(), "").expect("a file is made"),
                "wait-for" => {
                    let path = self.word();
                    while !fs::exists(&path).unwrap_or(false) {
                        self.sleep(Duration::from_millis(5));
                    }
                }
                "sleep" => {
                    let seconds = self.number();
                    self.sleep(Duration::from_secs(seconds));
                }
                "ms" => {
                    let ms = self.number();
                    self.sleep(Duration::from_millis(ms));
                }
                "exit" => process::exit(i32::try_from(self.number()).expect("an exit code")),
                other => panic!("what is `{other}`?"),
            }
        }
    }

    fn only_if(&mut self) {
        let (path, block) = (self.word(), self.block());
        if fs::exists(path).unwrap_or(false) {
            let rest = std::mem::take(&mut self.words);
            self.words = block.into_iter().chain(rest).collect::<Vec<_>>().into_iter();
        }
    }

    fn print(&self, text: &str) {
        match &self.to {
            None => print!("{text}"),
            Some(path) => {
                let mut file = fs::File::options().create(true).append(true).open(path).expect("a file");
                file.write_all(text.as_bytes()).expect("a file");
            }
        }
    }

    fn write(&mut self, word: &str) {
        if word == "say" {
            let text = self.word() + "\n";
            return self.print(&text);
        }
        let mut out = std::io::stdout().lock();
        match word {
            "cry" => eprintln!("{}", self.word()),
            "mutter" => write!(out, "{}", self.word()).expect("stdout"),
            "lines" => (0..self.number()).for_each(|n| writeln!(out, "line {n}").expect("stdout")),
            "bytes" => {
                let n = usize::try_from(self.number()).expect("a size");
                out.write_all(&vec![b'x'; n]).expect("stdout");
            }
            _ => loop {
                writeln!(out, "one of very many lines").expect("stdout");
            },
        }
        out.flush().expect("stdout");
    }

    fn multiply(&mut self, word: &str) {
        match word {
            "fork" => {
                let session = match self.words.as_slice().first().map(String::as_str) {
                    Some("setsid") => {
                        self.word();
                        Session::Own
                    }
                    _ => Session::Same,
                };
                again(&self.block(), session);
            }
            "daemon" => {
                let mut words = vec!["fork".to_owned(), "setsid".to_owned(), "[".to_owned()];
                words.extend(self.block());
                words.extend(["]".to_owned(), "exit".to_owned(), "0".to_owned()]);
                let mut middle = again(&words, Session::Own);
                middle.wait().expect("the one between ends");
            }
            "bomb" => match self.number() {
                n @ 2.. => {
                    for _ in 0..2 {
                        again(&["bomb".into(), (n / 2).to_string()], Session::Same);
                    }
                    self.sleep(Duration::from_mins(10));
                }
                _ => self.sleep(Duration::from_mins(10)),
            },
            _ => {
                if let n @ 1.. = self.number() {
                    let words = ["ignore".into(), "TERM".into(), "hop".into(), (n - 1).to_string()];
                    again(&words, Session::Own);
                    process::exit(0);
                }
            }
        }
    }

    fn serve(&mut self, word: &str) {
        let listener = TcpListener::bind(self.word()).expect("the address is free");
        let code = (word == "http").then(|| self.word());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), Some(code)) = (stream, &code) else { continue };
                let status = fs::read_to_string(code).unwrap_or_else(|_| code.clone());
                let mut head = [0; 4096];
                // Who only looks whether somebody is there asks nothing.
                if stream.read(&mut head).is_ok_and(|n| n > 0) {
                    write!(stream, "HTTP/1.1 {} Said\r\nContent-Length: 2\r\n\r\nok", status.trim()).ok();
                }
            }
        });
    }

    fn notify(&mut self, word: &str) {
        let name = env::var("NOTIFY_SOCKET").expect("NOTIFY_SOCKET");
        let to = SocketAddr::from_abstract_name(name.strip_prefix('@').expect("an abstract name")).expect("a name");
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.connect_addr(&to).expect("somebody listens");
        match word {
            "notify-bytes" => {
                let n = usize::try_from(self.number()).expect("a size");
                socket.send(&vec![b'x'; n]).expect("sent");
            }
            "notify-flood" => (0..self.number()).for_each(|n| {
                socket.send(format!("STATUS=flood {n}").as_bytes()).expect("sent");
            }),
            _ => {
                let text = self.word().replace("\\n", "\n");
                let along = [0, 1, 2];
                let rights = [ControlMessage::ScmRights(&along)];
                let rights: &[ControlMessage<'_>] = if word == "notify-fd" { &rights } else { &[] };
                let parts = [IoSlice::new(text.as_bytes())];
                sendmsg::<()>(socket.as_raw_fd(), &parts, rights, MsgFlags::empty(), None).expect("sent");
            }
        }
    }

    fn signals(&mut self, word: &str) {
        match word {
            "ignore" => {
                let signal = self.signal();
                signal_hook::flag::register(signal as i32, Arc::default()).expect("caught");
            }
            "on" => {
                let seen = Arc::new(AtomicBool::new(false));
                let signal = self.signal();
                signal_hook::flag::register(signal as i32, Arc::clone(&seen)).expect("caught");
                let (act, with) = (self.word(), self.word());
                self.told.push(Told { seen, act, with });
            }
            "stop" => raise(Signal::SIGSTOP).expect("stopped"),
            _ => {
                let signal = self.signal();
                // The first may only take a handler of the language's own away.
                loop {
                    raise(signal).expect("raised");
                }
            }
        }
    }

    fn sleep(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            for told in &self.told {
                if told.seen.swap(false, Ordering::SeqCst) {
                    match told.act.as_str() {
                        "touch" => fs::write(&told.with, "").expect("a file is made"),
                        "say" => self.print(&format!("{}\n", told.with)),
                        _ => {
                            let _taken = answer::leave();
                            process::exit(told.with.parse().expect("an exit code"))
                        }
                    }
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(if self.told.is_empty() { left } else { left.min(Duration::from_millis(5)) });
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Session {
    Same,
    Own,
}

/// Another process of the same kind. One that is to have its own session makes it as its first act.
fn again(words: &[String], session: Session) -> process::Child {
    let program = env::current_exe().expect("our own path");
    let first: &[&str] = if session == Session::Own { &["setsid"] } else { &[] };
    Command::new(program).args(first).args(words).stdin(Stdio::null()).spawn().expect("a child")
}

fn nix_close(fd: i32) {
    // Without unsafe code a descriptor is closed by putting another in its place that reaches nobody.
    let null = fs::File::options().write(true).open("/dev/null").expect("/dev/null");
    match fd {
        1 => unistd::dup2_stdout(null).expect("dup2"),
        _ => unistd::dup2_stderr(null).expect("dup2"),
    }
}

fn show(word: &str) -> String {
    match word {
        "env" => lines(env::vars_os().map(|(name, _)| name.display().to_string())),
        "sockets" => answer::sockets(),
        "cwd" => format!("{}\n", env::current_dir().expect("a folder").display()),
        "fds" => {
            let list = fs::read_dir("/proc/self/fd").expect("/proc");
            let mut fds: Vec<(i32, String)> = list
                .flatten()
                .filter_map(|entry| {
                    let to = fs::read_link(entry.path()).ok()?.display().to_string();
                    Some((entry.file_name().to_str()?.parse().ok()?, to))
                })
                // The one that lists them.
                .filter(|(_, to)| !to.starts_with(&format!("/proc/{}/fd", process::id())))
                .collect();
            fds.sort_unstable();
            lines(fds.iter().map(|(fd, to)| format!("fd {fd} {to}")))
        }
        "ids" => {
            let (pid, parent) = (process::id(), std::os::unix::process::parent_id());
            format!("ids {pid} {parent} {} {}\n", unistd::getpgrp(), unistd::getsid(None).expect("a session"))
        }
        _ => {
            let status = fs::read_to_string("/proc/self/status").expect("/proc");
            lines(status.lines().filter(|line| line.starts_with("Sig")).map(str::to_owned))
        }
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}
