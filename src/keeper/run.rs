//! One run: its main process, its tree, and how it ends.
//!
//! ```text
//! main process   Starting ──exec──▶ Running ──▶ Ended
//! ending         No ──Stop──▶ Command ──▶ Asked ──timeout──▶ Forced      (Kill: straight to Forced)
//! ```
//!
//! The run is over when the main process has ended and no descendant is left. A main process that ends by itself is
//! reported at once; what it leaves behind is ended with the same grace as by a stop.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::link::exit;
use super::outbox::Outbox;
use super::output::Output;
use super::protocol::{Order, Report, StopSpec};
use super::ready::Checks;
use super::starter::{Starter, Verdict};
use super::stop_command::StopCommand;
use super::tree::{self, Main, Tree};
use crate::logs::Mark;
use crate::manifest::StopMode;
use crate::supervisor::{Reason, StopWhy};
use crate::sys::clock::monotonic;
use crate::sys::process::{self, End, Waited};
use crate::sys::signal;

/// After SIGKILL nobody should live this long; who does is named.
const SURVIVES: Duration = Duration::from_secs(2);

enum Leader {
    Starting(Starter),
    Running { pid: u32 },
    Ended,
}

enum Ending {
    No,
    /// `stop_command` runs.
    Command {
        deadline: Duration,
    },
    /// The stop signal was sent.
    Asked {
        deadline: Duration,
    },
    /// SIGKILL was sent.
    Forced {
        again: Duration,
        pause: Duration,
        name_survivors: Duration,
    },
}

pub(super) struct Run {
    pub(super) output: Output,
    pub(super) outbox: Outbox,
    stop: StopSpec,
    why: Vec<Reason>,
    spec: OwnedFd,
    tree: Tree,
    leader: Leader,
    ending: Ending,
    command: Option<StopCommand>,
    checks: Checks,
    /// Nobody is left.
    over: bool,
}

impl Run {
    pub(super) fn new(
        starter: Starter,
        spec: OwnedFd,
        stop: StopSpec,
        why: Vec<Reason>,
        tree: Tree,
        output: Output,
        checks: Checks,
    ) -> Self {
        Self {
            output,
            outbox: Outbox::default(),
            stop,
            why,
            spec,
            tree,
            leader: Leader::Starting(starter),
            ending: Ending::No,
            command: None,
            checks,
            over: false,
        }
    }

    /// Nobody is left, and the main process was reported.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The shims' ends, and what the service says of itself; to be followed by [`Run::listen`].
    pub(super) fn waits_for(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let leader = match &self.leader {
            Leader::Starting(starter) => Some(starter.waits_for()),
            Leader::Running { .. } | Leader::Ended => None,
        };
        let command = self.command.as_ref().and_then(StopCommand::waits_for);
        // Before it is the service it says nothing, and what was given to it may be closed.
        let checks = (!matches!(self.leader, Leader::Starting(_))).then(|| self.checks.waits_for());
        leader.into_iter().chain(command).chain(checks.into_iter().flatten())
    }

    /// What says that the cgroup was emptied, to be followed by [`Run::reap`].
    pub(super) fn group_changes(&self) -> Option<BorrowedFd<'_>> {
        self.tree.changes()
    }

    pub(super) fn due(&self) -> Option<Duration> {
        let ending = match self.ending {
            Ending::No => None,
            Ending::Command { deadline } | Ending::Asked { deadline } => Some(deadline),
            Ending::Forced { again, .. } => Some(again),
        };
        ending.into_iter().chain(self.checks.due()).min()
    }

    pub(super) fn tick(&mut self, now: Duration) {
        self.checks.tick(now);
        match self.ending {
            Ending::Command { deadline } | Ending::Asked { deadline } if deadline <= now => self.force(now),
            Ending::Forced { again, pause, name_survivors } if again <= now => {
                self.tree.kill_all(self.main());
                let mut name_survivors = name_survivors;
                if name_survivors <= now {
                    self.name_survivors();
                    name_survivors = now + SURVIVES;
                }
                let pause = (pause * 2).min(SURVIVES / 4);
                self.ending = Ending::Forced { again: now + pause, pause, name_survivors };
            }
            Ending::No | Ending::Command { .. } | Ending::Asked { .. } | Ending::Forced { .. } => {}
        }
    }

    fn name_survivors(&mut self) {
        let who = self.tree.survivors();
        if !who.is_empty() {
            self.outbox.put(Report::Survived { who });
        }
    }

    /// What the shims said, and the service of itself.
    pub(super) fn listen(&mut self) {
        if let Some(command) = &mut self.command {
            command.listen();
        }
        let Leader::Starting(starter) = &mut self.leader else {
            return self.checks.listen(monotonic(), &mut self.outbox);
        };
        let pid = starter.pid;
        let verdict = starter.listen();
        if let Some(how) = starter.isolation() {
            self.outbox.put(Report::Isolation { how });
        }
        match verdict {
            Verdict::Undecided => {}
            Verdict::Became => {
                self.leader = Leader::Running { pid };
                self.outbox.put(Report::Started { pid });
                self.output.mark(&Mark::Started { pid, why: std::mem::take(&mut self.why) });
            }
            Verdict::Failed { stage, what } => {
                self.leader = Leader::Ended;
                self.outbox.put(match self.ending {
                    // It did not fail: we killed it on its way.
                    Ending::Forced { .. } => Report::Exited { exit: exit(End::Signal(signal::KILL)) },
                    Ending::No | Ending::Command { .. } | Ending::Asked { .. } => Report::StartFailed { stage, what },
                });
            }
        }
    }

    /// Was there a line of output that says it is ready?
    pub(super) fn tell_line(&mut self) {
        if self.output.line_was_seen() {
            self.outbox.put(Report::Ready);
        }
    }

    pub(super) fn obey(&mut self, order: &Order, now: Duration) {
        if !matches!(order, Order::Probe { .. }) {
            self.outbox.put(Report::Took { order: order.word().to_owned() });
        }
        match order {
            Order::Stop { timeout, why } => self.stop(*timeout, why.clone(), now),
            Order::Kill => self.force(now),
            Order::Signal { signal, main: false } => self.tree.signal_all(self.main(), &self.beside(), *signal),
            Order::Signal { signal, main: true } => {
                if let Leader::Running { pid } = self.leader {
                    drop(signal::send(pid, *signal));
                }
            }
            Order::Probe { which, timeout } => {
                if matches!((&self.leader, &self.ending), (Leader::Running { .. }, Ending::No)) {
                    self.checks.probe(*which, *timeout, self.spec.as_fd(), now, &mut self.outbox);
                }
            }
            // The connection came beside it: see `attach`.
            Order::Attach { .. } => {}
            Order::LookForDebugger => {
                let by = tree::debugger(&self.beside());
                self.outbox.put(Report::Traced { by });
            }
        }
    }

    /// The daemon is gone: the run ends in the ordinary way, by the specification it was started with.
    pub(super) fn lost_daemon(&mut self, now: Duration) {
        if matches!(self.ending, Ending::No) {
            self.stop(self.stop.timeout, StopWhy::Asked, now);
        }
    }

    fn stop(&mut self, timeout: Duration, why: StopWhy, now: Duration) {
        let until = now.saturating_add(timeout);
        match &mut self.ending {
            Ending::Command { deadline } | Ending::Asked { deadline } => *deadline = until.min(*deadline),
            Ending::Forced { .. } => {}
            Ending::No => {
                self.output.mark(&Mark::Stopping { why });
                self.checks.kill_probes();
                // It may have become the service just now.
                self.listen();
                match self.leader {
                    // Nothing of the service runs yet, so there is nothing to be polite to.
                    Leader::Starting(_) => self.force(now),
                    Leader::Running { .. } if self.stop.command.is_some() => self.run_command(until),
                    Leader::Running { .. } | Leader::Ended => self.ask(until),
                }
            }
        }
    }

    fn run_command(&mut self, deadline: Duration) {
        match StopCommand::start(self.spec.as_fd(), &mut self.output) {
            Ok(command) => {
                self.command = Some(command);
                self.ending = Ending::Command { deadline };
            }
            Err(what) => {
                self.outbox.put(Report::StopCommandFailed { what });
                self.ask(deadline);
            }
        }
    }

    /// The stop signal, once. SIGCONT after it, so that what is stopped can die of it.
    fn ask(&mut self, deadline: Duration) {
        self.ending = Ending::Asked { deadline };
        for signal in [self.stop.signal, signal::CONT] {
            match (self.stop.mode, &self.leader) {
                (StopMode::Main, Leader::Running { pid }) => drop(signal::send(*pid, signal)),
                _ => self.tree.signal_all(self.main(), &self.beside(), signal),
            }
        }
    }

    fn force(&mut self, now: Duration) {
        const FIRST: Duration = Duration::from_millis(2);
        if !matches!(self.ending, Ending::Forced { .. }) {
            self.ending = Ending::Forced { again: now + FIRST, pause: FIRST, name_survivors: now + SURVIVES };
        }
        self.tree.kill_all(self.main());
    }

    fn main(&self) -> Main {
        match &self.leader {
            // Without a session of its own yet, perhaps.
            Leader::Starting(_) | Leader::Ended => Main::Gone,
            Leader::Running { pid } => Main::Alive(*pid),
        }
    }

    fn command_pid(&self) -> Option<u32> {
        self.command.as_ref().map(|command| command.pid)
    }

    /// Children of ours that are no part of the tree.
    fn beside(&self) -> Vec<u32> {
        self.command_pid().into_iter().chain(self.checks.pids()).collect()
    }

    /// Takes the ends of all children that have ended, and looks who is left.
    pub(super) fn reap(&mut self, now: Duration) {
        let led = !matches!(self.leader, Leader::Ended);
        let nobody = loop {
            match process::wait(None) {
                Waited::Ended(pid, end) => self.ended(pid, end, now),
                Waited::Alive | Waited::NoChildren => break self.tree.is_empty(&self.beside()),
            }
        };
        // Not before all the dead are taken: they are nobody that it left behind.
        if led && matches!(self.leader, Leader::Ended) && self.tree.has_members(&self.beside()) {
            self.ask_those_left(now);
        }
        if !nobody {
            if matches!(self.ending, Ending::Forced { .. }) {
                // Those who died may have left new orphans to us.
                self.tree.kill_all(self.main());
            }
            return;
        }
        // There is nothing left to stop or to ask. Their own ends come back here.
        self.checks.kill_probes();
        match &self.command {
            Some(command) => command.kill(),
            None => self.over = matches!(self.leader, Leader::Ended) && self.beside().is_empty(),
        }
    }

    fn ended(&mut self, pid: u32, end: End, now: Duration) {
        if self.checks.ended(pid, end, &mut self.outbox) {
            return;
        }
        if self.command_pid() == Some(pid) {
            let Some(command) = self.command.take() else { return };
            if let Some(what) = command.ended(end) {
                self.outbox.put(Report::StopCommandFailed { what });
            }
            if let Ending::Command { deadline } = self.ending {
                self.ask(deadline);
            }
            return;
        }
        if matches!(&self.leader, Leader::Starting(starter) if starter.pid == pid) {
            // It ended before we heard that it became the service, or that it could not.
            self.listen();
        }
        if matches!(self.leader, Leader::Running { pid: leader } if leader == pid) {
            self.leader_ended(end, now);
        }
    }

    fn leader_ended(&mut self, end: End, now: Duration) {
        self.leader = Leader::Ended;
        // What it said before it ended comes before its end.
        self.checks.listen(now, &mut self.outbox);
        if self.output.waits_for_line() {
            self.output.drain(now);
            self.tell_line();
        }
        let exit = exit(end);
        self.outbox.put(Report::Exited { exit });
        self.output.exited(exit);
        self.output.drain(now);
        self.output.mark(&Mark::Exited { exit });
    }

    /// The main process has ended and others live on.
    fn ask_those_left(&mut self, now: Duration) {
        match self.ending {
            Ending::No => {
                self.output.mark(&Mark::Stopping { why: StopWhy::Leftover });
                self.ask(now.saturating_add(self.stop.timeout));
            }
            // Those who were not asked yet are asked now, within the same time.
            Ending::Command { deadline } => self.ask(deadline),
            Ending::Asked { deadline } if self.stop.mode == StopMode::Main => self.ask(deadline),
            Ending::Asked { .. } | Ending::Forced { .. } => {}
        }
    }
}
