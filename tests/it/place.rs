//! Where the binary and the sources are. The compiler saw one place, and `.ci/run` says another: it runs the same test
//! binary as a user who may be unable to enter the clone.

use std::env;
use std::path::PathBuf;

/// The binary under test.
pub(crate) fn devsup() -> PathBuf {
    env::var_os("DEVSUP_TEST_BIN").map_or_else(|| env!("CARGO_BIN_EXE_devsup").into(), PathBuf::from)
}

/// The top of the sources; cargo says it at run time too.
pub(crate) fn sources() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}
