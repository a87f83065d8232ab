//! Would `devsup up` work here? Every subject is one file: facts in, findings out, by a `judge` that looks at nothing; what
//! is looked at stands in `scene` (this machine), `eyes` (as a service's user) and `ask` (AWS). Called by the verb alone.
//!
//! ```text
//! manifest ─▶ scene ──────────▶ manifest, project, services, machine, inherited ─┐
//!          ├▶ eyes (each user) ─▶ services, metadata                              ├─▶ page
//!          └▶ ask (AWS) ────────▶ base, region, clock, sts, roles ────────────────┘
//! ```
//!
//! It starts nothing, makes nothing and changes nothing, asks no daemon, and is over within a minute. What must never
//! happen: a secret in a finding; an assumed role's credentials outlive the look.

mod ask;
mod base;
mod clock;
mod eyes;
mod finding;
mod imds;
mod inherited;
mod machine;
mod manifest;
mod metadata;
mod page;
mod project;
mod region;
mod roles;
mod scene;
mod services;
mod sts;
#[cfg(test)]
mod tests;
mod waiting;

pub(crate) use eyes::be as see;
pub(crate) use page::{code, text};

use std::collections::BTreeSet;

use finding::{Finding, Verdict};
use scene::Scene;
use waiting::Waits;

use super::context::Context;
use super::failure::Failure;
use super::patience::Spoken;
use crate::control::Found;
use crate::manifest::{Loaded, Manifest, Name, Service, Trust};

/// What is to be looked at.
pub(crate) struct Subject<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) trust: Trust,
    /// The project as it is on this machine, up or down.
    pub(crate) found: Option<&'a Found>,
    /// Those asked for, with what they depend on.
    pub(crate) services: Vec<Service>,
    /// Those of them that `up` would start.
    pub(crate) wanted: BTreeSet<Name>,
    pub(crate) sandbox: bool,
}

/// These services and all they depend on; all services, if none is named.
pub(crate) fn with_dependencies(manifest: &Manifest, named: &[Name]) -> Vec<Service> {
    let mut next: Vec<&Name> =
        if named.is_empty() { manifest.services.keys().collect() } else { named.iter().collect() };
    let mut seen = BTreeSet::new();
    while let Some(name) = next.pop() {
        let Some(service) = manifest.services.get(name).filter(|_| seen.insert(name)) else { continue };
        next.extend(service.depends_on.keys());
    }
    seen.into_iter().filter_map(|name| manifest.services.get(name)).map(|service| (**service).clone()).collect()
}

/// Which of them `up` would start: those that are named, else those with autostart; and what they depend on.
pub(crate) fn wanted(manifest: &Manifest, named: &[Name]) -> BTreeSet<Name> {
    let autostart = manifest.services.values().filter(|service| service.autostart).map(|service| service.name.clone());
    let roots: Vec<Name> = if named.is_empty() { autostart.collect() } else { named.to_vec() };
    if roots.is_empty() {
        return BTreeSet::new();
    }
    with_dependencies(manifest, &roots).into_iter().map(|service| service.name).collect()
}

/// Looks at everything; what takes longer than a moment is said to be waited for.
pub(crate) async fn examine(context: &Context, subject: &Subject<'_>) -> Result<Vec<Finding>, Failure> {
    let local = tokio::task::LocalSet::new();
    local.run_until(look(context, subject)).await
}

async fn look(context: &Context, subject: &Subject<'_>) -> Result<Vec<Finding>, Failure> {
    let mut findings = manifest::judge(subject.loaded, subject.trust);
    let scene = Scene::of(context, subject);
    findings.extend(project::judge(&scene.project(subject)));
    let waits = Waits::default();
    let (seen, asked) = {
        let all = async { tokio::join!(scene.see(&waits), ask::ask(context, subject, &waits)) };
        tokio::pin!(all);
        let mut spoken = Spoken::begin();
        loop {
            tokio::select! {
                both = &mut all => break both,
                () = spoken.due() => {
                    waits.sentence().into_iter().for_each(|sentence| context.terminal.say(sentence));
                }
            }
        }
    };
    findings.extend(scene.services(&seen).iter().flat_map(services::judge));
    findings.extend(machine::judge(&scene.machine()));
    findings.extend(inherited::judge(&inherited::facts(&context.env, &subject.services, subject.sandbox)));
    if scene.asks_metadata() {
        findings.extend(metadata::judge(&scene.users(seen)));
    }
    findings.extend(asked?);
    Ok(findings.into_iter().map(|finding| soften(finding, &subject.wanted)).collect())
}

/// What only concerns a service that `up` would not start is in nobody's way.
fn soften(finding: Finding, wanted: &BTreeSet<Name>) -> Finding {
    let idle = finding.service.as_deref().is_some_and(|service| !wanted.contains(service));
    if finding.verdict != Verdict::Error || !idle {
        return finding;
    }
    let detail = finding.detail.as_ref().map_or_else(String::new, |detail| format!("{detail}; "));
    let detail = Some(format!("{detail}`up` does not start it (`autostart = false`)"));
    Finding { verdict: Verdict::Warn, detail, ..finding }
}
