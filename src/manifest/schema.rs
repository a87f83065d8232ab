//! The JSON Schema of `services.toml`, for editors (`#:schema` line). The structs here are never filled: the manifest is
//! read by hand, for better errors. A test keeps their keys equal to the reader's.
#![expect(dead_code, reason = "read by schemars' derive only")]

mod port;
mod role;

use std::collections::BTreeMap;

use port::{PortOrListen, Replace};
use role::Role;
use schemars::JsonSchema;

/// The schema, pretty-printed, ends with a newline.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Document);
    format!("{:#}\n", schema.as_value())
}

/// Services that run on one machine, each as its own IAM role. Strings may hold `${VAR}` and `${VAR:-default}`; `$$` is `$`.
#[derive(JsonSchema)]
#[schemars(rename = "services.toml", deny_unknown_fields)]
struct Document {
    /// The project. Default: the folder's name.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,39}$"))]
    name: Option<String>,
    aws: Option<Aws>,
    /// Any key of a service; a service's own wins, tables merge key by key.
    defaults: Option<Service>,
    /// One table per service: `[services.web]`. Names: `a-z`, `0-9`, `-`, `_`, at most 40.
    services: BTreeMap<String, Service>,
    access: Option<Access>,
    logs: Option<AllLogs>,
    sandbox: Option<Sandbox>,
}

/// Who besides the owner may do what with a system project: unix groups, by name or number.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Access {
    /// Status, logs, events.
    look: Option<NameOrNumber>,
    /// And start, stop, restart, hold, release.
    operate: Option<NameOrNumber>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum NameOrNumber {
    Name(String),
    Number(u32),
}

/// Who devsup itself is in AWS, and where AWS is.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Aws {
    /// The role devsup must be itself; another base identity is refused before the first AssumeRole.
    base_role: Option<String>,
    /// Profile of the base identity. Default: the SDK's own chain (environment, profile, SSO, web identity, instance).
    profile: Option<String>,
    /// For STS and for the services. Default: what the base identity resolves to.
    region: Option<String>,
    /// Put before every `role` that is not an ARN: `arn:aws:iam::033145145979:role/`.
    role_prefix: Option<String>,
    /// Another address of STS, such as a VPC endpoint.
    sts_endpoint: Option<String>,
    /// Of a base identity that is an IAM user: the device whose codes `devsup creds --mfa` asks for. Not beside `base_role`.
    #[schemars(length(min = 9, max = 256))]
    mfa_serial: Option<String>,
}

/// One service.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Service {
    /// What is run. A list is exec'd as it is; a string is split and exec'd, or run by `/bin/sh -c` when it uses shell syntax.
    command: Option<Command>,
    /// Where it runs, relative to the manifest's folder. Default: that folder.
    working_dir: Option<String>,
    /// Variables, over those of `env_file` and of the environment `up` was typed in.
    env: Option<BTreeMap<String, Scalar>>,
    /// Files of KEY=VALUE lines, read again at every start.
    env_file: Option<OneOrMany>,
    /// True: do not inherit devsup's own environment (PATH, HOME, USER, LANG, TERM, TMPDIR stay).
    #[schemars(extend("default" = false))]
    clean_env: Option<bool>,
    /// False: started by name, or as a dependency.
    #[schemars(extend("default" = true))]
    autostart: Option<bool>,
    /// Services that start before this one and stop after it.
    depends_on: Option<Dependencies>,
    /// When to run it again after it ended.
    #[schemars(extend("default" = "on-failure"))]
    restart: Option<Restart>,
    backoff: Option<Backoff>,
    /// Crashes in a row after which it is left down. Default: none.
    max_restarts: Option<MaxRestarts>,
    /// The signal that asks it to stop.
    #[schemars(extend("default" = "SIGTERM"))]
    stop_signal: Option<String>,
    /// Who gets `stop_signal`: the whole group, or the main process alone (prefork servers). SIGKILL always takes the tree.
    #[schemars(extend("default" = "group"))]
    stop_mode: Option<StopMode>,
    /// How long it may take to stop before SIGKILL. At most 1h.
    #[schemars(extend("default" = "10s"))]
    stop_timeout: Option<String>,
    /// Run before `stop_signal`, in the service's environment.
    stop_command: Option<Command>,
    /// How a replacement is made: stop, then start; or start, wait until ready, then stop the old run.
    #[schemars(extend("default" = "restart"))]
    replace: Option<Replace>,
    /// Where it listens, each port by a name: `http = "127.0.0.1:8001"`. Not in `[defaults]`.
    ports: Option<BTreeMap<String, PortOrListen>>,
    /// How it is known that it is ready. Default: its port accepts a connection; without one, it has lived for 1 s. Without a `command` the service is external: only this is asked.
    ready: Option<Ready>,
    /// How it is known that it is still well; so many failures in a row replace the run.
    live: Option<Live>,
    /// Globs of files, relative to the manifest's folder; a change replaces the run: `src/**/*.py`.
    watch: Option<OneOrMany>,
    /// Who it runs as; needs root.
    user: Option<NameOrNumber>,
    /// Default: the user's own.
    group: Option<NameOrNumber>,
    /// Mode bits that its files do not get, octal. Default: that of whoever brought the project up.
    #[schemars(regex(pattern = r"^(0o)?[0-7]{1,4}$"))]
    umask: Option<String>,
    #[schemars(range(min = -20, max = 19))]
    nice: Option<i32>,
    limits: Option<Limits>,
    logs: Option<Logs>,
    /// True: a terminal of its own, reached by `devsup attach`.
    #[schemars(extend("default" = false))]
    tty: Option<bool>,
    /// True: kept from other services' memory, environment and signals. Default: true beside a `role`.
    isolate: Option<bool>,
    /// The IAM role it runs as: an ARN, or a table. Without one it has no AWS identity at all. Nothing is expanded in it.
    role: Option<RoleOrArn>,
    /// True: it gets the base identity, on purpose. Not beside `role`.
    #[schemars(extend("default" = false))]
    inherit_aws: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Command {
    Line(String),
    Words(Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Scalar {
    Text(String),
    Number(f64),
    Flag(bool),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Dependencies {
    One(String),
    Names(Vec<String>),
    Conditions(BTreeMap<String, ConditionOrDependency>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ConditionOrDependency {
    Condition(Condition),
    Dependency(Dependency),
}

/// What must be true of the other service first.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Condition {
    Started,
    Ready,
    Completed,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Dependency {
    condition: Option<Condition>,
    /// True: a replacement of the dependency replaces this service too.
    #[schemars(extend("default" = false))]
    restart: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Restart {
    Always,
    OnFailure,
    Never,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum StopMode {
    Group,
    Main,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum MaxRestarts {
    Count(u32),
    None(Unlimited),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Unlimited {
    None,
}

/// How long to wait before a crashed service is started again; doubling, ± 20 %.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Backoff {
    #[schemars(extend("default" = "500ms"))]
    first: Option<String>,
    #[schemars(extend("default" = "30s"))]
    max: Option<String>,
    /// After so long in health, the next crash is a first one.
    #[schemars(extend("default" = "1m"))]
    reset_after: Option<String>,
}

/// Exactly one of `http`, `tcp`, `exec`, `log`, `notify` and `fd`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Ready {
    /// GET answers 2xx or 3xx: `http://127.0.0.1:8001/health`, or `/health` of the service's own port.
    #[schemars(regex(pattern = r"^(http://|/|.*\$\{)"))]
    http: Option<String>,
    /// A connection is accepted: `127.0.0.1:8001`, or the name of a port of the service's own.
    tcp: Option<String>,
    /// It ends with 0.
    exec: Option<Command>,
    /// A line of its output matches this regular expression.
    log: Option<String>,
    /// It sends `READY=1` to `NOTIFY_SOCKET`, as sd_notify(3) does.
    #[schemars(extend("const" = true))]
    notify: Option<bool>,
    /// It writes a line end to this descriptor.
    #[schemars(range(min = 3, max = 63))]
    fd: Option<u32>,
    /// After this it is said that it is not ready; it is left running. 100ms to 24h.
    #[schemars(extend("default" = "1m"))]
    timeout: Option<String>,
    /// Between two questions by `http`, `tcp` or `exec`. 50ms to 1h.
    #[schemars(extend("default" = "500ms"))]
    interval: Option<String>,
}

/// Exactly one of `http`, `tcp` and `exec`, asked for as long as a run is ready.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Live {
    /// GET answers 2xx or 3xx.
    #[schemars(regex(pattern = r"^(http://|/|.*\$\{)"))]
    http: Option<String>,
    /// A connection is accepted.
    tcp: Option<String>,
    /// It ends with 0.
    exec: Option<Command>,
    /// Between two questions. 50ms to 24h.
    #[schemars(extend("default" = "10s"))]
    interval: Option<String>,
    /// Of one question. 50ms to 1h.
    #[schemars(extend("default" = "5s"))]
    timeout: Option<String>,
    /// So many in a row replace the run.
    #[schemars(range(min = 1, max = 1000), extend("default" = 3))]
    failures: Option<u32>,
}

/// How much of what it writes is kept, and what is masked in it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Logs {
    /// Of all runs together; the oldest files go first.
    #[schemars(extend("default" = "64MiB"))]
    total: Option<String>,
    /// A new file is begun beyond this.
    #[schemars(extend("default" = "8MiB"))]
    file: Option<String>,
    /// Regular expressions: what matches in a line is masked in what is stored.
    redact: Option<OneOrMany>,
}

/// How much is kept of the logs of all services together.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AllLogs {
    /// Default: 2GiB, or a tenth of the disk if that is less.
    max_total: Option<String>,
}

/// What its processes may use: setrlimit(2); `memory` and `pids` are of the whole tree and need cgroup controllers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// Bytes of address space.
    r#as: Option<Limit>,
    /// Bytes of a core dump.
    core: Option<Limit>,
    /// Seconds of CPU time.
    cpu: Option<Limit>,
    /// Bytes of data.
    data: Option<Limit>,
    /// Bytes of a file.
    fsize: Option<Limit>,
    /// Bytes of locked memory.
    memlock: Option<Limit>,
    /// Open files.
    nofile: Option<Limit>,
    /// Processes of the user.
    nproc: Option<Limit>,
    /// Bytes of stack.
    stack: Option<Limit>,
    /// Bytes of the whole tree.
    memory: Option<Amount>,
    /// Processes and threads of the whole tree.
    pids: Option<Amount>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Limit {
    Both(Amount),
    Each(SoftAndHard),
}

/// What holds at first, and how far the process may raise it by itself.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SoftAndHard {
    soft: Option<Amount>,
    hard: Option<Amount>,
}

/// A number, a size such as `64MiB`, a duration for `cpu`, or `unlimited`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Amount {
    Number(u64),
    Text(String),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RoleOrArn {
    Arn(String),
    Role(Box<Role>),
}

/// What the embedded AWS of `--sandbox` holds.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Sandbox {
    /// The life of every lease.
    #[schemars(extend("default" = "60s"))]
    lease: Option<String>,
    /// Each bucket and the names of the roles that may use it.
    buckets: Option<BTreeMap<String, OneOrMany>>,
    /// True: AWS's own rules for durations, instead of shortening silently.
    #[schemars(extend("default" = false))]
    strict: Option<bool>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::words::Section;

    #[test]
    fn keys_are_those_the_reader_knows() {
        let schema: serde_json::Value = serde_json::from_str(&super::schema()).expect("JSON");
        let sections = [
            ("/properties", Section::Top),
            ("/$defs/Aws/properties", Section::Aws),
            ("/$defs/Service/properties", Section::Service),
            ("/$defs/Role/properties", Section::Role),
            ("/$defs/Backoff/properties", Section::Backoff),
            ("/$defs/Dependency/properties", Section::Dependency),
            ("/$defs/Ready/properties", Section::Ready),
            ("/$defs/Live/properties", Section::Live),
            ("/$defs/Port/properties", Section::Port),
            ("/$defs/Limits/properties", Section::Limits),
            ("/$defs/SoftAndHard/properties", Section::Limit),
            ("/$defs/Access/properties", Section::Access),
            ("/$defs/Logs/properties", Section::Logs),
            ("/$defs/AllLogs/properties", Section::AllLogs),
            ("/$defs/Sandbox/properties", Section::Sandbox),
        ];
        for (pointer, section) in sections {
            let object = schema.pointer(pointer).and_then(serde_json::Value::as_object).expect(pointer);
            let keys: BTreeSet<&str> = object.keys().map(String::as_str).collect();
            assert_eq!(keys, section.keys().iter().copied().collect(), "{pointer}");
        }
    }
}
