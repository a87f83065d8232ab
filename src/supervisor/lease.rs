//! When a lease may be used, when it is due, and when to ask again. Knows expiry, never a secret.
//!
//! ```text
//!  issued                     ask        due                     expires
//!    ├──────────────────────────┼──────────┼──── margin ────────────┤
//!    run lives on it            fresh one  run is outdated once     the old run stays up even so
//!                               asked for  the fresh one is held
//! ```
//!
//! Of a delivery that needs no restart the run lives on whatever is held. Then the fresh one is asked for at half of the
//! life, or up to a tenth of it earlier: whoever is served sees more left than any SDK's own window.

use std::time::Duration;

use super::event::{Lease, Refusal};
use super::jitter::Jitter;
use super::time::{Boot, Mono, Now, Wall};
use crate::manifest::{Delivery, Handover, Service};

/// A lease, and where the wall clock stood when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) lease: Lease,
    arrived: Wall,
    /// Up to a twentieth of the life, fixed at arrival, by which everything happens earlier (a renewal without a restart
    /// by twice that): leases that came together part.
    early: Duration,
}

impl Held {
    pub(super) fn new(lease: Lease, now: Now, jitter: &mut Jitter) -> Self {
        let life = lease.expires.since(lease.issued);
        Self { lease, arrived: now.wall, early: jitter.below(life / 20) }
    }

    pub(super) fn life(&self) -> Duration {
        self.lease.expires.since(self.lease.issued)
    }

    /// Milliseconds left; negative once expired. Counted on boottime; the wall clock may only shorten it, by as much as
    /// it ran ahead of boottime since the lease came (a machine restored from a snapshot; never a clock that was wrong before).
    pub(super) fn left_ms(&self, now: Now) -> i64 {
        let boot = now.boot.0.cast_signed() - self.lease.issued.0.cast_signed();
        let wall = now.wall.0 - self.arrived.0;
        let life = millis(self.life());
        life - boot.max(wall)
    }

    pub(super) fn expired(&self, now: Now) -> bool {
        self.left_ms(now) <= 0
    }

    /// May a run be born with it? Over 2 minutes left, or a tenth of its life.
    pub(super) fn startable(&self, now: Now) -> bool {
        self.left_ms(now) > millis((self.life() / 10).min(Duration::from_mins(2)))
    }

    /// Fresh enough to replace a run for: no run has lived on it, and half its life is left.
    pub(super) fn fresh(&self, now: Now) -> bool {
        self.left_ms(now) > millis(self.life() / 2)
    }

    /// The instant on boottime when so much is left.
    pub(super) fn when_left(&self, now: Now, left: Duration) -> Boot {
        let wait = self.left_ms(now) - millis(left);
        Boot(now.boot.0.saturating_add_signed(wait))
    }

    /// When a run that lives on it is due for replacement.
    pub(super) fn due(&self, now: Now, service: &Service) -> Boot {
        self.when_left(now, margin(service, self.life()) + self.early)
    }

    /// When the fresh one is asked for: so that it is held when the rotation is due, or long before anybody misses it.
    pub(super) fn ask_at(&self, now: Now, service: &Service) -> Boot {
        if !rotates(service) {
            return self.when_left(now, self.life() / 2 + self.early * 2);
        }
        let lead = (self.life() / 10).min(Duration::from_secs(30));
        self.when_left(now, margin(service, self.life()) + self.early + lead)
    }
}

/// Credentials reach the process only when it starts: a renewal means a replacement.
pub(super) fn rotates(service: &Service) -> bool {
    service.role.as_ref().is_some_and(|role| role.delivery == Delivery::Env)
}

/// How long before expiry a rotation is due: enough for stop and start, never more than half the life.
pub(super) fn margin(service: &Service, life: Duration) -> Duration {
    let wanted = service.role.as_ref().and_then(|role| role.rotate_before).unwrap_or_else(|| default_margin(life));
    // Its callers may have as long to leave as it has itself.
    let drain = if service.hands_over(Handover::Forward) { service.stop_timeout } else { Duration::ZERO };
    let needed = drain + service.stop_timeout + service.ready_timeout() + Duration::from_secs(30);
    wanted.max(needed).min(life / 2)
}

fn default_margin(life: Duration) -> Duration {
    if life < Duration::from_mins(15) { life / 3 } else { (life / 6).max(Duration::from_mins(5)) }
}

/// STS said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) attempts: u32,
    pub(super) retry_at: Mono,
}

/// How long to wait after the `attempts`th refusal in a row. `left` and `life`: of the lease the service lives on.
pub(super) fn patience(refusal: &Refusal, attempts: u32, on: Option<&Held>, now: Now, jitter: &mut Jitter) -> Duration {
    if refusal.lasting {
        let (least, most) = (Duration::from_secs(5), Duration::from_mins(2));
        return refusal.retry_after.map_or(most, |after| after.clamp(least, most));
    }
    let mut cap = Duration::from_mins(1);
    if on.is_none_or(|held| held.left_ms(now) < millis(Duration::from_mins(5))) {
        cap = Duration::from_secs(15);
    }
    if let Some(held) = on {
        cap = cap.min((held.life() / 4).max(Duration::from_secs(1)));
    }
    let ceiling = Duration::from_secs(1 << attempts.min(6).saturating_sub(1)).min(cap);
    // Full jitter, but never at once: a refusal that comes back in no time must not become a storm.
    let wait = Duration::from_millis(200) + jitter.below(ceiling.saturating_sub(Duration::from_millis(200)));
    wait.max(refusal.retry_after.unwrap_or_default().min(Duration::from_mins(1)))
}

pub(super) fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}
