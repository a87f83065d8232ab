//! `devsup creds`.

mod mfa;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;

use crate::cli::args::Format;
use crate::cli::context::{Context, request_id};
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::patience::{Verdict, until};
use crate::cli::project::{Connection, choose, connect, look};
use crate::cli::render::detail::{Setting, key, refusal};
use crate::cli::stopping::say_notes;
use crate::control::api::{CredentialsJson, Creds as Answer, Done, Service, ServicesRequest, Watch};

/// Each service's role, real identity, expiry and next rotation; what AWS refused and how to mend it
#[derive(Debug, Args)]
#[command(
    after_help = "The identity is asked of AWS with the service's own credentials. No secret is printed.\n`--mfa` shows AWS the code of `[aws] mfa_serial`: it asks for it, or reads it from a pipe.\n\nExamples:\n  devsup creds\n  devsup creds a --refresh\n  devsup creds --mfa\n"
)]
pub(crate) struct Creds {
    /// All that have a role, if none is named
    #[arg(value_name = "SVC")]
    services: Vec<String>,
    /// Ask for fresh credentials now; runs that carry them in their environment are then replaced
    #[arg(long)]
    refresh: bool,
    /// Give AWS an MFA code for the base identity; better typed when asked for than here
    #[arg(
        long,
        value_name = "CODE",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["services", "refresh"]
    )]
    mfa: Option<String>,
}

impl Creds {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        let before = look(context, &connection.client).await?;
        if let Some(code) = self.mfa {
            return mfa::run(context, &connection, &before, code).await;
        }
        choose(&self.services, &before.services)?;
        if self.refresh {
            self.refresh(context, &connection, &before).await?;
        }
        let chosen: Vec<String> = self.services.iter().map(|name| format!("service={name}")).collect();
        let answers: Vec<Answer> = connection.client.get(&format!("/v1/creds?{}", chosen.join("&"))).await?;
        for answer in &answers {
            match context.terminal.format {
                Format::Json => context.terminal.json(answer)?,
                Format::Table => context.terminal.print(&text(answer, &context.setting(&before.project, &[])))?,
            }
        }
        let refused = |answer: &Answer| answer.credentials.as_ref().is_some_and(|held| held.error.is_some());
        Ok(if self.refresh && answers.iter().any(refused) { Code::CREDENTIALS_REFUSED } else { Code::OK })
    }

    /// Until each has been answered: it is on other credentials than before, or a refusal was given since.
    async fn refresh(&self, context: &Context, connection: &Connection, before: &Watch) -> Result<(), Failure> {
        let request = ServicesRequest {
            request: request_id(),
            services: self.services.clone(),
            all: self.services.is_empty(),
            timeout_ms: None,
            no_deps: false,
            force: false,
            environment: connection.handed(context),
        };
        let done: Done = connection.client.post("/v1/refresh", &request).await?;
        say_notes(context, &done);
        let old = answered(before);
        until(context, &connection.client, None, |watch| {
            let new = answered(watch);
            // A held service keeps the credentials it has until it is released: nothing of it changes to wait for.
            let silent = |name: &&String| {
                let waits = |s: &Service| s.name == **name && s.role.is_some() && s.held.is_none();
                watch.services.iter().any(waits) && new.get(*name) == old.get(*name)
            };
            let waiting: Vec<String> = done.services.iter().filter(silent).cloned().collect();
            Ok::<_, Failure>(if waiting.is_empty() { Verdict::Over(()) } else { Verdict::Waiting(waiting) })
        })
        .await
        .map_err(|failure| if failure.kind == Kind::TimedOut { failure.of_kind(Kind::Failed) } else { failure })
    }
}

/// What tells one answer of STS from the next.
fn answered(watch: &Watch) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let answer =
        |held: &CredentialsJson| (held.access_key_id.clone(), held.error.as_ref().map(|error| error.at.clone()));
    let services = watch.services.iter();
    services.filter_map(|service| Some((service.name.clone(), answer(service.credentials.as_ref()?)))).collect()
}

pub(crate) fn text(answer: &Answer, setting: &Setting<'_>) -> String {
    let mut text = format!("{}\n", setting.paint.bold(&answer.service));
    let held = answer.credentials.as_ref();
    let unknown = answer.identity_error.as_ref().map(|error| format!("not known: {error}"));
    let facts = [
        ("role", answer.role.clone().or_else(|| Some("none".to_owned()))),
        ("identity", answer.identity.clone().or(unknown)),
        ("credentials", Some(answer.text.clone())),
        ("", held.map(|held| key(held, setting))),
        ("refused", held.map(|held| refusal(held, setting))),
    ];
    for (label, words) in facts {
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            writeln!(text, "  {}{words}", setting.paint.dim(&format!("{label:<13}"))).ok();
        }
    }
    if let Some(hint) = held.and_then(|held| held.error.as_ref()).and_then(|error| error.hint.as_ref()) {
        text.push_str("  hint\n");
        hint.lines().for_each(|line| writeln!(text, "    {line}").unwrap_or_default());
    }
    text
}
