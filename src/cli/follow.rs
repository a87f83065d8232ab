//! The logs of a foreground `up`: a thread that reads the files itself, at its own pace, and prints. While nothing is written
//! it sleeps.

use std::io::{self, BufWriter, PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::sync::oneshot;

use super::terminal::Terminal;
use crate::logs::show::Printer;
use crate::logs::{Alive, Query, Reader};
use crate::sys::poll::{self, For};

pub(crate) struct Follower {
    /// Closed when we are to end.
    finish: PipeWriter,
    /// Answers once: how the thread ended.
    pub over: oneshot::Receiver<io::Result<()>>,
}

impl Follower {
    /// `terminal`: what a person should know about how files are followed is said there.
    pub(crate) fn start(query: Query, alive: Box<Alive>, printer: Printer, terminal: Terminal) -> io::Result<Self> {
        let reader = Reader::open(query)?.alive(alive);
        let woken = reader.wakes()?;
        let (asked, finish) = io::pipe()?;
        let (tell, over) = oneshot::channel();
        let printing = Printing { reader, printer, terminal, woken, asked };
        std::thread::Builder::new().name("logs".into()).spawn(move || {
            // Nobody listens any more when a second Ctrl-C has ended the command.
            tell.send(printing.run()).ok();
        })?;
        Ok(Self { finish, over })
    }

    /// Prints what is still to be read, then ends; whoever reads our output may take two seconds.
    pub(crate) async fn finish(self) -> io::Result<()> {
        drop(self.finish);
        match tokio::time::timeout(Duration::from_secs(2), self.over).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

struct Printing {
    reader: Reader,
    printer: Printer,
    terminal: Terminal,
    woken: Option<OwnedFd>,
    asked: PipeReader,
}

impl Printing {
    fn run(mut self) -> io::Result<()> {
        loop {
            self.print()?;
            let mut waits = vec![(self.asked.as_fd(), For::Reading)];
            waits.extend(self.woken.as_ref().map(|woken| (woken.as_fd(), For::Reading)));
            let out = io::stdout();
            waits.push((out.as_fd(), For::HangUp));
            let ready = poll::wait(&waits, self.reader.look_within())?;
            if ready.last() == Some(&true) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let last = ready.first() == Some(&true);
            if last || self.reader.look_within() == Some(Duration::ZERO) {
                self.reader.look_again()?;
            }
            if last {
                return self.print();
            }
        }
    }

    /// All that there is now: in large pieces, and out when there is nothing more to read.
    fn print(&mut self) -> io::Result<()> {
        if let Some(notice) = self.reader.notice() {
            self.terminal.say(notice);
        }
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let mut lines = Vec::new();
        while let Some(entry) = self.reader.next(Some(Duration::ZERO))? {
            self.printer.line(&entry, &mut lines);
            out.write_all(&lines)?;
            lines.clear();
        }
        out.flush()
    }
}
