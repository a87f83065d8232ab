//! One attachment: our terminal is the run's until the run ends, the person leaves, or somebody ends us. In each case the
//! terminal is as it was afterwards.

use std::io::{self, Write as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};

use super::detach::{Keys as DetachKeys, Lookout, Wish};
use super::failure::{Failure, Kind};
use super::screen::Screen;
use crate::control::Attachment;
use crate::control::api::ExitJson;
use crate::control::attach::{Begun, Word, Words};
use crate::sys::raw::{Keys, Raw, Resizes, size};
use crate::sys::tty::{Interruption, Interruptions};

/// Keys that the service does not take; more are lost, for the person must be able to leave.
const KEYS_WAITING: usize = 64 << 10;

/// How it ended.
#[derive(Debug)]
pub(crate) enum Left {
    /// By the person.
    Detached,
    /// The run has ended, if it could be said how; or nobody knows.
    Ended(Option<ExitJson>),
    Interrupted(Interruption),
}

pub(crate) struct Attached<'a> {
    service: &'a str,
    from: ReadHalf<Attachment>,
    to: WriteHalf<Attachment>,
    words: Words,
    lookout: Lookout,
    waiting: Vec<u8>,
    screen: Screen,
    line: Line,
    exit: Option<ExitJson>,
}

/// Where the service's last byte left the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Begun,
    Ended,
}

impl<'a> Attached<'a> {
    /// Waits for the first word: which run it is. `None`: it was over before we came.
    pub(crate) async fn begin(
        service: &'a str,
        attachment: Attachment,
        keys: DetachKeys,
    ) -> Result<Option<(Self, Begun)>, Failure> {
        let (from, to) = split(attachment);
        let mut attached = Self {
            service,
            from,
            to,
            words: Words::default(),
            lookout: Lookout::new(keys),
            waiting: Vec::new(),
            screen: Screen::default(),
            line: Line::Ended,
            exit: None,
        };
        let mut buffer = vec![0; 4096];
        loop {
            if let Ok(Some(Word::Run(begun))) = attached.words.next_word() {
                return Ok(Some((attached, begun)));
            }
            match attached.from.read(&mut buffer).await {
                Ok(n @ 1..) => attached.words.take(&buffer[..n]),
                Ok(0) | Err(_) => return Ok(None),
            }
        }
    }

    pub(crate) async fn stay(mut self, interruptions: &mut Interruptions) -> Result<Left, Failure> {
        let no_terminal = |error: io::Error| Failure::new(Kind::Failed, "this terminal cannot be used").cause(error);
        let mut keys = Keys::read().map_err(no_terminal)?;
        let mut resizes = Resizes::catch().map_err(no_terminal)?;
        let raw = Raw::enter().map_err(no_terminal)?;
        let left = self.pass_on(&mut keys, &mut resizes, interruptions).await;
        let mut undo = self.screen.undo();
        if self.line == Line::Begun {
            // What is said next is not said behind a prompt.
            undo.extend_from_slice(b"\r\n");
        }
        let undone = write(&undo);
        drop(raw);
        undone?;
        left
    }

    async fn pass_on(
        &mut self,
        keys: &mut Keys,
        resizes: &mut Resizes,
        interruptions: &mut Interruptions,
    ) -> Result<Left, Failure> {
        let mut buffer = vec![0; 64 << 10];
        // It may have changed since we asked to be let in.
        self.resized();
        loop {
            tokio::select! {
                why = interruptions.next() => return Ok(Left::Interrupted(why)),
                typed = keys.next() => match typed {
                    Some(typed) => if self.typed(&typed) == Wish::Leave {
                        return Ok(Left::Detached);
                    },
                    None => return Ok(Left::Interrupted(Interruption::HangUp)),
                },
                () = resizes.next() => self.resized(),
                // One who has gone is noticed by reading: what he said last is still to be read.
                written = self.to.write(&self.waiting), if !self.waiting.is_empty() => match written {
                    Ok(n @ 1..) => drop(self.waiting.drain(..n)),
                    Ok(0) | Err(_) => self.waiting.clear(),
                },
                read = self.from.read(&mut buffer) => match read {
                    Ok(n @ 1..) => self.heard(&buffer[..n])?,
                    Ok(0) | Err(_) => return Ok(Left::Ended(self.exit)),
                },
            }
        }
    }

    fn typed(&mut self, typed: &[u8]) -> Wish {
        let mut through = Vec::new();
        let wish = self.lookout.typed(typed, &mut through);
        if !through.is_empty() && self.waiting.len() < KEYS_WAITING {
            Word::Keys(through).put(&mut self.waiting);
        }
        wish
    }

    fn resized(&mut self) {
        if let Some(size) = size() {
            Word::Size(size).put(&mut self.waiting);
        }
    }

    fn heard(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.words.take(bytes);
        while let Ok(Some(word)) = self.words.next_word() {
            match word {
                Word::Output(bytes) => {
                    self.screen.saw(&bytes);
                    self.line = if bytes.ends_with(b"\n") { Line::Ended } else { Line::Begun };
                    write(&bytes)?;
                }
                Word::Missed(bytes) => {
                    let line = format!("\r\n── {bytes} bytes not shown here; all: devsup logs {} ──\r\n", self.service);
                    write(line.as_bytes())?;
                }
                Word::Ended(exit) => self.exit = Some(exit.into()),
                Word::Run(_) | Word::Keys(_) | Word::Size(_) => {}
            }
        }
        Ok(())
    }
}

/// As it is: what the service wrote is meant for a terminal, and this is one.
fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}
