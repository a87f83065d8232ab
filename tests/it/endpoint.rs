//! `delivery = "endpoint"` against the real binary: services that ask for their credentials as an SDK does, and others that ask
//! for those of somebody else.

mod answers;
mod callers;
mod crowd;
mod leases;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use devsup::sys::tree;
use serde_json::Value;

use crate::faults::badly;
use crate::project::{Project, wait_until};

const GET: &str = "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\nAccept: application/json\r\n\r\n";

/// What a service is told to do: ask for whatever is put into the folder of its name.
fn asks(folder: &str) -> String {
    badly(&format!("asks {folder}"))
}

/// A project of services `a` and `b`, each with a role. `keys` and `defaults` go into the manifest.
fn shop(lease: &str, keys: &str, env: &[(&str, &str)]) -> Project {
    let mut project = Project::new(&format!(
        "name = 'shop'\n[aws]\nregion = 'ap-southeast-2'\nrole_prefix = 'arn:aws:iam::033145145979:role/'\n\
         [services.a]\nrole = {{ arn = 'service-a', delivery = 'endpoint' }}\ncommand = {}\n\
         [services.b]\nrole = {{ arn = 'service-b', delivery = 'endpoint' }}\ncommand = {}\n\
         {keys}\n[sandbox]\nlease = '{lease}'\n",
        asks("a"),
        asks("b"),
    ));
    for (name, value) in env {
        project.env.insert((*name).to_owned(), (*value).to_owned());
    }
    for folder in ["a", "b", "c"] {
        folder_for_all(&project, folder);
    }
    project
}

/// Whoever a service runs as may put answers there.
fn folder_for_all(project: &Project, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = project.path(name);
    fs::create_dir(&path).expect("a folder");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("our own");
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
        Self { status, head: head.to_lowercase(), body }
    }

    fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_else(|| panic!("`{key}` in {self:?}"))
    }

    /// Both spellings say the same.
    #[track_caller]
    fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.text("code")), (status, code), "{self:?}");
        assert_eq!((self.text("Code"), self.text("Message")), (code, self.text("message")), "{self:?}");
        assert!(self.head.contains("cache-control: no-store") && !self.text("message").is_empty(), "{self:?}");
        self
    }
}

/// Puts a question into a folder; its answer comes by [`answer`].
fn put(project: &Project, folder: &str, to: &str, request: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = project.path(folder).join(format!("{number}.ask"));
    fs::write(path.with_extension("new"), format!("{to}\n{request}")).expect("a file");
    fs::rename(path.with_extension("new"), &path).expect("a file");
    path.with_extension("told")
}

fn answer(told: &std::path::Path) -> Answer {
    wait_until("it is answered", || told.exists());
    Answer::of(&fs::read_to_string(told).expect("what was told"))
}

/// By the process that looks into the folder, wherever that stands.
fn raw(project: &Project, folder: &str, request: &str) -> Answer {
    answer(&put(project, folder, "-", request))
}

fn get(project: &Project, folder: &str) -> Answer {
    raw(project, folder, GET)
}

/// What a service was told, as anybody of its user can read it who stands behind no wall.
struct Stolen {
    host: String,
    path: String,
    token: String,
}

impl Stolen {
    fn of(project: &Project, service: &str) -> Self {
        let pid = project.until_one(service, |one| one.pid.is_some(), "it runs").pid.expect("just seen");
        let variable = |name: &str| tree::environment(pid, name).expect("devsup set it");
        let url = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
        let token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
        Self { host: host.to_owned(), path: format!("/{path}"), token }
    }

    fn request(&self) -> String {
        GET.replace("{host}", &self.host).replace("{path}", &self.path).replace("{token}", &self.token)
    }

    /// Shown by the process that looks into another's folder.
    fn shown_by(&self, project: &Project, folder: &str) -> Answer {
        answer(&put(project, folder, &self.host, &self.request()))
    }

    /// Shown by ourselves: of the same user, outside of every run.
    fn shown_by_us(&self) -> Answer {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.host).expect("it listens");
        stream.set_read_timeout(Some(crate::project::DEADLINE)).expect("a deadline");
        stream.write_all(self.request().as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        Answer::of(&text)
    }
}

fn events(project: &Project, kind: &str) -> Vec<devsup::control::api::Event> {
    project.events().into_iter().filter(|event| event.event == kind).collect()
}
