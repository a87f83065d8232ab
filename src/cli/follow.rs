//! The logs of a foreground `up`: a thread that reads the files itself, at its own pace, and prints.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::logs::show::Printer;
use crate::logs::{Query, Reader};

/// How long a pause in the logs may hide that we are to end. Not a poll: it only bounds one blocking read.
const GLANCE: Duration = Duration::from_millis(200);

pub(crate) struct Follower {
    finish: Arc<AtomicBool>,
    /// Answers once: how the thread ended.
    pub over: oneshot::Receiver<io::Result<()>>,
}

impl Follower {
    pub(crate) fn start(query: Query, printer: Printer) -> io::Result<Self> {
        let finish = Arc::new(AtomicBool::new(false));
        let (tell, over) = oneshot::channel();
        let asked = Arc::clone(&finish);
        std::thread::Builder::new().name("logs".into()).spawn(move || {
            // Nobody listens any more when a second Ctrl-C has ended the command.
            tell.send(print(query, printer, &asked)).ok();
        })?;
        Ok(Self { finish, over })
    }

    /// Prints what is still to be read, then ends; whoever reads our output may take two seconds.
    pub(crate) async fn finish(self) -> io::Result<()> {
        self.finish.store(true, Ordering::Release);
        match tokio::time::timeout(Duration::from_secs(2), self.over).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

fn print(query: Query, mut printer: Printer, finish: &AtomicBool) -> io::Result<()> {
    let mut reader = Reader::open(query)?;
    let mut lines = Vec::new();
    loop {
        let last = finish.load(Ordering::Acquire);
        match reader.next(Some(GLANCE))? {
            Some(entry) => {
                printer.line(&entry, &mut lines);
                let mut stdout = io::stdout().lock();
                stdout.write_all(&lines)?;
                stdout.flush()?;
                lines.clear();
            }
            None if last => return Ok(()),
            None => {}
        }
    }
}
