//! The sandbox's wire: the Rust SDK and requests signed by hand, each refusal with the code that AWS gives.

mod faults;
mod s3;
mod signed;
mod sts;

use std::collections::BTreeMap;
use std::time::Duration;

use devsup::sandbox::{Config, Handle};

const A: &str = "arn:aws:iam::123456789012:role/service-a";
const B: &str = "arn:aws:iam::123456789012:role/service-b";

/// Two roles with a bucket each, and a third bucket that is nobody's.
fn config() -> Config {
    let bucket = |name: &str, roles: &[&str]| (name.to_owned(), roles.iter().map(ToString::to_string).collect());
    Config {
        roles: vec![A.into(), B.into()],
        buckets: BTreeMap::from([
            bucket("bucket1", &["service-a"]),
            bucket("bucket2", &["service-b"]),
            bucket("bucket3", &[]),
        ]),
        lease: Duration::from_mins(1),
        ..Config::default()
    }
}

fn start(config: Config) -> Handle {
    Handle::start(config).expect("a port on loopback")
}

/// Waits until `condition` holds; long enough for a busy machine.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = devsup::sys::clock::monotonic() + Duration::from_secs(30);
    while !condition() {
        assert!(devsup::sys::clock::monotonic() < end, "waited 30 s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
