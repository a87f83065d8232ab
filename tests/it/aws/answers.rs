//! A tiny HTTP server that answers from a script, and what it was asked.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use devsup::aws::{BaseSpec, Patience};
use devsup::manifest::{Aws, Command, Role, RoleArn, Service};

/// One answer of the script.
#[derive(Clone)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    /// Keeps the connection open without a word for so long.
    silence: Duration,
}

impl Answer {
    pub(super) fn new(status: u16, body: &str) -> Self {
        let headers = vec![("x-amzn-requestid", "req-7".to_owned())];
        Self { status, headers, body: body.to_owned(), silence: Duration::ZERO }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(
            status,
            &format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>req-7</RequestId></ErrorResponse>"
            ),
        )
    }

    /// AssumeRole's answer, given at noon.
    pub(super) fn role(arn: &str, expires: &str) -> Self {
        Self::new(
            200,
            &format!(
                "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
                 <AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>\
                 <Credentials><AccessKeyId>ASIALEASE</AccessKeyId><SecretAccessKey>lease-secret</SecretAccessKey>\
                 <SessionToken>lease-token</SessionToken><Expiration>{expires}</Expiration></Credentials>\
                 <PackedPolicySize>6</PackedPolicySize></AssumeRoleResult></AssumeRoleResponse>"
            ),
        )
        .header("date", "Sun, 22 Nov 2026 12:00:00 GMT")
    }

    /// The role of [`role`], for an hour.
    pub(super) fn granted() -> Self {
        Self::role("arn:aws:sts::222233334444:assumed-role/service-a/devsup-ann-a", "2026-11-22T13:00:00Z")
    }

    pub(super) fn identity(arn: &str) -> Self {
        let account = arn.split(':').nth(4).unwrap_or_default();
        Self::new(
            200,
            &format!(
                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                 <Arn>{arn}</Arn><UserId>AIDA</UserId><Account>{account}</Account></GetCallerIdentityResult>\
                 </GetCallerIdentityResponse>"
            ),
        )
    }

    pub(super) fn silent(lasts: Duration) -> Self {
        Self { silence: lasts, ..Self::new(500, "") }
    }
}

/// The script's server. Requests past the end of the script get its last answer again.
pub(super) struct Script {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub(super) fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (answers, seen) = (answers.clone(), Arc::clone(&seen));
                thread::spawn(move || serve(&stream, &answers, &seen));
            }
        });
        Self { url, asked }
    }

    /// Each request: its lines and body as one text, percent-decoding left to the reader.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic while held").clone()
    }

    pub(super) fn count(&self, needle: &str) -> usize {
        self.asked().iter().filter(|request| request.contains(needle)).count()
    }
}

fn serve(mut stream: &TcpStream, answers: &[Answer], seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        text.push_str(&line);
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    text.push_str(&String::from_utf8_lossy(&body));
    let number = {
        let mut seen = seen.lock().expect("no panic while held");
        seen.push(text);
        seen.len() - 1
    };
    let Some(answer) = answers.get(number).or_else(|| answers.last()) else { return };
    if !answer.silence.is_zero() {
        thread::sleep(answer.silence);
    }
    let mut reply = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        reply.extend([name, ": ", value, "\r\n"]);
    }
    reply.extend(["content-length: ", &answer.body.len().to_string(), "\r\n\r\n", &answer.body]);
    // A client that gave up has closed its end.
    drop(stream.write_all(reply.as_bytes()));
}

pub(super) fn arn(text: &str) -> RoleArn {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).expect("an ARN is a string")
}

pub(super) fn role() -> Role {
    Role::of(arn("arn:aws:iam::222233334444:role/team/service-a"))
}

pub(super) fn service() -> Service {
    let command = Command::Exec(vec!["true".into()]);
    Service { role: Some(role()), ..Service::of("a", Some(command), "/srv/a") }
}

/// An environment from which nothing of this machine's own AWS is found.
pub(super) fn env(more: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let none = [
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_REGION", "eu-west-1"),
    ];
    // The first of two counts.
    more.iter().chain(&none).map(|(name, value)| (name.into(), value.into())).collect()
}

pub(super) const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIABASE"), ("AWS_SECRET_ACCESS_KEY", "base-secret")];

/// Keys in variables, STS at the script.
pub(super) fn spec(script: &Script) -> BaseSpec {
    BaseSpec { aws: Aws { sts_endpoint: Some(script.url.clone()), ..Aws::default() }, env: env(&KEYS), sandbox: None }
}

/// Short pauses; bounds that a busy machine does not meet by accident.
pub(super) fn patience() -> Patience {
    Patience {
        attempt: Duration::from_secs(20),
        whole: Duration::from_mins(1),
        attempts: 3,
        pause: Duration::from_millis(5),
    }
}
