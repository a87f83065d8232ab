//! From the service's two pipes, or its terminal, into its log.
//!
//! Reads are big, buffers are given back after a second of silence, and [`Pace`] says how long the pipes are left alone.
//! Trouble with the log never reaches the service: what cannot be written is read, counted and thrown away.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::pace::{Pace, is_full};
use super::protocol::{LogSpec, Report};
use super::ready_line::LineWatch;
use super::terminal::Terminal;
use crate::logs::{Capture, Mark, Pattern, Stream};
use crate::supervisor::Exit;
use crate::sys::pipe::{self, Read};
use crate::sys::poll::For;
use crate::sys::pty::Size;
use crate::sys::{process, tree};

const CHUNK: usize = 256 << 10;
const SILENCE: Duration = Duration::from_secs(1);
/// Between two looks at the socket and at the children while a service writes as fast as it can.
const READS_AT_ONCE: usize = 8;
/// What a read from a terminal takes at most.
const TERMINAL: usize = 4 << 10;

struct Source {
    stream: Stream,
    read: OwnedFd,
    state: SourceState,
    width: Width,
    /// Bytes of a full pipe.
    capacity: usize,
}

impl Source {
    fn pipe(stream: Stream, read: OwnedFd) -> Self {
        let capacity = pipe::capacity(&read);
        Self { stream, read, state: SourceState::Open, width: Width::Default, capacity }
    }

    /// Both streams as one: on a terminal nobody can tell them apart.
    fn terminal(read: OwnedFd) -> Self {
        Self { stream: Stream::Stdout, read, state: SourceState::Open, width: Width::Settled, capacity: TERMINAL }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceState {
    Open,
    /// Every writer has closed it.
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Default,
    /// It was raised, or may not be.
    Settled,
}

enum Got {
    Bytes(usize),
    Nothing,
}

enum Log {
    Writing(Box<Capture>),
    /// Nothing can be written; so many bytes were thrown away.
    Discarding {
        bytes: u64,
        why: String,
    },
}

pub(super) struct Output {
    sources: Vec<Source>,
    terminal: Option<Terminal>,
    log: Log,
    buffer: Option<Vec<u8>>,
    last_read: Duration,
    pace: Pace,
    linger_until: Option<Duration>,
    reported: u64,
    /// Looks for the line that says it is ready, until it was seen.
    lines: Option<LineWatch>,
    line_seen: bool,
    files: u32,
}

/// The ends a service gets as its stdout and stderr.
pub(super) struct Writers {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Output {
    /// With a terminal, the service gets that instead of two pipes.
    pub(super) fn open(
        folder: OwnedFd,
        run: u32,
        spec: LogSpec,
        terminal: Option<Terminal>,
    ) -> io::Result<(Self, Writers)> {
        let (sources, writers) = if let Some(terminal) = &terminal {
            (vec![Source::terminal(terminal.reader()?)], terminal.writers()?)
        } else {
            let (out, stdout) = pipe::pipe()?;
            let (err, stderr) = pipe::pipe()?;
            let sources = vec![Source::pipe(Stream::Stdout, out), Source::pipe(Stream::Stderr, err)];
            (sources, Writers { stdout, stderr })
        };
        let log = match Capture::create(folder, run, spec.file_bytes, spec.redact) {
            Ok(capture) => {
                let patterns = spec.patterns.iter().filter_map(|pattern| Pattern::exact(pattern).ok()).collect();
                Log::Writing(Box::new(capture.masking(patterns)))
            }
            Err(e) => Log::Discarding { bytes: 0, why: format!("the log cannot be created: {e}") },
        };
        let output = Self {
            sources,
            terminal,
            log,
            buffer: None,
            last_read: Duration::ZERO,
            pace: Pace::new(),
            linger_until: None,
            reported: 0,
            lines: None,
            line_seen: false,
            files: 0,
        };
        Ok((output, writers))
    }

    pub(super) fn watch(&mut self, lines: Option<LineWatch>) {
        self.lines = lines;
    }

    pub(super) fn waits_for_line(&self) -> bool {
        self.lines.is_some()
    }

    /// Answers once.
    pub(super) fn line_was_seen(&mut self) -> bool {
        std::mem::take(&mut self.line_seen)
    }

    fn look(&mut self, look: impl FnOnce(&mut LineWatch) -> bool) {
        if self.lines.as_mut().is_some_and(look) {
            self.line_seen = true;
            self.lines = None;
        }
    }

    /// More writers: for a program that runs beside the service and whose output belongs to its log.
    pub(super) fn more_writers(&mut self) -> io::Result<Writers> {
        let writers = match (&self.terminal, self.sources.as_slice()) {
            (None, [out, err]) => {
                Writers { stdout: pipe::another_writer(&out.read)?, stderr: pipe::another_writer(&err.read)? }
            }
            (Some(terminal), _) => terminal.writers()?,
            (None, _) => return Err(io::ErrorKind::NotConnected.into()),
        };
        for source in &mut self.sources {
            source.state = SourceState::Open;
        }
        Ok(writers)
    }

    /// Somebody comes to the service's terminal. Without one, the socket is closed.
    pub(super) fn attach(&mut self, socket: OwnedFd, size: Size) {
        if let Some(terminal) = &mut self.terminal {
            terminal.attach(socket, size);
        }
    }

    /// How the main process ended: those attached are told when everything is over.
    pub(super) fn exited(&mut self, exit: Exit) {
        if let Some(terminal) = &mut self.terminal {
            terminal.exited(exit);
        }
    }

    /// What to wait for; while it lingers, only those attached.
    pub(super) fn waits_for(&self, now: Duration) -> impl Iterator<Item = (BorrowedFd<'_>, For)> {
        let lingers = self.linger_until.is_some_and(|until| now < until);
        self.sources
            .iter()
            .filter(move |source| !lingers && source.state == SourceState::Open)
            .map(|source| (source.read.as_fd(), For::Reading))
            .chain(self.terminal.iter().flat_map(Terminal::waits_for))
    }

    /// When [`Output::tick`] has something to do.
    pub(super) fn due(&self, now: Duration) -> Option<Duration> {
        let log = match &self.log {
            Log::Writing(capture) => capture.due().map(|after| now + after),
            Log::Discarding { .. } => None,
        };
        let buffer = self.buffer.is_some().then_some(self.last_read + SILENCE);
        let lines = self.lines.as_ref().and_then(LineWatch::due);
        [log, buffer, self.linger_until, lines].into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, now: Duration) {
        if self.linger_until.is_some_and(|until| until <= now) {
            self.linger_until = None;
        }
        if self.last_read + SILENCE <= now {
            self.buffer = None;
        }
        self.look(|lines| lines.tick(now));
        if let Log::Writing(capture) = &mut self.log
            && capture.due().is_some_and(|due| due.is_zero())
        {
            capture.tick();
        }
    }

    /// Reads what there is, up to a bound.
    pub(super) fn read(&mut self, now: Duration) {
        // What the fuller pipe held at first, and of how much.
        let mut fullest: Option<(usize, usize)> = None;
        for which in 0..self.sources.len() {
            for turn in 0..READS_AT_ONCE {
                let capacity = self.sources.get(which).map_or(0, |source| source.capacity);
                let Got::Bytes(n) = self.read_once(which, now) else { break };
                if turn == 0 && fullest.is_none_or(|(most, of)| n * of > most * capacity) {
                    fullest = Some((n, capacity));
                }
                if !is_full(n, capacity) {
                    break;
                }
            }
        }
        if let Some((bytes, capacity)) = fullest {
            self.linger_until = self.pace.found(bytes, capacity, now).map(|rest| now + rest);
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.turn();
        }
    }

    /// Reads what is in the pipes at this moment: at most as much as they hold, so that nobody who goes on writing keeps
    /// us here.
    pub(super) fn drain(&mut self, now: Duration) {
        for which in 0..self.sources.len() {
            let mut left = self.sources.get(which).map_or(0, |source| source.capacity.max(CHUNK));
            while let Got::Bytes(n) = self.read_once(which, now) {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        }
    }

    fn read_once(&mut self, which: usize, now: Duration) -> Got {
        let Some(source) = self.sources.get_mut(which).filter(|source| source.state == SourceState::Open) else {
            return Got::Nothing;
        };
        let buffer = self.buffer.get_or_insert_with(|| vec![0; CHUNK]);
        match pipe::read(&source.read, buffer) {
            Read::Empty => Got::Nothing,
            Read::End => {
                source.state = SourceState::Ended;
                let stream = source.stream;
                if let Log::Writing(capture) = &mut self.log {
                    capture.end(stream);
                }
                self.look(|lines| lines.end(stream, now));
                Got::Nothing
            }
            Read::Bytes(n) => {
                self.last_read = now;
                source.widen_when_full(n);
                let bytes = buffer.get(..n).unwrap_or_default();
                if let Some(terminal) = &mut self.terminal {
                    terminal.show(bytes);
                }
                match &mut self.log {
                    Log::Writing(capture) => capture.write(source.stream, bytes),
                    Log::Discarding { bytes: lost, .. } => *lost += n as u64,
                }
                if let Some(lines) = &mut self.lines
                    && lines.feed(source.stream, bytes, now)
                {
                    self.line_seen = true;
                    self.lines = None;
                }
                Got::Bytes(n)
            }
        }
    }

    pub(super) fn mark(&mut self, mark: &Mark) {
        if let Log::Writing(capture) = &mut self.log {
            capture.mark(mark);
        }
    }

    /// A file was begun after the first, once for each.
    pub(super) fn rolled(&mut self) -> Option<Report> {
        let Log::Writing(capture) = &self.log else { return None };
        let files = capture.files();
        let more = files > 1 && files != self.files;
        self.files = files;
        more.then_some(Report::LogRolled { files })
    }

    /// Something to tell the daemon about lost bytes, once for each change.
    pub(super) fn trouble(&mut self) -> Option<Report> {
        let (dropped, what) = match &self.log {
            Log::Writing(capture) => capture.dropped(),
            Log::Discarding { bytes, why } => (*bytes, Some(why.clone())),
        };
        if dropped == self.reported {
            return None;
        }
        self.reported = dropped;
        Some(Report::Logs { dropped, what })
    }

    /// What is left is to tell those attached.
    pub(super) fn finish(self) -> Option<Terminal> {
        if let Log::Writing(mut capture) = self.log {
            for source in self.sources.iter().filter(|source| source.state == SourceState::Open) {
                capture.end(source.stream);
            }
            capture.mark(&Mark::Ended);
            capture.finish();
        }
        self.terminal
    }
}

impl Source {
    /// At the first read that took a full pipe: the service waits for us, or soon would.
    fn widen_when_full(&mut self, n: usize) {
        if self.width == Width::Default && is_full(n, self.capacity) {
            self.width = Width::Settled;
            if room_for_wide_pipes() && pipe::widen(&self.read, CHUNK) {
                self.capacity = pipe::capacity(&self.read);
            }
        }
    }
}

/// Past `pipe-user-pages-soft` every new pipe of the *user* shrinks to two pages, so all keepers of a daemon together
/// stay under a quarter of it.
fn room_for_wide_pipes() -> bool {
    const PAGES_OF_A_RUN: usize = 2 * (CHUNK >> 12);
    let soft = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft")
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok())
        .unwrap_or(16384);
    // 0: no limit.
    soft == 0 || tree::children(process::parent()).len() * PAGES_OF_A_RUN < soft / 4
}
