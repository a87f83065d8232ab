//! The services' logs for those who cannot open the files: read on a blocking thread, a bounded piece at a time, whenever
//! the client has taken the last one. Between pieces no thread waits: the kernel says when something was written.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::{Body, Bytes};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::leftovers::keeper_lives;
use super::watched::watched;
use super::world::World;
use crate::control::LogsWanted;
use crate::control::api::{Failed, FailedKind};
use crate::control::server::unfold;
use crate::logs::show::{Format, Printer, Style};
use crate::logs::{Filter, Query, Reader};
use crate::manifest::Name;

/// Each takes an inotify instance, of which a user has few.
const STREAMS: usize = 32;
static PLACES: Semaphore = Semaphore::const_new(STREAMS);

const PIECE: usize = 64 * 1024;
struct Reading {
    /// `None` before it is opened.
    reader: Option<Reader>,
    printer: Printer,
    query: Query,
    locks: PathBuf,
    /// It was asked to look again without having been woken.
    again: bool,
    _place: SemaphorePermit<'static>,
}

/// What one look came to.
struct Piece {
    lines: Vec<u8>,
    /// There may be more at once.
    more: bool,
}

impl World {
    pub(super) fn log_lines(&self, wanted: &LogsWanted) -> Result<Body, Failed> {
        let services: Vec<Name> = if wanted.services.is_empty() {
            self.manifest.services.keys().cloned().collect()
        } else {
            let mut named = BTreeSet::new();
            let once = wanted.services.iter().filter(|name| named.insert(*name));
            once.map(|name| self.known(name)).collect::<Result<_, _>>()?
        };
        let place = PLACES.try_acquire().map_err(|_| {
            Failed::new(FailedKind::Failed, format!("{STREAMS} are reading logs already")).hint("try again in a moment")
        })?;
        let style = Style { format: Format::Json, prefix: false, times: false, color: false, terminal: false };
        let printer = Printer::new(style, &services);
        let filter = Filter::of(&wanted.filter).map_err(|error| Failed::new(FailedKind::Usage, error))?;
        let (logs, all) = (self.brought.folder.logs(), wanted.services.is_empty());
        let query = Query { logs, services, tail: wanted.tail, follow: wanted.follow, all, filter };
        let locks = self.brought.folder.path().join("services");
        let reading = Reading { reader: None, printer, query, locks, again: false, _place: place };
        Ok(unfold((reading, None), |(reading, woken)| Box::pin(next(reading, woken))))
    }
}

type Woken = Option<AsyncFd<OwnedFd>>;

async fn next(mut reading: Reading, mut woken: Woken) -> Option<(Bytes, (Reading, Woken))> {
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let piece = reading.piece();
            (reading, piece)
        });
        let (back, piece) = looked.await.ok()?;
        reading = back;
        let piece = piece.inspect_err(|error| tracing::warn!(%error, "logs could not be read for a client")).ok()?;
        if !piece.lines.is_empty() {
            return Some((piece.lines.into(), (reading, woken)));
        }
        if piece.more {
            continue;
        }
        if !reading.query.follow {
            return None;
        }
        let reader = reading.reader.as_ref()?;
        if woken.is_none() {
            woken = reader.wakes().ok()?.map(watched).transpose().ok()?;
            // What was written before anybody listened wakes nobody.
            if woken.is_some() {
                continue;
            }
        }
        reading.again = sleep(&mut woken, reader.look_within()).await;
    }
}

/// Until something was written, or it is time to look again: that is answered.
async fn sleep(woken: &mut Woken, within: Option<Duration>) -> bool {
    // However often we are woken meanwhile.
    if within == Some(Duration::ZERO) {
        return true;
    }
    let written = async {
        let Some(woken) = woken else { return std::future::pending().await };
        // Cleared before the look that follows, so that nothing which comes during it is missed.
        if let Ok(mut ready) = woken.readable().await {
            ready.clear_ready();
        }
    };
    let due = async {
        match within {
            Some(within) => tokio::time::sleep(within).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = written => false,
        () = due => true,
    }
}

impl Reading {
    fn open(&self) -> std::io::Result<Reader> {
        let (locks, logs) = (self.locks.clone(), self.query.logs.clone());
        let alive = move |name: &Name, run| keeper_lives(&locks, &logs, name.as_str(), run, true);
        Ok(Reader::open(self.query.clone())?.alive(Box::new(alive)))
    }

    fn piece(&mut self) -> std::io::Result<Piece> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open()?,
        };
        if std::mem::take(&mut self.again) {
            reader.look_again()?;
        }
        let patience = self.query.follow.then_some(Duration::ZERO);
        let mut piece = Piece { lines: Vec::new(), more: true };
        while piece.lines.len() < PIECE {
            let Some(entry) = reader.next(patience)? else {
                piece.more = false;
                break;
            };
            self.printer.line(&entry, &mut piece.lines);
        }
        self.reader = Some(reader);
        Ok(piece)
    }
}
