//! The lease in words: the CREDENTIALS column and what stands behind it.

use std::time::Duration;

use super::Supervisor;
use super::lease::Held as Credentials;
use super::service::Slot;
use super::time::Now;
use super::view::LeaseView;
use crate::manifest::{Delivery, Secs};

impl Supervisor {
    pub(super) fn lease_view(slot: &Slot, on: &Credentials, now: Now) -> LeaseView {
        let to_due = slot.rotates().then(|| on.due(now, &slot.entry).since(now.boot));
        LeaseView {
            id: on.lease.id,
            lease: on.lease.clone(),
            rotates: to_due.map(|wait| now.wall + wait),
            left_ms: on.left_ms(now),
        }
    }

    pub(super) fn credentials(slot: &Slot, on: Option<&Credentials>, now: Now) -> String {
        if !slot.entry.needs_lease() {
            return "–".into();
        }
        let code = slot.refused.as_ref().map(|refused| refused.refusal.code.as_str());
        let Some(on) = on else {
            return match code {
                Some(code) => code.to_owned(),
                None if slot.asking.is_some() => "asking".into(),
                None => "–".into(),
            };
        };
        let served = match slot.entry.role.as_ref().map(|role| role.delivery) {
            Some(Delivery::Endpoint) => "served (endpoint), ",
            Some(Delivery::Process) => "served (process), ",
            Some(Delivery::Env) | None => "",
        };
        let left = on.left_ms(now);
        let abs = Secs(Duration::from_millis(left.unsigned_abs()));
        if left <= 0 {
            return match code {
                Some(code) => format!("EXPIRED {abs} ago: {code}"),
                None => format!("EXPIRED {abs} ago"),
            };
        }
        if let Some(code) = code {
            return format!("{served}expires in {abs}: {code}");
        }
        if !slot.rotates() {
            return format!("{served}{abs} left");
        }
        let due = on.due(now, &slot.entry).since(now.boot);
        if due.is_zero() || slot.hold.is_some() {
            return format!("{abs} left");
        }
        format!("{abs} left, rotates in {}", Secs(due))
    }
}
