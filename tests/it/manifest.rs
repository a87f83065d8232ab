//! `services.toml`: `tests/manifest/good/*.toml` load and print as `NAME.printed` says; `tests/manifest/bad/*.toml` are
//! refused with the words of `NAME.expected`. `UPDATE=1 cargo test --test it manifest` writes both anew, for review.

use std::path::{Path, PathBuf};
use std::{env, fs};

use devsup::manifest::{
    Check, Colour, Command, Condition, Loaded, Manifest, Probe, Problems, Restart, Source, Target, Trust, load, print,
    read_env_files, schema, template,
};

use crate::place::sources;

mod fuzz;

fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = sources().join("tests/manifest").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .filter(|path| !path.to_string_lossy().ends_with(".local.toml"))
        .collect();
    files.sort();
    files
}

/// The environment of every case.
fn ada(name: &str) -> Option<String> {
    let value = match name {
        "USER" => "ada",
        "HOME" => "/home/ada",
        "DB_HOST" => "db.local",
        "EMPTY" => "",
        "WORDS" => "two words; and more",
        "API_TOKEN" => "t0p-s3cret",
        _ => return None,
    };
    Some(value.into())
}

/// The checkout's own modes are not the case's business.
fn read(file: &Path) -> Result<Loaded, Problems> {
    read_as(file, Trust::Insecure)
}

fn read_as(file: &Path, trust: Trust) -> Result<Loaded, Problems> {
    let cwd = file.parent().expect("a folder").to_owned();
    load(&Source { file: Some(file.to_owned()), cwd, env: &ada, trust, group_is_shared: &|_| false })
}

/// A manifest of its own folder, which must outlive it.
fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("services.toml");
    fs::write(&file, text).expect("a manifest");
    (folder, file)
}

fn manifest(text: &str) -> Manifest {
    let (_folder, file) = write(text);
    read(&file).unwrap_or_else(|problems| panic!("{problems}")).manifest
}

/// Its service `a`, as if the manifest lay in that folder.
fn manifest_in(dir: &str, text: &str) -> devsup::manifest::Service {
    let service = (*manifest(text).services["a"]).clone();
    devsup::manifest::Service { working_dir: dir.into(), ..service }
}

fn refusal(text: &str) -> String {
    let (_folder, file) = write(text);
    read(&file).expect_err(text).render(Colour::Plain)
}

fn compare(case: &Path, end: &str, found: &str) -> Result<(), String> {
    let expected = case.with_extension(end);
    if env::var_os("UPDATE").is_some() {
        fs::write(&expected, found).expect("an expectation");
    }
    let text = fs::read_to_string(&expected).unwrap_or_default();
    if text == found {
        return Ok(());
    }
    Err(format!("{}\n--- expected\n{text}\n--- found\n{found}", case.display()))
}

#[test]
fn good_manifests_load_and_print() {
    let cases = cases("good");
    assert!(cases.len() >= 16, "the cases are there");
    let mut wrong = Vec::new();
    for case in cases {
        let loaded = read(&case).unwrap_or_else(|problems| panic!("{}:\n{problems}", case.display()));
        let mut text = print(&loaded);
        for warning in loaded.warnings.iter().filter(|warning| !warning.title().contains("may be written by")) {
            text.push('\n');
            text.push_str(&warning.render(Colour::Plain));
        }
        let folder = case.parent().expect("a folder").to_string_lossy().into_owned();
        wrong.extend(compare(&case, "printed", &text.replace(&folder, "<folder>")).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_manifests_are_refused_with_these_words() {
    let cases = cases("bad");
    assert!(cases.len() >= 75, "the cases are there");
    let mut wrong = Vec::new();
    for case in cases {
        let Err(problems) = read(&case) else { panic!("{} loads", case.display()) };
        let text = problems.render(Colour::Plain);
        let folder = case.parent().expect("a folder").to_string_lossy().into_owned();
        wrong.extend(compare(&case, "expected", &text.replace(&folder, "<folder>")).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `config` prints is the same manifest again, but for what it hides.
#[test]
fn printed_manifests_mean_the_same() {
    let mut compared = 0;
    for case in cases("good") {
        let folder = tempfile::tempdir().expect("a folder");
        for file in [case.clone(), case.with_extension("local.toml")].iter().filter(|file| file.exists()) {
            fs::copy(file, folder.path().join(file.file_name().expect("a name"))).expect("a copy");
        }
        let loaded = read(&folder.path().join(case.file_name().expect("a name"))).expect("a good one");
        let text = print(&loaded);
        if text.contains("***") {
            continue;
        }
        let again = folder.path().join("again.toml");
        fs::write(&again, text).expect("a manifest");
        let again = read(&again).unwrap_or_else(|problems| panic!("{}:\n{problems}", case.display()));
        assert_eq!(Manifest { files: Vec::new(), ..again.manifest }, Manifest { files: Vec::new(), ..loaded.manifest });
        compared += 1;
    }
    assert!(compared >= 15, "only {compared} could be compared");
}

#[test]
fn the_manifest_of_this_repository_tells_the_story() {
    let loaded = read(&sources().join("services.toml")).expect("our own manifest");
    let manifest = loaded.manifest;
    assert_eq!(manifest.name, "three-buckets");
    let roles: Vec<Option<&str>> =
        manifest.services.values().map(|service| service.role.as_ref().map(|role| role.arn.as_str())).collect();
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("arn:aws:iam::033145145979:role/service-{name}"));
    assert_eq!(roles, [Some(a.as_str()), Some(&b), Some(&c), None]);
    assert!(manifest.services["d"].inherit_aws);
    for service in manifest.services.values() {
        let Some(Command::Shell(line)) = &service.command else { panic!("{} needs a shell", service.name) };
        assert!(line.contains("\"$DEVSUP\" whoami --try s3://bucket1 s3://bucket2 s3://bucket3"), "{line}");
    }
}

#[test]
fn the_smallest_manifest_works() {
    let text =
        "[services.a]\ncommand = \"./service-a --port 8001\"\nrole = \"arn:aws:iam::033145145979:role/service-a\"";
    let manifest = manifest(text);
    let service = &manifest.services["a"];
    assert_eq!(service.argv(), ["./service-a", "--port", "8001"]);
    assert_eq!((service.restart, service.stop_signal, service.stop_timeout.as_secs()), (Restart::OnFailure, 15, 10));
    assert_eq!(service.working_dir, manifest.dir);
    let role = service.role.as_ref().expect("a role");
    assert_eq!((role.duration.as_secs(), role.session_name.as_str()), (3600, "devsup-{user}-{service}"));
}

#[test]
fn byte_order_mark_crlf_and_tabs_are_tolerated() {
    let manifest = manifest("\u{feff}[services.a]\r\n\tcommand\t=\t\"./a\"\r\n");
    assert_eq!(manifest.services["a"].argv(), ["./a"]);
    let text = refusal("\u{feff}[services.a]\r\n\tcomand = \"./a\"\r\n");
    assert!(text.contains("services.toml:2:2") && text.contains("did you mean `command`?"), "{text}");
}

#[test]
fn local_changes_merge_key_by_key() {
    let (folder, file) = write(
        "[defaults]\nenv = { LOG = \"info\", A = \"1\" }\n[services.a]\ncommand = \"./a\"\ndepends_on = [\"b\"]\n\
         role = \"arn:aws:iam::033145145979:role/a\"\n[services.b]\ncommand = \"./b\"\n[services.c]\ncommand = \"./c\"\n",
    );
    fs::write(
        folder.path().join("services.local.toml"),
        "[services.a]\nenv.LOG = \"debug\"\ndepends_on.c = \"started\"\nrole.duration = \"30m\"\n[services.b]\nautostart = false\n",
    )
    .expect("local changes");
    let loaded = read(&file).expect("both are fine");
    let a = &loaded.manifest.services["a"];
    assert_eq!(a.env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["A=1", "LOG=debug"]);
    assert_eq!(a.depends_on.keys().map(ToString::to_string).collect::<Vec<_>>(), ["b", "c"]);
    assert!(a.depends_on.values().all(|dependency| dependency.condition == Condition::Started));
    let role = a.role.as_ref().expect("a role");
    assert_eq!((role.arn.role_name(), role.duration.as_secs()), ("a", 1800));
    assert!(!loaded.manifest.services["b"].autostart);
    assert_eq!(loaded.manifest.files.len(), 2);
    let text = print(&loaded);
    assert!(text.contains("LOG = \"debug\"  # services.local.toml:2"), "{text}");
    assert!(text.contains("A = \"1\"  # [defaults], services.toml:2"), "{text}");
}

#[test]
fn problems_of_both_files_are_said_together() {
    let (folder, file) = write("[services.a]\ncommand = \"./a\"\nbogus = 1\n");
    fs::write(folder.path().join("services.local.toml"), "[services.a]\nrestart = \"no\"\n").expect("local changes");
    let text = read(&file).expect_err("both are wrong").render(Colour::Plain);
    assert!(text.contains("--> services.toml:3:1") && text.contains("--> services.local.toml:2:11"), "{text}");
    assert!(text.ends_with("2 problems in services.toml and services.local.toml; nothing was started\n"), "{text}");
}

#[test]
fn what_the_entry_says_beats_the_defaults() {
    let manifest = manifest(
        "[defaults]\nrestart = \"always\"\n[defaults.role]\narn = \"arn:aws:iam::033145145979:role/all\"\n\
         [services.a]\ncommand = \"./a\"\nrestart = \"never\"\n[services.b]\ncommand = \"./b\"\ninherit_aws = true\n",
    );
    let (a, b) = (&manifest.services["a"], &manifest.services["b"]);
    assert_eq!((a.restart, b.restart), (Restart::Never, Restart::Always));
    assert!(a.role.is_some() && !a.inherit_aws && b.role.is_none() && b.inherit_aws);
}

#[test]
fn settings_for_roles_make_no_role() {
    let manifest = manifest("[defaults.role]\nduration = \"2h\"\n[services.a]\ncommand = \"./a\"\n");
    assert_eq!(manifest.services["a"].role, None);
}

#[test]
fn a_local_check_takes_the_place_of_the_one_beside_it() {
    let (folder, file) = write(
        "[defaults]\nready = { fd = 3 }\n[services.a]\ncommand = \"./a\"\n\
         ready = { http = \"http://127.0.0.1:1/\", timeout = \"5m\" }\n",
    );
    let ready = read(&file).expect("a good one").manifest.services["a"].ready.clone().expect("a check");
    assert!(matches!(ready.check, Check::Probe(Probe::Http(_))), "its own beats `[defaults]`");
    fs::write(folder.path().join("services.local.toml"), "[services.a]\nready.tcp = \"127.0.0.1:1\"\n")
        .expect("local changes");
    let ready = read(&file).expect("a good one").manifest.services["a"].ready.clone().expect("a check");
    assert!(matches!(ready.check, Check::Probe(Probe::Tcp(_))));
    assert_eq!(ready.timeout.as_secs(), 300, "the rest of it stays");
}

/// Of an external service nothing but that it is ready can be waited for; of others it must be asked for.
#[test]
fn a_plain_dependency_on_an_external_service_means_ready() {
    let rest = "[services.db]\nready.tcp = \"127.0.0.1:5432\"\n[services.b]\ncommand = \"./b\"\n";
    for list in ["depends_on = [\"db\", \"b\"]", "depends_on = { db = {}, b = { restart = true } }"] {
        let manifest = manifest(&format!("[services.a]\ncommand = \"./a\"\n{list}\n{rest}"));
        assert!(manifest.services["db"].external() && !manifest.services["b"].external());
        let on = &manifest.services["a"].depends_on;
        assert_eq!((on["db"].condition, on["b"].condition), (Condition::Ready, Condition::Started), "{list}");
    }
    // The list is merged with a table, and neither loses what it says.
    let (folder, file) = write(&format!("[services.a]\ncommand = \"./a\"\ndepends_on = [\"db\", \"b\"]\n{rest}"));
    let local = folder.path().join("services.local.toml");
    fs::write(&local, "[services.a]\ndepends_on.b = \"ready\"\n").expect("local changes");
    let on = read(&file).expect("a good one").manifest.services["a"].depends_on.clone();
    assert_eq!((on["db"].condition, on["b"].condition), (Condition::Ready, Condition::Ready));
    let table = "depends_on = { db = \"ready\", b = { condition = \"ready\", restart = true } }";
    fs::write(&file, format!("[services.a]\ncommand = \"./a\"\n{table}\n{rest}")).expect("a manifest");
    fs::write(&local, "[services.a]\ndepends_on = [\"b\"]\n").expect("local changes");
    let on = read(&file).expect("a good one").manifest.services["a"].depends_on.clone();
    assert_eq!((on["b"].condition, on["b"].restart), (Condition::Ready, true));
}

#[test]
fn isolation_is_for_services_with_a_role() {
    let role = "role = \"arn:aws:iam::033145145979:role/a\"";
    for (keys, isolated) in [("", false), (role, true), ("isolate = true", true)] {
        assert_eq!(manifest(&format!("[services.a]\ncommand = \"./a\"\n{keys}\n")).services["a"].isolate, isolated);
    }
    let text = format!("[services.a]\ncommand = \"./a\"\nisolate = false\n{role}\n");
    assert!(!manifest(&text).services["a"].isolate);
}

#[test]
fn a_folder_is_no_glob() {
    let (folder, file) = write("[services.a]\ncommand = \"./a\"\nwatch = [\"src\", \"notes\"]\n");
    read(&file).expect("nothing says that they are folders");
    fs::create_dir(folder.path().join("src")).expect("a folder");
    let text = read(&file).expect_err("it watches nothing in the folder").render(Colour::Plain);
    assert!(text.contains("`src` is a folder") && text.contains("`src/**/*`") && !text.contains("notes` is"), "{text}");
}

#[test]
fn what_means_the_same_is_equal() {
    let service = |keys: &str| manifest_in("/", &format!("[services.a]\ncommand = \"./a\"\n{keys}\n"));
    for (one, other) in [
        ("watch = [\"b/*\", \"a\"]", "watch = [\"a\", \"./b//*\", \"a\"]"),
        ("limits = { as = \"1GiB\", core = 0 }", "limits = { core = \"0B\", as = 1073741824 }"),
        ("limits.cpu = 60", "limits.cpu = { soft = \"1m\", hard = \"60s\" }"),
        ("user = 7\numask = \"22\"", "user = \"007\"\numask = \"0o022\""),
        ("ready.tcp = \"[::1]:80\"", "ready = { tcp = \"[0::1]:80\", timeout = \"60s\", interval = \"500ms\" }"),
        ("live.http = \"http://h\"", "live = { http = \"http://h:80/\", failures = 3 }"),
        ("limits = { memory = \"unlimited\" }\nnice = 0", "limits = {}\nnice = 0"),
    ] {
        assert_eq!(service(one), service(other));
    }
    assert_ne!(service("ready.fd = 3"), service("ready.fd = 4"));
    assert_ne!(service("nice = 0"), service(""), "what is not said is inherited");
}

#[test]
fn an_expanded_value_stays_one_word_and_runs_nothing() {
    let manifest = manifest("[services.a]\ncommand = \"./a --x ${WORDS} ${NONE:-a b}\"\n");
    let expected = Command::Exec(["./a", "--x", "two words; and more", "a b"].map(str::to_owned).to_vec());
    assert_eq!(manifest.services["a"].command, Some(expected));
}

#[test]
fn no_secret_is_shown_by_config_or_by_an_error() {
    let text = "[services.a]\ncommand = \"./a --token ${API_TOKEN}\"\nenv = { DB_PASSWORD = \"hunter2\", N = \"x${API_TOKEN}x\" }\n\
        ready.http = \"http://${DB_HOST}/?t=${API_TOKEN}\"\n";
    let (_folder, file) = write(text);
    let loaded = read(&file).expect("a good one");
    let shown = format!("{}{:?}", print(&loaded), loaded.origins);
    assert!(!shown.contains("hunter2") && !shown.contains("t0p-s3cret"), "{shown}");
    assert!(shown.contains("ready = { http = \"http://db.local:80/?t=***\""), "{shown}");
    for fault in ["bogus = 1", "not toml at all", "env.x = ["] {
        let shown = refusal(&format!("{text}{fault}\n[services.b]\nenv = {{ A_SECRET = \"hunter2\" \n"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_secret_in_the_faulty_line_is_masked() {
    let shown = refusal(
        "[services.a]\ncommand = \"./a\"\nrole = \"arn:aws:iam::033145145979:role/a\"\nenv = { AWS_SECRET_ACCESS_KEY = \"hunter2\" }\n",
    );
    assert!(shown.contains("AWS_SECRET_ACCESS_KEY = \"*******\"") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn an_expanded_secret_is_not_said_back() {
    let shown = refusal("name = \"${API_TOKEN}!\"\n[services.a]\ncommand = \"./a\"\nrestart = \"${API_TOKEN}\"\n");
    assert!(shown.contains("`restart` cannot be `***`") && !shown.contains("t0p-s3cret"), "{shown}");
}

#[test]
fn a_secret_that_local_changes_replace_is_masked_too() {
    let (folder, file) = write("[services.a]\ncommand = \"./a\"\nenv = { A_SECRET = \"hunter2\", B = [] }\n");
    fs::write(folder.path().join("services.local.toml"), "[services.a]\nenv.A_SECRET = \"x\"\n")
        .expect("local changes");
    let text = read(&file).expect_err("B is a list").render(Colour::Plain);
    assert!(text.contains("B = []") && !text.contains("hunter2"), "{text}");
}

#[test]
fn env_files_are_read_and_guarded() {
    let (folder, file) = write("[services.a]\ncommand = \"./a\"\nenv_file = [\".env\", \"./more.env\"]\n");
    fs::write(folder.path().join(".env"), "A=1\n").expect("an env_file");
    let loaded = read(&file).expect("one is missing, which is only said");
    let warning = loaded.warnings.iter().find(|warning| warning.title().contains("more.env")).expect("a warning");
    assert!(warning.title().contains("no such file"), "{}", warning.title());
    fs::write(folder.path().join("more.env"), "B=2\nAWS_PROFILE=prod\n").expect("an env_file");
    let service = &read(&file).expect("both are there").manifest.services["a"];
    let read_now = read_env_files(service).expect("both are fine");
    assert_eq!((read_now[0].1["A"].as_str(), read_now[1].1["B"].as_str()), ("1", "2"));
    let with_role = "role = \"arn:aws:iam::033145145979:role/a\"\n";
    let text = fs::read_to_string(&file).expect("our manifest") + with_role;
    fs::write(&file, text).expect("a manifest");
    let text = read(&file).expect_err("an identity beside a role").render(Colour::Plain);
    assert!(text.contains("more.env:2: `AWS_PROFILE` is set beside a role") && !text.contains("prod"), "{text}");
}

#[test]
fn what_others_may_write_is_refused_unless_insecure() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, file) = write("[services.a]\ncommand = \"./a\"\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("our file");
    let of_ours = |text: &str| text.contains(&format!("`{}", folder.path().display()));
    let text = read_as(&file, Trust::Strict).expect_err("everybody may write to it").render(Colour::Plain);
    assert!(of_ours(&text) && text.contains("mode 0666") && text.contains("--insecure-manifest"), "{text}");
    let loaded = read_as(&file, Trust::Insecure).expect("said, and gone on with");
    assert!(loaded.warnings.iter().any(|warning| of_ours(warning.title())));
}

/// A fixed address of another service is a part of what the text means; a free one is filled by the run.
#[test]
fn a_port_that_moved_changes_who_names_it() {
    let with = |listen: &str| {
        let text = format!(
            "[services.a]\ncommand = \"./a ${{ports.b.http}}\"\n[services.b]\ncommand = \"./b\"\nports.http = \"{listen}\"\n"
        );
        manifest_in("/", &text)
    };
    assert_eq!(with("127.0.0.1:1").argv(), ["./a", "127.0.0.1:1"]);
    assert_ne!(with("127.0.0.1:1"), with("127.0.0.1:2"));
    let free = with("127.0.0.1:auto").argv()[1].clone();
    assert_eq!(template::shown(&free), "${ports.b.http}");
    let known = |name: &str| (name == "ports.b.http").then(|| "127.0.0.1:9".to_owned());
    assert_eq!(template::fill(&free, &known).as_deref(), Ok("127.0.0.1:9"));
}

#[test]
fn a_service_that_says_nothing_is_asked_at_its_port() {
    let port = |handover: &str| format!("{{ listen = \"127.0.0.1:1\", handover = \"{handover}\" }}");
    let check = |ports: &str| {
        let ready = manifest_in("/", &format!("[services.a]\ncommand = \"./a\"\nports = {{ {ports} }}\n")).ready;
        ready.map(|ready| ready.check)
    };
    let own = |name: &str| Some(Check::Probe(Probe::Tcp(Target::Own(name.into()))));
    assert_eq!(check(&format!("web = {}", port("none"))), own("web"));
    assert_eq!(check(&format!("web = {}", port("forward"))), own("web"));
    assert_eq!(check(&format!("web = {}", port("socket"))), None);
    assert_eq!(check("web = \"run/a.sock\""), None);
    assert_eq!(check("web = { listen = \"run/a.sock\", handover = \"forward\" }"), own("web"));
    assert_eq!(check("a = \"127.0.0.1:1\", http = \"127.0.0.1:2\""), own("http"));
    assert_eq!(check("a = \"127.0.0.1:1\", z = \"127.0.0.1:2\""), own("a"));
    assert_eq!(check(&format!("http = {}, z = \"127.0.0.1:2\"", port("socket"))), own("z"));
}

#[test]
fn a_manifest_that_is_not_there_is_one_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = |file: Option<PathBuf>| {
        let cwd = folder.path().to_owned();
        load(&Source { file, cwd, env: &ada, trust: Trust::Insecure, group_is_shared: &|_| false })
    };
    let named = source(Some("nope.toml".into())).expect_err("no such file").render(Colour::Plain);
    assert!(named.contains("nope.toml` does not exist"), "{named}");
    assert!(named.ends_with("1 problem; nothing was started\n"), "{named}");
}

#[test]
fn colours_are_asked_for() {
    let (_folder, file) = write("[services.a]\ncomand = 1\n");
    let problems = read(&file).expect_err("a slip");
    assert!(problems.render(Colour::Styled).contains("\u{1b}["));
    assert!(!problems.render(Colour::Plain).contains('\u{1b}'));
    assert_eq!(problems.iter().next().and_then(|problem| problem.position()), Some(("services.toml", 2, 1)));
}

#[test]
fn the_schema_is_json_with_descriptions() {
    let text = schema();
    assert!(text.contains("\"$schema\"") && text.contains("\"description\"") && text.contains("\"inherit_aws\""));
}
