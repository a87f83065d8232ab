//! `devsup creds --mfa`: a person's code, to the daemon and so to AWS.

use std::io::{self, BufRead as _, Write as _};

use zeroize::Zeroizing;

use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::project::Connection;
use crate::cli::stopping::say_notes;
use crate::control::api::{Done, MfaRequest, Watch};
use crate::supervisor::Refusal;
use crate::sys::tty;

/// Typed here, or asked for when empty; AWS has answered when this returns.
pub(super) async fn run(
    context: &Context,
    connection: &Connection,
    watch: &Watch,
    typed: String,
) -> Result<Code, Failure> {
    let code = Zeroizing::new(if typed.is_empty() { asked(watch)? } else { typed });
    let code = code.trim();
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::new(Kind::Usage, "an MFA code has six digits").hint("it is what the device shows now"));
    }
    let request = MfaRequest { code: code.to_owned() };
    let done: Done = connection.client.post("/v1/mfa", &request).await?;
    say_notes(context, &done);
    Ok(Code::OK)
}

/// One line: of a person who is asked for it, else of whatever stdin is.
fn asked(watch: &Watch) -> Result<String, Failure> {
    if tty::stdin_is_terminal() {
        // That nobody reads the question is no error.
        write!(io::stderr().lock(), "{}: ", question(watch)).ok();
        io::stderr().lock().flush().ok();
    }
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::new(Kind::Usage, "no MFA code could be read").cause(error))?;
    Ok(line)
}

/// Names the device, when a service waits for its code.
fn question(watch: &Watch) -> String {
    let errors = watch.services.iter().filter_map(|service| service.credentials.as_ref()?.error.as_ref());
    let wanted = errors
        .filter(|error| [Refusal::MFA_REQUIRED, Refusal::MFA_EXPIRED].contains(&error.code.as_str()))
        .find_map(|error| error.message.split('`').nth(1));
    wanted.map_or_else(|| "MFA code".to_owned(), |device| format!("MFA code of {device}"))
}
