//! Asks AWS, or the embedded stand-in for it, as the daemon would with the environment that this was typed in.

use std::time::Duration;

use tokio::time::Instant;

use super::finding::Finding;
use super::waiting::Waits;
use super::{Subject, base, clock, region, roles, sts};
use crate::aws::{Base, BaseSpec, SandboxBase, Standing, Who};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::cli::patience::now;
use crate::manifest::{Aws, Service};
use crate::sandbox::{Config, Handle};
use crate::supervisor::Wall;
use crate::sys::{clock as clocks, users};

/// However many roles there are.
const WITHIN: Duration = Duration::from_secs(45);
/// In the order in which they win.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// A manifest without roles asks nobody.
pub(super) async fn ask(context: &Context, subject: &Subject<'_>, waits: &Waits) -> Result<Vec<Finding>, Failure> {
    let roles: Vec<Service> = subject.services.iter().filter(|service| service.needs_lease()).cloned().collect();
    if roles.is_empty() && !subject.services.iter().any(|service| service.inherit_aws) {
        return Ok(vec![Finding::ok("base", "no service has a role: AWS is not asked")]);
    }
    let until = now() + WITHIN;
    let stand_in = subject.sandbox.then(|| start_sandbox(context, subject)).transpose()?;
    let sandbox = stand_in.as_ref().map(sandbox_base);
    let aws = aws(context, subject);
    let region_of_sandbox = sandbox.as_ref().map(|base| base.region.clone());
    let base = Base::new(BaseSpec { aws: aws.clone(), env: context.env.clone(), sandbox });
    let waiting = waits.on("the base identity");
    let standing = base.standing().await;
    drop(waiting);
    let overrides = base.overrides();
    let wall = Wall(i64::try_from(clocks::realtime().as_millis()).unwrap_or(i64::MAX));
    let facts = base::Facts { standing: &standing, sandbox: subject.sandbox, overrides: &overrides, now: wall };
    let mut all = base::judge(&facts);
    all.extend(region::judge(&region::Facts {
        settings: settings(context, subject, region_of_sandbox, &standing),
        base_known: standing.identity.is_ok(),
        roles: !roles.is_empty(),
    }));
    all.extend(clock::judge(standing.skew_ms));
    all.extend(reach(context, &standing));
    all.extend(try_roles(&base, &standing, &roles, &who(subject), until, waits).await);
    // It serves until here.
    drop(stand_in);
    Ok(all)
}

async fn try_roles(
    base: &Base,
    standing: &Standing,
    services: &[Service],
    who: &Who,
    until: Instant,
    waits: &Waits,
) -> Vec<Finding> {
    if services.is_empty() {
        return Vec::new();
    }
    if standing.identity.is_err() || standing.mismatch.is_some() {
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        return vec![roles::untried(&names)];
    }
    roles::try_all(base, services, who, until, waits).await.iter().map(roles::judge).collect()
}

/// `[aws]`, with what was typed over it.
fn aws(context: &Context, subject: &Subject<'_>) -> Aws {
    let mut aws = subject.loaded.manifest.aws.clone();
    aws.profile = context.globals.profile.clone().or(aws.profile);
    aws.region = context.globals.region.clone().or(aws.region);
    aws
}

fn who(subject: &Subject<'_>) -> Who {
    let user = users::name(users::own_uid());
    Who { user, host: users::hostname(), project: subject.loaded.manifest.name.clone() }
}

/// One of our own, on a thread, for as long as this takes: the project's may be down, and gives its credentials to nobody.
fn start_sandbox(context: &Context, subject: &Subject<'_>) -> Result<Handle, Failure> {
    let plan = subject.loaded.manifest.sandbox_plan(context.globals.region.as_deref());
    Handle::start(Config::from(plan))
        .map_err(|error| Failure::new(Kind::Failed, "the sandbox cannot be started").cause(error))
}

fn sandbox_base(handle: &Handle) -> SandboxBase {
    let ready = handle.ready();
    SandboxBase {
        url: ready.url,
        region: ready.region,
        access_key_id: ready.access_key_id,
        secret_access_key: ready.secret_access_key.into(),
        session_token: ready.session_token.map(Into::into),
    }
}

fn settings(
    context: &Context,
    subject: &Subject<'_>,
    sandbox: Option<String>,
    standing: &Standing,
) -> Vec<(&'static str, Option<String>)> {
    let variable = |name| context.variable(name).filter(|value| !value.is_empty());
    let mut all = vec![
        ("`--region`", context.globals.region.clone()),
        ("`[aws] region`", subject.loaded.manifest.aws.region.clone()),
    ];
    if subject.sandbox {
        all.push(("the sandbox", sandbox));
    } else {
        all.extend(["AWS_REGION", "AWS_DEFAULT_REGION"].map(|name| (name, variable(name))));
        all.push(("the base identity's own settings", standing.region.clone()));
    }
    all
}

fn reach(context: &Context, standing: &Standing) -> Option<Finding> {
    let name = PROXIES.into_iter().find(|name| context.variable(name).is_some_and(|value| !value.is_empty()));
    let unreachable = standing.identity.as_ref().is_err_and(|refusal| refusal.code == "Unreachable");
    sts::judge(&sts::Facts {
        endpoint: &standing.endpoint,
        proxy: name.zip(standing.proxy.as_deref()),
        took: standing.took,
        asked: unreachable,
    })
}
