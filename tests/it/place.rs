//! Where the binary and the sources are. Cargo says so while the tests run, and `.ci/run` says other places: it runs the
//! same test binary as a user who may be unable to enter the clone. What the compiler saw is the answer for a debugger.

use std::env;
use std::path::PathBuf;

/// The binary under test.
pub(crate) fn devsup() -> PathBuf {
    env::var_os("CARGO_BIN_EXE_devsup").map_or_else(|| env!("CARGO_BIN_EXE_devsup").into(), PathBuf::from)
}

/// The top of the sources.
pub(crate) fn sources() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}
