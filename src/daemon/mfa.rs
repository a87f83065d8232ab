//! An MFA code of the base identity: shown to AWS at once, and those that waited for it asked for again. The code is in no
//! event, no log, no answer.

use secrecy::SecretString;

use super::clocks::now;
use super::world::{Fact, World};
use crate::control::Answer;
use crate::control::api::{Done, Failed, FailedKind, MfaRequest};
use crate::control::convert::clock_time;
use crate::manifest::Name;
use crate::supervisor::{By, Command, Refusal, Wall, Want};

/// What AWS said to a code, and who waits to hear it.
pub(super) struct CodeAnswered {
    by: By,
    /// Until when the session lasts.
    answered: Result<Wall, Refusal>,
    answer: Answer<Done>,
}

impl World {
    pub(super) fn mfa(&self, by: By, mut request: MfaRequest, answer: Answer<Done>) {
        let code: SecretString = std::mem::take(&mut request.code).into();
        let base = match self.base.clone() {
            Some(base) if is_code(&code) => base,
            Some(_) => {
                let failed = Failed::new(FailedKind::Usage, "an MFA code has six digits");
                drop(answer.send(Err(failed.hint("it is what the device shows now"))));
                return;
            }
            None => {
                drop(answer.send(Err(refused(super::asks::no_sandbox()))));
                return;
            }
        };
        let facts = self.facts.clone();
        drop(tokio::task::spawn_local(async move {
            let answered = base.give_code(&code).await;
            drop(facts.send(Fact::CodeAnswered(CodeAnswered { by, answered, answer })));
        }));
    }

    pub(super) fn code_answered(&mut self, told: CodeAnswered) {
        let CodeAnswered { by, answered, answer } = told;
        let done = match answered {
            Ok(until) => Ok(self.code_taken(&by, until)),
            Err(refusal) => {
                let sentence = format!("an MFA code was not taken: {}", refusal.message);
                self.journal.tell(now().wall, "mfa-refused", None, Some(&by), sentence);
                Err(refused(refusal))
            }
        };
        drop(answer.send(done));
    }

    fn code_taken(&mut self, by: &By, until: Wall) -> Done {
        let until = format!("the session it opened lasts until {}", clock_time(until));
        self.journal.tell(now().wall, "mfa", None, Some(by), format!("an MFA code was taken; {until}"));
        let waits = |name: &Name| {
            let view = self.supervisor.view(now(), name.as_str());
            view.is_some_and(|view| view.want == Want::Up && view.refusal.is_some_and(|refusal| refusal.wants_code()))
        };
        let services: Vec<Name> = self.manifest.services.keys().filter(|name| waits(name)).cloned().collect();
        let names = services.iter().map(ToString::to_string).collect();
        self.command(format!("mfa-{}", now().mono.0), by.clone(), Command::Refresh { services });
        Done { services: names, notes: vec![format!("taken; {until}")] }
    }
}

fn is_code(code: &SecretString) -> bool {
    use secrecy::ExposeSecret as _;
    let code = code.expose_secret();
    code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit())
}

fn refused(refusal: Refusal) -> Failed {
    let mut failed =
        Failed::new(FailedKind::CredentialsRefused, format!("the MFA code was not taken: {}", refusal.code));
    failed.causes.push(refusal.message);
    failed.hints.extend(refusal.hint);
    failed
}
