//! Asks AWS on the loop's own thread, a bounded number at once, and makes what a child gets of the answers.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::clocks::now;
use super::system::at_boot;
use super::world::{Fact, World};
use crate::aws::{Base, BaseSpec, ChildEnvironment, ChildSpec, Handed, Login, SandboxBase, Who, child_environment};
use crate::manifest::{Aws, Name, Secs, Service, read_env_files};
use crate::supervisor::{AskId, By, Command, Event, Refusal, Want};
use crate::sys::users;

/// STS answers a hundred roles in well under a second at this width, and is not flooded.
pub(super) const ASKS_AT_ONCE: usize = 16;

impl World {
    pub(super) fn ask(&mut self, ask: AskId, service: Arc<Service>) {
        let Some(base) = self.base.clone() else {
            let refusal = no_sandbox();
            let refused = Event::Refused { ask, service: service.name.clone(), refusal };
            drop(self.facts.send(Fact::Event(refused)));
            return;
        };
        let (facts, asking, who) = (self.facts.clone(), Rc::clone(&self.asking), self.who());
        let (system, began) = (self.brought.system, self.brought.began);
        drop(tokio::task::spawn_local(async move {
            let Some(role) = &service.role else { return };
            let place = asking.acquire().await;
            let answer = base.assume(&service, role, &who).await;
            let name = service.name.clone();
            let fact = match answer {
                Ok(grant) => {
                    let region = base.region().await;
                    Fact::Granted { ask, service: name, grant: Box::new(grant), region }
                }
                Err(refusal) => {
                    let up_for = Duration::from_millis(now().mono.0.saturating_sub(began.0));
                    let refusal = if system { at_boot(refusal, up_for) } else { refusal };
                    Fact::Refused { ask, service: name, refusal }
                }
            };
            drop(place);
            drop(facts.send(fact));
        }));
    }

    pub(super) fn who(&self) -> Who {
        let user = users::name(users::own_uid());
        Who { user, host: users::hostname(), project: self.manifest.name.clone() }
    }

    /// `[aws]`, with what the command line said over it.
    pub(super) fn aws(&self) -> Aws {
        let mut aws = self.manifest.aws.clone();
        aws.profile = self.brought.profile.clone().or(aws.profile);
        aws.region = self.brought.region.clone().or(aws.region);
        aws
    }

    /// Makes the base identity anew: at the start, when the environment or `[aws]` changed, when the sandbox came back.
    pub(super) fn make_base(&mut self) {
        let old = self.base.take();
        self.base_identity = None;
        self.lent.begin_anew();
        if self.brought.sandbox && self.sandbox_base.is_none() {
            return;
        }
        let spec = BaseSpec { aws: self.aws(), env: self.inherited.env.to_vec(), sandbox: self.sandbox_base.clone() };
        let base = Base::new(spec);
        if let Some(old) = old {
            base.keep_mfa_of(&old);
        }
        self.name_overrides(&base);
        if self.wants_aws() {
            let (asked, facts) = (base.clone(), self.facts.clone());
            drop(tokio::task::spawn_local(async move {
                drop(facts.send(Fact::Region(asked.region().await)));
                if let Ok(identity) = asked.identity().await {
                    drop(facts.send(Fact::BaseIs(format!("{} ({})", identity.arn, identity.source))));
                }
            }));
        }
        self.base = Some(base);
    }

    /// Once the base is known, so is what a profile's `endpoint_url` puts in AWS's place.
    pub(super) fn base_is(&mut self, identity: String) {
        self.base_identity = Some(identity);
        if let Some(base) = self.base.clone() {
            self.name_overrides(&base);
        }
    }

    /// As AWS's last answer has it: the warning goes when the clock is right again.
    pub(super) fn clock_is(&mut self, skew_ms: Option<i64>) {
        let Some(skew) = skew_ms else { return };
        self.warnings.retain(|warning| !warning.contains(CLOCK));
        if skew.abs() > SKEW_MS {
            let by = Secs(Duration::from_millis(skew.unsigned_abs()));
            let way = if skew < 0 { "behind" } else { "ahead of" };
            self.warnings.insert(format!("{CLOCK} {by} {way} AWS's: set it (`timedatectl status`)"));
        }
    }

    fn name_overrides(&mut self, base: &Base) {
        self.warnings.retain(|warning| !warning.contains(OVERRIDDEN));
        for found in base.overrides() {
            self.warnings.insert(format!("{found} {OVERRIDDEN}"));
        }
    }

    /// A manifest without roles never asks anybody who we are.
    fn wants_aws(&self) -> bool {
        self.manifest.services.values().any(|service| service.needs_lease() || service.inherit_aws)
    }

    pub(super) fn sandbox_up(&mut self, base: SandboxBase) {
        let first = self.sandbox_port == 0;
        self.sandbox_port = base.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        self.sandbox_base = Some(base);
        self.make_base();
        if !first {
            self.renew_all();
        }
    }

    /// Another sandbox knows nothing of what the last one issued: every run gets credentials of the new one.
    fn renew_all(&mut self) {
        let up = |name: &Name| self.supervisor.view(now(), name.as_str()).is_some_and(|view| view.want == Want::Up);
        let (roles, based): (Vec<_>, Vec<_>) = self
            .manifest
            .services
            .values()
            .filter(|service| (service.needs_lease() || service.inherit_aws) && up(&service.name))
            .partition(|service| service.needs_lease());
        let names = |services: Vec<&Arc<Service>>| services.iter().map(|service| service.name.clone()).collect();
        let (roles, based) = (names(roles), names(based));
        let by = By { user: "the new sandbox".into(), ..self.brought.owner.clone() };
        let id = |what| format!("sandbox-{what}-{}", now().mono.0);
        self.command(id("roles"), by.clone(), Command::Refresh { services: roles });
        let restart = Command::Restart { services: based, timeout: None, no_deps: true, force: true };
        self.command(id("base"), by, restart);
    }

    pub(super) fn child_environment(
        &self,
        service: &Service,
        run: u32,
        ports: &[(String, String)],
        handed: Option<Handed<'_>>,
        login: Option<&Login>,
    ) -> Result<ChildEnvironment, String> {
        let env_files = read_env_files(service).map_err(|error| error.to_string())?;
        let aws = self.aws();
        let region = self.region.as_deref().or(aws.region.as_deref());
        let devsup = own_path();
        Ok(child_environment(&ChildSpec {
            service,
            run,
            mark: format!("{}/{}#{run}", self.brought.folder.id(), service.name),
            inherited: &self.inherited.env,
            login,
            env_files,
            ports,
            handed,
            region,
            sandbox_url: self.sandbox_base.as_ref().map(|base| base.url.as_str()),
            base_sandbox: self.sandbox_base.as_ref(),
            base_profile: aws.profile.as_deref(),
            devsup: &devsup,
        }))
    }
}

/// Where this binary is, or was: one that was replaced by a newer one is found at the same place.
pub(super) fn own_path() -> PathBuf {
    let found = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("devsup"));
    match found.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) if !found.exists() => PathBuf::from(path),
        Some(_) | None => found,
    }
}

const CLOCK: &str = "this machine's clock is";
/// From here on a difference of clocks is worth a warning; AWS takes 15 minutes.
const SKEW_MS: i64 = 60_000;
const OVERRIDDEN: &str = "is in force: devsup itself does not ask AWS there";

pub(super) fn no_sandbox() -> Refusal {
    Refusal {
        lasting: false,
        code: "SandboxDown".into(),
        message: "the sandbox is not up; it is being started again".into(),
        hint: Some("devsup logs --daemon shows what it said".into()),
        side: None,
        caller: None,
        request_id: None,
        retry_after: None,
        at: now().wall,
    }
}
