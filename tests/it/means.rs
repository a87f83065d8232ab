//! What a test needs of this machine, and the word that is said where it is not there: a test that proves nothing says so.

use devsup::sys::{isolation, users};

/// Why a test, or a part of it, is not run here.
#[expect(clippy::print_stderr, reason = "a test that is not run says so")]
pub(crate) fn skipped(what: &str) {
    eprintln!("skipped: {what}");
}

/// What a test counted.
#[expect(clippy::print_stderr, reason = "figures for people")]
pub(crate) fn counted(what: &str) {
    eprintln!("{what}");
}

pub(crate) fn is_root() -> bool {
    users::own_uid() == 0
}

/// Only root can become somebody else, and more.
pub(crate) fn root_for(what: &str) -> bool {
    if !is_root() {
        skipped(&format!("{what} needs root"));
    }
    is_root()
}

/// How a run is isolated on this kernel.
pub(crate) fn walls() -> Option<isolation::Means> {
    isolation::means().map_err(|lack| skipped(&format!("no isolation here: {lack}"))).ok()
}
