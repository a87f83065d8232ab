//! How runs end: by themselves, because we said so, or with their keeper; and what that means: a crash, a good end, the
//! end of a replacement.

use super::Supervisor;
use super::event::{Effect, Exit, Happening, RunId, StopWhy};
use super::history::End;
use super::service::Ended;
use super::time::Now;
use crate::manifest::Restart;

impl Supervisor {
    pub(super) fn exited(&mut self, now: Now, id: &RunId, exit: Exit) {
        let Some(slot) = self.slot_mut(&id.service) else { return };
        let Some(run) = slot.run_mut(id.number) else { return };
        if run.exited.is_some() || run.broken.is_some() {
            return;
        }
        let ours = run.stopping.as_ref().map(|stopping| stopping.why.clone());
        run.exited = Some((exit, now.mono));
        slot.last_exit = Some(exit);
        slot.last_trouble = None;
        if let Some(why) = ours {
            slot.remember(id.number, Some(exit), End::Stopped(why), now);
            self.note(&id.service, Some(id.number), Happening::Stopped { exit: Some(exit) });
            return;
        }
        let accepted = match slot.entry.restart {
            Restart::Always => false,
            Restart::OnFailure => exit.success(),
            Restart::Never => true,
        };
        slot.remember(id.number, Some(exit), if accepted { End::Ended } else { End::Crashed }, now);
        self.note(&id.service, Some(id.number), Happening::Exited { exit, crash: !accepted });
        self.ended_by_itself(now, id, Some(exit), accepted);
    }

    /// No process came of it, or its keeper died under it.
    pub(super) fn broke(&mut self, now: Now, id: &RunId, what: &str, keeper: bool) {
        let Some(slot) = self.slot_mut(&id.service) else { return };
        let Some(run) = slot.run_mut(id.number) else { return };
        if run.broken.is_some() {
            return;
        }
        let ours = run.stopping.as_ref().map(|stopping| stopping.why.clone());
        let over = run.exited.is_some();
        run.broken = Some(what.to_owned());
        slot.last_trouble = Some(what.to_owned());
        let by_us = ours.is_some();
        slot.remember(id.number, None, ours.map_or_else(|| End::Broke(what.to_owned()), End::Stopped), now);
        let what = what.to_owned();
        let happening = if keeper { Happening::KeeperLost { what } } else { Happening::StartFailed { what } };
        self.note(&id.service, Some(id.number), happening);
        if !by_us && !over {
            self.ended_by_itself(now, id, None, false);
        }
    }

    /// A run that we did not stop is over. During an overlap the other one decides what that means.
    fn ended_by_itself(&mut self, now: Now, id: &RunId, exit: Option<Exit>, accepted: bool) {
        let Some(at) = self.index(&id.service) else { return };
        let slot = &mut self.slots[at];
        let newer_lives = slot.runs.iter().any(|run| run.number > id.number && run.live());
        let older_lives = slot.runs.iter().any(|run| run.number < id.number && run.live());
        if newer_lives {
            // The old one died before its time: callers wait, the new one is now an ordinary start.
            return;
        }
        if older_lives {
            let what = exit.map_or_else(|| "did not start".to_owned(), |exit| exit.to_string());
            slot.give_back(id.number);
            self.overlap_failed(now, at, &what);
            return;
        }
        slot.replacing = None;
        if !slot.active() || slot.entry.external() {
            return;
        }
        let was_ready = slot.run_mut(id.number).is_some_and(|run| run.ready.is_some());
        if accepted || slot.entry.restart == Restart::Never {
            slot.ended = Some(match exit {
                Some(exit) if exit.success() => Ended::Done { exit, was_ready },
                Some(_) | None => Ended::Failed(exit),
            });
            return;
        }
        self.crashed(now, at, id, exit);
    }

    fn crashed(&mut self, now: Now, at: usize, id: &RunId, exit: Option<Exit>) {
        let slot = &mut self.slots[at];
        let healthy = slot.run_mut(id.number).and_then(|run| run.ready).map(|ready| now.mono.since(ready));
        if healthy.is_some_and(|healthy| healthy >= slot.entry.backoff.reset_after) {
            slot.crashes.count = 0;
        }
        slot.crashes.count += 1;
        let crashes = slot.crashes.count;
        let name = slot.name().clone();
        if slot.entry.max_restarts.is_some_and(|max| crashes > max) {
            slot.ended = Some(Ended::Failed(exit));
            self.note(&name, None, Happening::GaveUp { crashes });
            return;
        }
        let doubled = slot.entry.backoff.first.saturating_mul(1 << (crashes - 1).min(20));
        let wait = self.jitter.around(doubled.min(slot.entry.backoff.max));
        slot.crashes.until = Some(now.mono + wait);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.note(&name, None, Happening::Backoff { crashes, wait_ms });
    }

    /// A newer run beside a serving one did not get ready: the old one stays, and it is tried again later.
    pub(super) fn overlap_failed(&mut self, now: Now, at: usize, what: &str) {
        let slot = &mut self.slots[at];
        slot.overlap_failures += 1;
        let doubled = slot.entry.backoff.first.saturating_mul(1 << (slot.overlap_failures - 1).min(20));
        let wait = self.jitter.around(doubled.min(slot.entry.backoff.max));
        slot.overlap_again = Some(now.mono + wait);
        slot.overlap_why = Some(what.to_owned());
        slot.replacing = None;
        let name = slot.name().clone();
        self.note(&name, None, Happening::Deferred { what: format!("new run not ready: {what}") });
    }

    pub(super) fn gone(&mut self, now: Now, id: &RunId) {
        let Some(slot) = self.slot_mut(&id.service) else { return };
        let Some(at) = slot.runs.iter().position(|run| run.number == id.number) else { return };
        if slot.runs[at].live() {
            // A keeper that ends its run without a word about it.
            let what = "its keeper ended without saying how".to_owned();
            self.broke(now, id, &what, true);
            return self.gone(now, id);
        }
        if let Some(stopping) = slot.runs[at].stopping.clone() {
            slot.remember(id.number, None, End::Stopped(stopping.why), now);
        }
        let run = slot.runs.remove(at);
        if slot.runs.is_empty() {
            slot.see_ports_again();
        }
        let forgotten = slot.last_of_former(&run);
        if let Some(replacing) = &mut slot.replacing {
            replacing.old_ended.get_or_insert(now.mono);
        }
        if matches!(run.stopping.map(|stopping| stopping.why), Some(StopWhy::Replaced(_)))
            && slot.serving().is_some_and(|run| run.ready.is_some())
        {
            // End of an overlap.
            self.replacement_ended(now, &id.service);
        }
        self.effects.extend(forgotten.map(|lease| Effect::Forget { lease }));
    }

    pub(super) fn survived(&mut self, now: Now, id: &RunId, who: Vec<String>) {
        let Some(run) = self.run_mut(id) else { return };
        if run.survivors == who {
            return;
        }
        run.survivors.clone_from(&who);
        run.survived_at.get_or_insert(now.mono);
        self.note(&id.service, Some(id.number), Happening::Survived { who });
    }
}
