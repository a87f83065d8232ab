//! Keepers and shims of the real binary, driven through `Link` as the daemon does it.

mod birth;
mod ends;
pub(crate) mod kept;
mod leftovers;
mod starts;
mod terminal;
mod trees;
mod walls;

use std::time::Duration;

use devsup::keeper::protocol::{Order, Report};
use devsup::supervisor::{Exit, StopWhy};

use kept::Setup;

const LONG: Duration = Duration::from_mins(1);

fn stop(timeout: Duration) -> Order {
    Order::Stop { timeout, why: StopWhy::Asked }
}

#[test]
fn a_run_starts_is_stopped_and_leaves_nothing() {
    let setup = Setup::new();
    let mut kept = setup.start(&["touch", "ready", "sleep", "60"]);
    let pid = kept.started();
    setup.wait_for("ready");
    assert_eq!(kept.tree(), [pid]);
    kept.order(&stop(LONG));
    kept.until_gone();
    let said = kept.said();
    assert!(matches!(said.first(), Some(Report::Hello { .. })), "{said:?}");
    assert!(said.contains(&Report::Took { order: "stop".into() }), "{said:?}");
    assert_eq!(kept.exit(), Some(Exit::Signal(15)));
    assert_eq!(kept.reaped(), Exit::Code(0));
    kept.nothing_is_left();
}
