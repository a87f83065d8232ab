//! `devsup sandbox`: the embedded AWS, alone, for other tools; and as the daemon's child under `up --sandbox`.

use std::fmt::Write as _;
use std::io::{self, BufRead as _};

use clap::Args;
use tokio::sync::oneshot;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::verbs::config::{load, trust};
use crate::manifest::SandboxPlan;
use crate::sandbox::{Config, Down, Faults, Ready, Server};
use crate::sys::tty::{Interruption, Interruptions};

/// The embedded stand-in for AWS, alone: prints the variables to export, and serves until Ctrl-C
#[derive(Debug, Args)]
#[command(
    after_help = "STS and a little S3 on loopback, with the roles and [sandbox] buckets of the manifest. For\ntrying and testing: it knows no real credentials, and real AWS knows none of its.\n\nExamples:\n  devsup sandbox\n  devsup sandbox --port 4566 --deny service-b --slow 300\n  devsup sandbox --format json\n"
)]
pub(crate) struct Sandbox {
    /// Listen here, on 127.0.0.1; else on any free port
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Enforce AWS's rules of duration, and the one hour of chained roles
    #[arg(long)]
    strict: bool,
    /// Fault: every call to STS fails, as in an outage
    #[arg(long)]
    down: bool,
    /// Fault: every answer takes this many milliseconds longer
    #[arg(long, value_name = "MS", default_value_t = 0, hide_default_value = true)]
    slow: u64,
    /// Fault: the first so many calls are throttled
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    throttle: u32,
    /// Fault: this role may not be assumed; may be given again
    #[arg(long, value_name = "ROLE")]
    deny: Vec<String>,
    /// Fault: its clock is so many seconds ahead (or behind, if negative)
    #[arg(long, value_name = "S", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    skew: i64,
    /// The base identity is an IAM user who must show a code of this MFA device; it is 123456
    #[arg(long, value_name = "SERIAL")]
    mfa: Option<String>,
    /// Read a manifest that other people may write to
    #[arg(long)]
    insecure_manifest: bool,
    /// The daemon's child: a SandboxPlan as one line of JSON on stdin, Ready as one line on stdout, ends at the end of stdin.
    #[arg(long, hide = true)]
    for_daemon: bool,
}

impl Sandbox {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let mut interruptions = Interruptions::catch()
            .map_err(|error| Failure::new(Kind::Failed, "signals cannot be caught").cause(error))?;
        let config = if self.for_daemon { from_stdin()? } else { self.config(context)? };
        // The daemon's old place may be taken by now; a person's own choice is not overruled.
        let anywhere = Config { port: 0, ..config.clone() };
        let bound =
            Server::bind(config).or_else(|error| if self.for_daemon { Server::bind(anywhere) } else { Err(error) });
        let server = bound.map_err(|error| {
            Failure::new(Kind::Failed, format!("the sandbox cannot listen on port {}", self.port)).cause(error)
        })?;
        let ready = server.ready();
        match context.terminal.format {
            _ if self.for_daemon => context.terminal.json(&ready)?,
            Format::Json => context.terminal.json(&ready)?,
            Format::Table => {
                context.terminal.print(&exports(&ready))?;
                context.terminal.say("the sandbox is up; Ctrl-C ends it");
            }
        }
        let serving = server.serve();
        let end = end_of_stdin(self.for_daemon);
        tokio::pin!(serving, end);
        loop {
            tokio::select! {
                served = &mut serving => {
                    served.map_err(|error| Failure::new(Kind::Failed, "the sandbox has ended").cause(error))?;
                    return Ok(Code::OK);
                }
                () = &mut end => return Ok(Code::OK),
                // Ctrl-C goes to everybody at the terminal; the daemon's child ends with the daemon, not before it.
                why = interruptions.next() => match why {
                    Interruption::Interrupt | Interruption::HangUp if self.for_daemon => {}
                    Interruption::Interrupt => return Ok(Code::INTERRUPTED),
                    Interruption::HangUp => return Ok(Code::HUNG_UP),
                    Interruption::Terminate => return Ok(Code::TERMINATED),
                }
            }
        }
    }

    fn config(&self, context: &Context) -> Result<Config, Failure> {
        let mut loaded = load(context, trust(self.insecure_manifest))?;
        if self.mfa.is_some() {
            // A role has no device: then the base is a user.
            loaded.manifest.aws.base_role = None;
            loaded.manifest.aws.mfa_serial.clone_from(&self.mfa);
        }
        let mut config = Config::from(loaded.manifest.sandbox_plan(context.globals.region.as_deref()));
        config.port = self.port;
        config.strict |= self.strict;
        config.faults = self.faults();
        Ok(config)
    }

    fn faults(&self) -> Faults {
        Faults {
            down: self.down.then_some(Down::Unavailable),
            slow_ms: self.slow,
            throttle: self.throttle,
            deny: self.deny.clone(),
            skew_s: self.skew,
            ..Faults::default()
        }
    }
}

fn from_stdin() -> Result<Config, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let plan = read.and_then(|_| serde_json::from_str::<SandboxPlan>(&line).map_err(io::Error::from));
    plan.map(Config::from).map_err(|error| Failure::new(Kind::Usage, "no plan on stdin").cause(error))
}

/// Never, unless we are the daemon's child.
async fn end_of_stdin(for_daemon: bool) {
    let (tell, told) = oneshot::channel::<()>();
    if !for_daemon {
        return std::future::pending().await;
    }
    std::thread::spawn(move || {
        io::copy(&mut io::stdin().lock(), &mut io::sink()).ok();
        tell.send(()).ok();
    });
    told.await.ok();
}

/// The base identity in the sandbox, for a shell. These keys are worth nothing elsewhere.
fn exports(ready: &Ready) -> String {
    let mut text = String::new();
    let variables = [
        ("AWS_ENDPOINT_URL", Some(&ready.url)),
        ("AWS_REGION", Some(&ready.region)),
        ("AWS_DEFAULT_REGION", Some(&ready.region)),
        ("AWS_ACCESS_KEY_ID", Some(&ready.access_key_id)),
        ("AWS_SECRET_ACCESS_KEY", Some(&ready.secret_access_key)),
        ("AWS_SESSION_TOKEN", ready.session_token.as_ref()),
    ];
    for (name, value) in variables {
        if let Some(value) = value {
            writeln!(text, "export {name}={}", shell_words::quote(value)).ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_can_be_pasted_into_a_shell() {
        let ready = Ready {
            url: "http://127.0.0.1:4566".into(),
            region: "ap-southeast-2".into(),
            access_key_id: "ASIASANDBOX1".into(),
            secret_access_key: "a+b c".into(),
            session_token: None,
        };
        insta::assert_snapshot!(exports(&ready), @r"
        export AWS_ENDPOINT_URL=http://127.0.0.1:4566
        export AWS_REGION=ap-southeast-2
        export AWS_DEFAULT_REGION=ap-southeast-2
        export AWS_ACCESS_KEY_ID=ASIASANDBOX1
        export AWS_SECRET_ACCESS_KEY='a+b c'
        ");
    }
}
