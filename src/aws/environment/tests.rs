use super::*;
use crate::aws::sample;
use crate::manifest::SCRUBBED;
use crate::manifest::Service;

/// What the tests choose; the rest is a service with a role.
struct Case {
    service: Service,
    inherited: Vec<(OsString, OsString)>,
    files: Vec<(String, BTreeMap<String, String>)>,
    lease: Option<Credentials>,
    sandbox: Option<SandboxBase>,
    profile: Option<&'static str>,
    login: Option<Login>,
}

impl Case {
    fn new(inherited: &[(&str, &str)]) -> Self {
        let lease = Credentials {
            access_key_id: "ASIALEASE".into(),
            secret_access_key: "lease-secret".to_owned().into(),
            session_token: "lease-token".to_owned().into(),
            expires: Wall(1_795_348_800_999),
        };
        let inherited = inherited.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self {
            service: sample::service(),
            inherited,
            files: Vec::new(),
            lease: Some(lease),
            sandbox: None,
            profile: None,
            login: None,
        }
    }

    fn without_role(inherited: &[(&str, &str)]) -> Self {
        let case = Self::new(inherited);
        Self { service: Service { role: None, ..case.service.clone() }, lease: None, ..case }
    }

    fn with_base(inherited: &[(&str, &str)]) -> Self {
        let case = Self::without_role(inherited);
        Self { service: Service { inherit_aws: true, ..case.service.clone() }, ..case }
    }

    fn env(mut self, variables: &[(&str, &str)]) -> Self {
        self.service.env = map(variables);
        self
    }

    fn sandbox(mut self) -> Self {
        self.sandbox = Some(SandboxBase {
            url: "http://127.0.0.1:4000".into(),
            region: "eu-west-1".into(),
            access_key_id: "ASIASANDBOXBASE".into(),
            secret_access_key: "base-secret".to_owned().into(),
            session_token: Some("base-token".to_owned().into()),
        });
        self
    }

    fn child(&self) -> ChildEnvironment {
        child_environment(&ChildSpec {
            service: &self.service,
            run: 3,
            mark: "shop/a#3".into(),
            inherited: &self.inherited,
            login: self.login.as_ref(),
            env_files: self.files.clone(),
            ports: &[],
            handed: self.lease.as_ref().map(Handed::Env),
            region: Some("eu-west-1"),
            sandbox_url: self.sandbox.as_ref().map(|base| base.url.as_str()),
            base_sandbox: self.sandbox.as_ref(),
            base_profile: self.profile,
            devsup: Path::new("/opt/devsup"),
        })
    }
}

fn map(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn value<'a>(child: &'a ChildEnvironment, name: &str) -> Option<&'a str> {
    child.variables.iter().find(|variable| variable.name == name).and_then(|variable| variable.value.to_str())
}

fn values<'a>(child: &'a ChildEnvironment, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| value(child, name)).collect()
}

#[test]
fn a_role_is_all_the_identity_there_is() {
    let polluted: Vec<(&str, &str)> = SCRUBBED.iter().map(|name| (*name, "inherited")).collect();
    let child = Case::new(&polluted).child();
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"];
    assert_eq!(
        values(&child, &keys),
        [Some("ASIALEASE"), Some("lease-secret"), Some("lease-token"), Some("2026-11-22T12:00:00Z")]
    );
    assert_eq!(values(&child, &["AWS_REGION", "AWS_DEFAULT_REGION"]), [Some("eu-west-1"); 2]);
    assert_eq!(value(&child, "AWS_EC2_METADATA_DISABLED"), Some("true"));
    assert!(child.variables.iter().all(|variable| variable.value != "inherited"), "nothing inherited survives");
    assert_eq!(child.scrubbed.len(), SCRUBBED.len());
    let mut secret: Vec<_> =
        child.variables.iter().filter(|variable| variable.secret).map(|v| v.name.clone()).collect();
    secret.sort();
    assert_eq!(secret, ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]);
}

#[test]
fn marks_proxies_and_folder_are_set() {
    let child = Case::new(&[("NO_PROXY", "corp.example, localhost"), ("PWD", "/elsewhere")]).child();
    let rules = Some("corp.example,localhost,127.0.0.1,169.254.169.254,169.254.170.2");
    assert_eq!(values(&child, &["NO_PROXY", "no_proxy"]), [rules, rules]);
    let names = ["DEVSUP", "DEVSUP_SERVICE", "DEVSUP_RUN", "PWD", "PYTHONUNBUFFERED"];
    assert_eq!(values(&child, &names), ["/opt/devsup", "a", "shop/a#3", "/srv/a", "1"].map(Some));
    assert_eq!(value(&Case::new(&[("PYTHONUNBUFFERED", "0")]).child(), "PYTHONUNBUFFERED"), Some("0"));
}

#[test]
fn what_started_devsup_is_not_the_childs() {
    let own = [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
        "CACHE_DIRECTORY",
        "LOGS_DIRECTORY",
        "CONFIGURATION_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
        "SYSTEMD_EXEC_PID",
        "MAINPID",
        "MANAGERPID",
        "DEVSUP_FILE",
    ];
    for case in [Case::new as fn(&[(&str, &str)]) -> Case, Case::without_role, Case::with_base] {
        let child = case(&own.map(|name| (name, "x"))).child();
        assert_eq!(values(&child, &own), [None; 18]);
        assert_eq!(child.scrubbed.len(), own.len(), "{:?}", child.scrubbed);
    }
}

#[test]
fn what_only_looks_like_systemds_or_is_written_for_the_service_stays() {
    let case = Case::new(&[("LISTEN_ADDR", "0.0.0.0"), ("WATCHDOG_URL", "x")]);
    let mut case = case.env(&[("STATE_DIRECTORY", "/srv/a"), ("DEVSUP_FILE", "/srv/x.toml")]);
    case.files = vec![(".env".into(), map(&[("NOTIFY_SOCKET", "@other"), ("DEVSUP_RUN", "forged")]))];
    let child = case.child();
    assert_eq!(values(&child, &["LISTEN_ADDR", "WATCHDOG_URL"]), [Some("0.0.0.0"), Some("x")]);
    let written = ["STATE_DIRECTORY", "DEVSUP_FILE", "NOTIFY_SOCKET"];
    assert_eq!(values(&child, &written), ["/srv/a", "/srv/x.toml", "@other"].map(Some));
    assert_eq!(value(&child, "DEVSUP_RUN"), Some("shop/a#3"), "who a run is, devsup says");
}

#[test]
fn the_manifest_wins_over_what_is_inherited_and_env_over_env_file() {
    let mut case = Case::new(&[("A", "inherited"), ("B", "inherited"), ("C", "inherited")]).env(&[("C", "env")]);
    case.files = vec![("one".into(), map(&[("B", "one"), ("C", "one")])), (".env".into(), map(&[("B", "two")]))];
    let child = case.child();
    let shown: Vec<_> = child
        .variables
        .iter()
        .filter(|variable| ["A", "B", "C"].iter().any(|name| variable.name == *name))
        .map(|variable| (variable.value.to_str().unwrap_or_default(), variable.source.as_str()))
        .collect();
    assert_eq!(shown, [("inherited", "environment"), ("two", "env_file .env"), ("env", "env")]);
}

#[test]
fn an_env_file_cannot_override_the_role() {
    let mut case = Case::new(&[]);
    case.files = vec![(".env".into(), map(&[("AWS_SECRET_ACCESS_KEY", "by hand"), ("AWS_PROFILE", "prod")]))];
    let child = case.child();
    assert_eq!(values(&child, &["AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"]), [Some("lease-secret"), None]);
    assert_eq!(child.scrubbed, ["AWS_PROFILE", "AWS_SECRET_ACCESS_KEY"]);
}

#[test]
fn a_region_of_its_own_counts_for_both_names() {
    let child = Case::new(&[("AWS_REGION", "us-east-1")]).env(&[("AWS_DEFAULT_REGION", "ap-south-1")]).child();
    assert_eq!(values(&child, &["AWS_REGION", "AWS_DEFAULT_REGION"]), [Some("ap-south-1"); 2]);
}

#[test]
fn without_a_role_there_is_no_identity_at_all() {
    let child =
        Case::without_role(&[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_PROFILE", "dev"), ("AWS_CONFIG_FILE", "/c")]).child();
    let names = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_EC2_METADATA_DISABLED",
    ];
    assert_eq!(values(&child, &names), [None, None, Some("/dev/null"), Some("/dev/null"), Some("true")]);
    assert!(child.variables.iter().all(|variable| !variable.secret));
    let by_hand = Case::without_role(&[]).env(&[("AWS_ACCESS_KEY_ID", "test"), ("AWS_CONFIG_FILE", "/mine")]).child();
    assert_eq!(values(&by_hand, &["AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE"]), [Some("test"), Some("/mine")]);
}

#[test]
fn the_base_identity_on_purpose_keeps_what_makes_it() {
    let inherited =
        [("AWS_PROFILE", "dev"), ("AWS_CONFIG_FILE", "/c"), ("AWS_SECRET_ACCESS_KEY", "s"), ("HOME", "/h"), ("X", "1")];
    let names =
        ["AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_EC2_METADATA_DISABLED", "X"];
    let child = Case::with_base(&inherited).child();
    assert_eq!(values(&child, &names), [Some("dev"), Some("/c"), Some("s"), Some("eu-west-1"), None, Some("1")]);
    let mut clean = Case::with_base(&inherited);
    clean.service.clean_env = true;
    assert_eq!(values(&clean.child(), &names), [Some("dev"), Some("/c"), Some("s"), Some("eu-west-1"), None, None]);
    let named = Case { profile: Some("shop"), ..Case::with_base(&inherited) }.child();
    assert_eq!(values(&named, &["AWS_PROFILE", "AWS_SECRET_ACCESS_KEY"]), [Some("shop"), None]);
}

#[test]
fn the_sandbox_takes_the_place_of_every_endpoint() {
    let inherited = [
        ("AWS_ENDPOINT_URL", "http://x"),
        ("AWS_ENDPOINT_URL_S3", "http://y"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ("AWS_SECRET_ACCESS_KEY", "real"),
    ];
    let names = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"];
    let sandboxed = [Some("http://127.0.0.1:4000"), None, None];
    for case in [Case::new(&inherited), Case::without_role(&inherited), Case::with_base(&inherited)] {
        assert_eq!(values(&case.sandbox().child(), &names), sandboxed);
    }
    let base = Case::with_base(&inherited).sandbox().child();
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    assert_eq!(values(&base, &keys), [Some("ASIASANDBOXBASE"), Some("base-secret"), Some("base-token")]);
    assert_eq!(values(&Case::without_role(&inherited).sandbox().child(), &keys), [None; 3]);
    assert_eq!(
        values(&Case::new(&inherited).child(), &names),
        [Some("http://x"), Some("http://y"), Some("true")],
        "kept with real credentials"
    );
}

#[test]
fn clean_env_keeps_what_every_program_needs() {
    let mut case = Case::new(&[("PATH", "/bin"), ("HOME", "/h"), ("SECRET", "x"), ("LANG", "C")]);
    case.service.clean_env = true;
    let child = case.env(&[("MINE", "1")]).child();
    assert_eq!(
        values(&child, &["PATH", "HOME", "LANG", "MINE", "SECRET"]),
        [Some("/bin"), Some("/h"), Some("C"), Some("1"), None]
    );
}

#[test]
fn only_devsups_own_secrets_are_redacted() {
    let child = Case::new(&[("DB_PASSWORD", "hunter2")]).env(&[("API_TOKEN", "t0ken")]).child();
    let expected =
        [("[devsup: secret access key of a]", "lease-secret"), ("[devsup: session token of a]", "lease-token")];
    assert_eq!(
        child.redactions(&Name::new("a")),
        expected.map(|(label, secret)| (label.to_owned(), secret.to_owned()))
    );
}

#[test]
fn with_a_user_of_its_own_it_gets_that_home_and_nothing_of_the_callers_session() {
    let session = [
        ("HOME", "/home/alice"),
        ("USER", "alice"),
        ("LOGNAME", "alice"),
        ("SHELL", "/bin/zsh"),
        ("XDG_RUNTIME_DIR", "/run/user/1000"),
        ("SSH_AUTH_SOCK", "/tmp/agent"),
        ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus"),
        ("LANG", "C.UTF-8"),
    ];
    let mut case = Case::new(&session).env(&[("SHELL", "/bin/dash")]);
    case.login = Some(Login { name: "svc-a".into(), home: "/srv/a".into(), shell: "/usr/sbin/nologin".into() });
    let names = ["HOME", "USER", "LOGNAME", "SHELL", "LANG"];
    for clean in [false, true] {
        case.service.clean_env = clean;
        let child = case.child();
        let theirs = [Some("/srv/a"), Some("svc-a"), Some("svc-a"), Some("/bin/dash"), Some("C.UTF-8")];
        assert_eq!(values(&child, &names), theirs, "what the manifest says itself wins");
        let of_caller = |text: &str| text.contains("alice") || text.contains("1000") || text.contains("agent");
        assert!(child.variables.iter().all(|variable| !of_caller(&variable.value.to_string_lossy())));
        assert!(child.scrubbed.iter().any(|name| name == "SSH_AUTH_SOCK"));
    }
    case.login = None;
    case.service.clean_env = false;
    assert_eq!(value(&case.child(), "XDG_RUNTIME_DIR"), Some("/run/user/1000"));
}
