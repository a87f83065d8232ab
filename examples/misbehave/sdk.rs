//! `asks`: what an AWS SDK does at a container's credential endpoint, with plain sockets.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use std::{env, fs, thread};

const PATIENCE: Duration = Duration::from_secs(20);

/// Where this process is told to ask, and what it shows there.
struct Told {
    /// `127.0.0.1:4242`
    host: String,
    path: String,
    token: String,
}

impl Told {
    fn by_environment() -> Option<Self> {
        let url = env::var("AWS_CONTAINER_CREDENTIALS_FULL_URI").ok()?;
        let (host, path) = url.strip_prefix("http://")?.split_once('/')?;
        let token = env::var("AWS_CONTAINER_AUTHORIZATION_TOKEN").ok();
        let file = || fs::read_to_string(env::var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").ok()?).ok();
        Some(Self { host: host.to_owned(), path: format!("/{path}"), token: token.or_else(file)? })
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{host}", &self.host).replace("{path}", &self.path).replace("{token}", &self.token)
    }
}

/// For ever: each file `*.ask` of the folder is sent as it is, but for `{host}`, `{path}` and `{token}`, and the answer put into
/// `*.told`. The first line says where to: `HOST:PORT`, or `-` for where we are told to ask.
pub(crate) fn asks(folder: &str) -> ! {
    let told =
        Told::by_environment().unwrap_or(Told { host: String::new(), path: String::new(), token: String::new() });
    loop {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "ask") {
                let answer = fs::read_to_string(&path).and_then(|text| one(&told, &text));
                let answer = answer.unwrap_or_else(|error| format!("broken: {error}"));
                fs::remove_file(&path).expect("ours");
                put(&path, &answer);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Nobody reads half of it.
fn put(asked: &Path, answer: &str) {
    let half = asked.with_extension("half");
    fs::write(&half, answer).expect("a file");
    fs::rename(&half, asked.with_extension("told")).expect("a file");
}

fn one(told: &Told, text: &str) -> io::Result<String> {
    let (to, request) = text.split_once('\n').expect("where to");
    let to = if to == "-" { &told.host } else { to };
    exchange(to, &told.fill(request))
}

fn exchange(to: &str, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
