//! The command line as a person meets it: exit codes, which stream says what, and a daemon that is played by a thread.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use assert_cmd::Command;
use devsup::control::api::{Project, Service, VERSION};
use devsup::control::paths::{Folder, LockInfo};
use tempfile::TempDir;

use crate::place::devsup;

const MANIFEST: &str = r#"
name = "shop"
[services.a]
command = "sleep 100"
[services.b]
command = "sleep 100"
"#;

/// A folder with a manifest and a state folder of its own.
struct House {
    folder: TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("services.toml"), MANIFEST).expect("a manifest");
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("a real path")
    }

    fn devsup(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(devsup());
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.folder.path()).env("XDG_STATE_HOME", self.state()).env("PATH", "/usr/bin:/bin");
        command.timeout(std::time::Duration::from_mins(1));
        command
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// (exit code, stdout, stderr)
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.devsup(arguments).output().expect("it ran");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("utf-8");
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    /// Plays a daemon that knows these services and accepts every command.
    fn daemon(&self, services: Vec<Service>) -> Daemon {
        let manifest = self.path().join("services.toml");
        let folder = Folder::of(&self.state().join("devsup"), "shop", &manifest);
        folder.prepare().expect("a state folder");
        let socket = folder.socket(&|_| None).expect("a path for the socket");
        let pid = std::process::id();
        let lock = LockInfo {
            pid,
            start_time: devsup::sys::tree::look(pid).expect("ourselves").start_time,
            socket: socket.clone(),
            version: VERSION.into(),
            name: "shop".into(),
            manifest,
            sandbox: true,
            shared: None,
        };
        std::fs::write(folder.lock(), serde_json::to_string(&lock).expect("json")).expect("a lock");
        Daemon::play(&socket, &project(), services)
    }
}

fn project() -> Project {
    serde_json::from_value(serde_json::json!({
        "name": "shop", "id": "shop-1", "files": [], "pid": 1, "version": VERSION, "sandbox": true,
        "since": "2026-03-02T14:05:11Z", "owner": { "uid": 0, "user": "root" }, "shutting_down": false,
        "base": null, "warnings": [],
    }))
    .expect("a project")
}

fn service(name: &str, state: &str, status: &str) -> Service {
    let running = state == "running";
    serde_json::from_value(serde_json::json!({
        "name": name, "want": "up", "state": state, "ready": running, "status": status, "why": null, "next": null,
        "pid": running.then_some(4121), "run": 1, "since": "2026-03-02T14:05:12Z", "uptime_s": running.then_some(5),
        "crashes": 0, "restarts": 0, "rotations": 0, "exit": null, "role": null, "inherit_aws": false,
        "delivery": null, "isolation": "none", "tree": "session", "ports": [], "held": null, "credentials": null,
        "credentials_text": "–", "autostart": true, "depends_on": [], "log_dropped": 0,
    }))
    .expect("a service")
}

/// Answers until it is dropped.
struct Daemon {
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn play(socket: &Path, project: &Project, services: Vec<Service>) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket");
        let project = project.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if !answer(stream, &project, &services) {
                    return;
                }
            }
        });
        Self { socket: socket.into(), thread: Some(thread) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(mut stream) = UnixStream::connect(&self.socket) {
            stream.write_all(b"END / HTTP/1.1\r\n\r\n").ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the played daemon did not panic");
        }
    }
}

/// One request a connection. False: the end was asked for.
fn answer(mut stream: UnixStream, project: &Project, services: &[Service]) -> bool {
    let mut head = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut first = String::new();
    let mut length = 0;
    head.read_line(&mut first).ok();
    loop {
        let mut line = String::new();
        if head.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut head, &mut body).ok();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let json = match (method, path) {
        ("END", _) => return false,
        (_, "/v1/project") => serde_json::json!(project),
        (_, "/v1/services") => serde_json::json!(services),
        (_, "/v1/watch") => serde_json::json!({ "project": project, "services": services }),
        (_, "/v1/environment/a?reveal=true&command=true") => serde_json::json!({
            "service": "a", "argv": ["/bin/sh", "-c", "echo $COLOUR; exit 7"], "working_dir": "/",
            "env": [{ "name": "COLOUR", "value": "blue", "source": "env", "secret": false }],
            "scrubbed": [], "from": "root",
        }),
        ("POST", _) => {
            let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            serde_json::json!({ "services": asked["services"], "notes": ["played"] })
        }
        _ => serde_json::json!([]),
    };
    let text = format!("{json}\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{text}", text.len()).ok();
    true
}

#[test]
fn help_is_on_stdout_and_what_is_not_understood_on_stderr() {
    let house = House::new();
    let (code, out, err) = house.run(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("Exit codes:"));
    assert_eq!(house.run(&["help"]), (0, out, String::new()));
    let (code, out, err) = house.run(&["help", "up"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("Usage: devsup up"), "{out}");
    for asked in ["--version", "-V", "version"] {
        assert_eq!(house.run(&[asked]), (0, format!("devsup {VERSION}\n"), String::new()));
    }
    let (code, out, err) = house.run(&["pss"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(err, "error: `pss` is no verb of devsup\nhint: did you mean `ps`?\n");
    let (code, out, err) = house.run(&[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("Usage:"));
}

#[test]
fn a_project_that_is_not_up_is_five_with_the_mend() {
    let house = House::new();
    for verb in [&["ps"][..], &["restart", "a"], &["down"], &["creds"], &["events"], &["events", "-f"]] {
        let (code, out, err) = house.run(verb);
        assert_eq!((code, out.as_str()), (5, ""), "{verb:?}");
        assert!(err.contains("is not up\nhint: devsup up\n"), "{err}");
    }
    let (code, _, err) = house.run(&["exec", "a"]);
    assert_eq!(code, 125, "{err}");
    let (code, _, err) = house.run(&["-p", "nothing", "ps"]);
    assert_eq!(code, 5);
    assert_eq!(err, "error: project `nothing` is not up\nhint: devsup ls\n");
}

#[test]
fn a_manifest_with_an_error_is_two_and_starts_nothing() {
    let house = House::new();
    std::fs::write(house.folder.path().join("services.toml"), "[services.a]\ncommandd = 'x'\n").expect("written");
    for verb in [&["config", "-q"][..], &["up"], &["sandbox"]] {
        let (code, out, err) = house.run(verb);
        assert_eq!((code, out.as_str()), (2, ""), "{verb:?}");
        assert!(err.contains("commandd") && !err.contains("error: \n"), "{err}");
    }
    assert!(!house.state().exists());
}

#[test]
fn config_prints_and_with_q_only_checks() {
    let house = House::new();
    let (code, out, err) = house.run(&["config"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("[services.a]"), "{out}");
    assert_eq!(house.run(&["config", "-q"]), (0, String::new(), String::new()));
    let (code, out, _) = house.run(&["up", "--dry-run", "b"]);
    assert_eq!((code, out.as_str()), (0, "would start  b  sleep 100\n"));
    let (code, _, err) = house.run(&["up", "bb"]);
    assert_eq!(code, 4);
    assert!(err.contains("did you mean `b`?"), "{err}");
    assert_eq!(house.run(&["ls"]).1, "NAME  KIND  OWNER  STATUS  MANIFEST\n");
    let (code, out, err) = house.run(&["config", "--format", "json"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("hint: devsup schema"), "{err}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let house = House::new();
    let binary = devsup();
    let line = format!("'{}' completion bash | head -n 1; echo ${{PIPESTATUS[0]}}", binary.display());
    let output = Command::new("/bin/bash").args(["-c", &line]).current_dir(house.path()).output().expect("ran");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.ends_with("\n0\n"), "{out}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ps_answers_zero_three_and_four() {
    let house = House::new();
    let _daemon =
        house.daemon(vec![service("a", "running", "running (ready)"), service("b", "failed", "failed: exit 1")]);
    let (code, out, err) = house.run(&["ps"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.lines().next().is_some_and(|header| header.ends_with("CREDENTIALS (SANDBOX)")), "{out}");
    assert_eq!(out.lines().count(), 3);
    assert!(!out.contains('\x1b'), "no colour where no terminal is");
    assert!(house.run(&["--color", "always", "ps"]).1.contains('\x1b'));
    let (code, out, _) = house.run(&["status", "a"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("a · shop · SANDBOX\n"), "{out}");
    assert_eq!(house.run(&["ps", "b"]).0, 3);
    let (code, _, err) = house.run(&["ps", "aa"]);
    assert_eq!(code, 4);
    assert_eq!(err, "error: service `aa`: no such service\nhint: did you mean `a`?\n");
    let (code, out, _) = house.run(&["-p", "shop", "ps", "--format", "json"]);
    assert_eq!(code, 0);
    let names: Vec<String> =
        out.lines().map(|line| serde_json::from_str::<Service>(line).expect("an object a line").name).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(house.run(&["ls"]).1.contains("1/2 running (SANDBOX)"));
}

#[test]
fn the_events_of_a_project_that_is_down_are_read_from_its_journal() {
    let house = House::new();
    let daemon = house.daemon(Vec::new());
    drop(daemon);
    let manifest = house.path().join("services.toml");
    let folder = Folder::of(&house.state().join("devsup"), "shop", &manifest);
    let lock = std::fs::read_to_string(folder.lock()).expect("the lock");
    let mut lock: LockInfo = serde_json::from_str(&lock).expect("json");
    lock.start_time += 1;
    std::fs::write(folder.lock(), serde_json::to_string(&lock).expect("json")).expect("a stale lock");
    let event = |time: &str, what: &str| {
        let event = serde_json::json!({
            "time": time, "service": "a", "run": 1, "event": what, "reason": what, "by": null,
        });
        format!("{event}\n")
    };
    std::fs::write(folder.path().join("events.1.jsonl"), event("2026-03-02T14:05:12.123Z", "first")).expect("written");
    let half = format!("{}{{\"time\": \"20", event("2026-03-02T14:06:12.123Z", "second"));
    std::fs::write(folder.events(), half).expect("written");
    let (code, out, err) = house.run(&["events"]);
    assert_eq!((code, err.as_str()), (0, "project `shop` is not up; this is its history\n"));
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.find("first") < out.find("second"), "{out}");
    let (code, out, _) = house.run(&["events", "--since", "2026-03-02T14:06:00Z", "--format", "json"]);
    assert_eq!((code, out.lines().count()), (0, 1), "{out}");
    let (code, _, err) = house.run(&["events", "-f"]);
    assert_eq!(code, 5);
    assert!(err.contains("nothing to follow"), "{err}");
}

#[test]
fn exec_becomes_the_command_with_its_environment_and_exit_code() {
    let house = House::new();
    let _daemon = house.daemon(vec![service("a", "running", "running (ready)")]);
    assert_eq!(house.run(&["exec", "a"]), (7, "blue\n".into(), String::new()));
    assert_eq!(house.run(&["exec", "a", "--", "/bin/sh", "-c", "echo -n $0 $COLOUR", "-x"]).1, "-x blue");
    assert_eq!(house.run(&["exec", "a", "no-such-command"]).0, 127);
    assert_eq!(house.run(&["exec", "a", "/"]).0, 126);
}

#[test]
fn wait_and_start_judge_what_they_see() {
    let house = House::new();
    let _daemon =
        house.daemon(vec![service("a", "running", "running (ready)"), service("b", "failed", "failed: exit 1")]);
    assert_eq!(house.run(&["wait", "a", "--for", "ready"]).0, 0);
    let (code, out, err) = house.run(&["start", "a"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "played\nstarted  a\n"));
    let (code, _, err) = house.run(&["start", "b"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("error: service `b` failed\ncause: `b`: failed: exit 1\nhint: devsup logs -n 20 b\n"),
        "{err}"
    );
    assert_eq!(house.run(&["-q", "stop", "b"]), (0, String::new(), String::new()));
}

#[test]
fn secrets_need_a_terminal_or_force() {
    let house = House::new();
    let (code, out, err) = house.run(&["env", "a", "--reveal"]);
    assert_eq!((code, out.as_str()), (6, ""));
    assert!(err.contains("--force"), "{err}");
}

#[test]
fn the_sandbox_alone_says_how_to_use_it_and_the_daemons_ends_with_stdin() {
    let house = House::new();
    let config = devsup::sandbox::Config::default();
    let line = format!("{}\n", serde_json::to_string(&config).expect("json"));
    let output = house.devsup(&["sandbox", "--for-daemon"]).write_stdin(line).output().expect("ran");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ready: devsup::sandbox::Ready = serde_json::from_slice(&output.stdout).expect("Ready, one line");
    assert!(ready.url.starts_with("http://127.0.0.1:"));
    assert!(ready.access_key_id.starts_with("ASIASANDBOX"));
    let output = house.devsup(&["sandbox", "--for-daemon"]).write_stdin("nonsense\n").output().expect("ran");
    assert_eq!(output.status.code(), Some(2));
}
