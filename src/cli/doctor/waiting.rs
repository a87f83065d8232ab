//! What `doctor` waits for, to be said when it takes longer than a moment.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Clones are handles on the same.
#[derive(Clone, Default)]
pub(super) struct Waits(Rc<RefCell<BTreeSet<String>>>);

impl Waits {
    /// Until it is dropped.
    pub(super) fn on(&self, what: impl Into<String>) -> Waiting {
        let what = what.into();
        self.0.borrow_mut().insert(what.clone());
        Waiting { waits: self.clone(), what }
    }

    /// `None`: for nothing.
    pub(super) fn sentence(&self) -> Option<String> {
        const NAMED: usize = 4;
        let all = self.0.borrow();
        let named: Vec<&str> = all.iter().take(NAMED).map(String::as_str).collect();
        let more = all.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        (!named.is_empty()).then(|| format!("waiting for {}{more}", named.join(", ")))
    }
}

pub(super) struct Waiting {
    waits: Waits,
    what: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waits.0.borrow_mut().remove(&self.what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_named_until_it_came() {
        let waits = Waits::default();
        assert_eq!(waits.sentence(), None);
        let sts = waits.on("STS");
        let roles: Vec<Waiting> = (0..5).map(|n| waits.on(format!("role of s{n}"))).collect();
        let said = "waiting for STS, role of s0, role of s1, role of s2 and 2 more";
        assert_eq!(waits.sentence().as_deref(), Some(said));
        drop(roles);
        assert_eq!(waits.sentence().as_deref(), Some("waiting for STS"));
        drop(sts);
        assert_eq!(waits.sentence(), None);
    }
}
