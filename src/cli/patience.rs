//! Waiting for what a command brought about, never silently: after a second it says for whom, and goes on counting.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::context::Context;
use super::failure::{Failure, Kind};
use super::outcome::{Explained, waiting_line};
use super::project::{Watching, gone};
use super::render::list;
use crate::control::Client;
use crate::control::api::{Service, Watch};
use crate::manifest::Secs;
use crate::supervisor::State;

/// What a look at the services means to the one who waits.
pub(crate) enum Verdict<T> {
    Over(T),
    /// These are still waited for, by name.
    Waiting(Vec<String>),
}

/// Seconds after which a wait is spoken of, and then every ten.
const SPOKEN: [u64; 5] = [1, 3, 5, 7, 10];

/// A little under the first second, so that a wait as old as its count is spoken of.
const A_MOMENT: Duration = Duration::from_millis(900);
/// Every run takes its second until it counts as ready; that is no wait worth a word.
const SETTLING: Duration = Duration::from_secs(2);

/// When the next word about a wait is due.
pub(crate) struct Spoken {
    began: Instant,
    times: usize,
}

impl Spoken {
    pub(crate) fn begin() -> Self {
        Self { began: now(), times: 0 }
    }

    /// Cancelling the wait loses nothing.
    pub(crate) async fn due(&mut self) {
        let last = SPOKEN[SPOKEN.len() - 1];
        let beyond = u64::try_from((self.times + 1).saturating_sub(SPOKEN.len())).unwrap_or(0);
        let at = SPOKEN.get(self.times).copied().unwrap_or(last + 10 * beyond);
        sleep_until(self.began + Duration::from_secs(at)).await;
        self.times += 1;
    }
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Reads the stream until the verdict falls. `limit` is 124.
pub(crate) async fn until<T>(
    context: &Context,
    client: &Client,
    limit: Option<Duration>,
    mut judge: impl FnMut(&Watch) -> Result<Verdict<T>, Failure>,
) -> Result<T, Failure> {
    let mut watching = Watching::open(client).await?;
    let mut spoken = Spoken::begin();
    let end = limit.map(|limit| now() + limit);
    let (mut waited_for, mut explained) = (Vec::new(), Explained::default());
    loop {
        tokio::select! {
            seen = watching.next() => match judge(&seen?.ok_or_else(gone)?)? {
                Verdict::Over(what) => return Ok(what),
                Verdict::Waiting(names) => waited_for = names,
            },
            () = spoken.due() => tell(context, client, &waited_for, &mut explained).await,
            () = sleep_until(end.unwrap_or_else(now)), if end.is_some() => return Err(timed_out(limit, &waited_for)),
        }
    }
}

fn timed_out(limit: Option<Duration>, names: &[String]) -> Failure {
    let limit = Secs(limit.unwrap_or_default());
    Failure::new(Kind::TimedOut, format!("{} did not get there in {limit}", list(names)))
        .hint(format!("devsup ps {}", names.first().map_or("", String::as_str)))
}

/// One line for each that is waited for, fresh from the daemon, because its sentences count. What has only just begun
/// is not spoken of.
pub(crate) async fn tell(context: &Context, client: &Client, names: &[String], explained: &mut Explained) {
    let Ok(services) = client.get::<Vec<Service>>("/v1/services").await else { return };
    for service in services.iter().filter(|service| names.contains(&service.name)) {
        let elapsed = elapsed(service, context.now());
        let usual = if service.state == State::Starting { SETTLING } else { A_MOMENT };
        if elapsed.is_some_and(|elapsed| elapsed < usual) {
            continue;
        }
        let counted = elapsed.map(|elapsed| Secs(elapsed).to_string()).unwrap_or_default();
        context.terminal.say(waiting_line(service, &counted));
        let refusal = service.credentials.as_ref().and_then(|held| held.error.as_ref());
        for line in refusal.filter(|_| service.state == State::Waiting).map(|it| explained.of(it)).unwrap_or_default() {
            context.terminal.say(line);
        }
    }
}

/// Since the service came into its state.
fn elapsed(service: &Service, now: Timestamp) -> Option<Duration> {
    let since = service.since.parse::<Timestamp>().ok()?;
    Duration::try_from(now.duration_since(since).max(SignedDuration::ZERO)).ok()
}
