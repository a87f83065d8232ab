//! Ready and alive: what a service says of itself, what it is asked, and who answers on its port.

mod asked;
mod external;
mod live;
mod probes;
mod said;
mod stranger;

use std::sync::atomic::{AtomicU32, Ordering};

use crate::project::misbehave;

/// An address of this machine that no other test has: the whole of 127.0.0.0/8 is loopback.
pub(crate) fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(2);
    let pid = std::process::id();
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{n}:8001", 1 + pid / 250 % 250, pid % 250)
}

/// As a list of words for a manifest.
fn words(words: &str) -> String {
    let program = misbehave();
    let all: Vec<String> = [program.as_str()].into_iter().chain(words.split(' ')).map(|w| format!("{w:?}")).collect();
    format!("[{}]", all.join(", "))
}
