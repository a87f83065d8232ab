//! The parser, help, failures in words, and what commands make of what they see.

use clap::{CommandFactory as _, Parser as _};

use super::args::{Cli, Format, HELP, Verb};
use super::failure::{Failure, Kind};
use super::foreground::Hold;
use super::news::News;
use super::outcome::{Goal, Standing, concerned, reached, standing, survivor, troubles, waiting_line};
use super::paint::Paint;
use super::project::no_such_service;
use super::render::sample;
use super::stopping::unsaid;
use crate::control::api::{Failed, FailedKind, Service};
use crate::supervisor::{State, Want};

fn parse(line: &str) -> Result<Cli, String> {
    let words = line.split_whitespace();
    Cli::try_parse_from(words).map_err(|error| Failure::from(&error).render(Paint::Plain))
}

#[test]
fn the_parser_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_fits_one_screen_and_names_every_verb_and_option() {
    assert!(HELP.lines().count() <= 48, "{} lines", HELP.lines().count());
    assert!(HELP.lines().all(|line| line.chars().count() <= 90));
    let command = Cli::command();
    let offered = |name: &str| HELP.split([' ', ',', '\n']).any(|word| word == name);
    for verb in command.get_subcommands() {
        assert!(offered(verb.get_name()), "`{}` is missing in the help", verb.get_name());
        assert!(verb.get_visible_aliases().all(offered));
    }
    for option in command.get_arguments().filter_map(clap::Arg::get_long) {
        assert!(HELP.contains(&format!("--{option}")), "`--{option}` is missing in the help");
    }
}

#[test]
fn every_verb_has_an_example_and_every_option_a_word() {
    for verb in Cli::command().get_subcommands_mut() {
        let help = verb.render_help().to_string();
        assert!(help.contains("Examples:\n  devsup "), "`{}` has no example", verb.get_name());
        for option in verb.get_opts().filter(|option| !option.is_hide_set()) {
            assert!(option.get_help().is_some(), "`{}` of `{}` has no help", option, verb.get_name());
        }
    }
}

#[test]
fn help_of_the_verbs() {
    let mut command = Cli::command();
    command.build();
    let text: Vec<String> = command
        .get_subcommands_mut()
        .filter(|verb| verb.get_name() != "help")
        .map(|verb| format!("── {} ──\n{}", verb.get_name().to_owned(), verb.render_help()))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn every_global_option_is_a_variable_too() {
    for option in
        Cli::command().get_arguments().filter(|option| option.get_id() != "help" && option.get_id() != "version")
    {
        let name = option.get_long().expect("a long name").to_uppercase();
        assert_eq!(option.get_env(), Some(format!("DEVSUP_{name}").as_ref()), "--{name}");
    }
}

#[test]
fn short_flags_mean_what_docker_compose_means() {
    let cli = parse("devsup -f x.toml logs -f -n 5 -t a").expect("understood");
    assert_eq!(cli.globals.file.as_deref(), Some("x.toml".as_ref()));
    assert!(matches!(cli.verb, Verb::Logs(_)));
    for line in ["devsup stop -t 3 a", "devsup down -t 3s", "devsup restart -t 3 a", "devsup up -d", "devsup status a"]
    {
        assert!(parse(line).is_ok(), "{line}");
    }
    let cli = parse("devsup ps --format json -p shop").expect("globals stand anywhere");
    assert_eq!((cli.globals.format, cli.globals.project.as_deref()), (Format::Json, Some("shop")));
    assert!(parse("devsup exec a -- ls -la --color").is_ok());
    assert!(parse("devsup exec a ls -la").is_ok());
}

#[test]
fn what_is_not_understood_is_said_in_our_words() {
    let lines = [
        "devsup pss",
        "devsup frobnicate",
        "devsup ps -f x.toml",
        "devsup up --deatch",
        "devsup restart",
        "devsup stop a --all",
        "devsup stop a -t soon",
        "devsup wait a --for never",
        "devsup logs -n many",
        "devsup logs a -n",
        "devsup hold a --for 0s",
        "devsup help frobnicate",
        "devsup kill a -s NOPE",
        "devsup whoami --try bucket1",
        "devsup hold",
        "devsup up --wait-timeout 5s",
        "devsup ps --format yaml",
        "devsup diagnose",
    ];
    let text: Vec<String> = lines
        .iter()
        .map(|line| format!("$ {line}\n{}", parse(line).err().unwrap_or_else(|| "understood\n".to_owned())))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn exit_codes_are_those_of_the_page() {
    let codes: Vec<u8> = [
        Kind::ReaderLeft,
        Kind::Failed,
        Kind::Usage,
        Kind::Said,
        Kind::NotRunning,
        Kind::NoSuchService,
        Kind::ProjectDown,
        Kind::NotPermitted,
        Kind::CredentialsRefused,
        Kind::TimedOut,
        Kind::Own,
        Kind::CannotExecute,
        Kind::CommandNotFound,
    ]
    .iter()
    .map(|kind| kind.code().0)
    .collect();
    assert_eq!(codes, [0, 1, 2, 2, 3, 4, 5, 6, 7, 124, 125, 126, 127]);
}

#[test]
fn a_failure_has_error_cause_and_hint() {
    let failed = Failed {
        kind: FailedKind::CredentialsRefused,
        error: "service `b`: waiting for credentials".into(),
        causes: vec!["AccessDenied: not trusted".into()],
        hints: vec!["devsup creds b --refresh".into(), "{\n  \"Effect\": \"Allow\"\n}".into()],
    };
    let failure = Failure::from(failed);
    assert_eq!(failure.kind.code().0, 7);
    insta::assert_snapshot!(failure.render(Paint::Plain));
    let unknown = no_such_service("servce-a", &["service-a", "service-b"]);
    insta::assert_snapshot!(unknown.render(Paint::Plain), @"
    error: service `servce-a`: no such service
    hint: did you mean `service-a`?
    ");
    let far = no_such_service("x", &["service-a", "service-b"]);
    insta::assert_snapshot!(far.render(Paint::Plain), @"
    error: service `x`: no such service
    hint: there are `service-a` and `service-b`
    ");
}

#[test]
fn a_reader_that_left_is_no_error() {
    let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    assert_eq!((failure.kind.code().0, failure.render(Paint::Plain)), (0, String::new()));
}

#[test]
fn what_has_become_of_a_service() {
    let all = sample::all_states();
    let of = |name: &str| standing(all.iter().find(|service| service.name == name).expect("a sample"), &all);
    assert_eq!(of("a"), Standing::Ready);
    assert!(matches!(of("b"), Standing::Refused(refusal) if refusal.code == "AccessDenied"));
    assert!(matches!(of("c"), Standing::Failed(_)), "the third crash lasts");
    assert_eq!(of("f"), Standing::Pending, "nobody knows of `db`");
    assert_eq!(of("g"), Standing::Started, "its process is there, though not ready");
    assert_eq!(standing(&sample::service("g", State::Starting, "starting"), &all), Standing::Pending);
    assert_eq!(of("migrate"), Standing::Done);
    assert!(reached(&Standing::Started, Goal::Started) && !reached(&Standing::Started, Goal::Ready));
}

#[test]
fn who_waits_for_a_refused_service_is_blocked_and_both_are_reported() {
    let waits = Service {
        depends_on: vec!["b".into()],
        waits_for: vec!["b".into()],
        ..sample::plain(sample::service("z", State::Waiting, "waiting for b"))
    };
    let all = [sample::refused("b"), waits, sample::backoff("c")];
    assert_eq!(standing(&all[1], &all), Standing::Blocked { on: "b".into() });
    let both = troubles(&[&all[0], &all[1]], &all, Goal::Started).expect("trouble");
    assert_eq!(both.kind, Kind::CredentialsRefused);
    let with_failed = troubles(&[&all[0], &all[1], &all[2]], &all, Goal::Started).expect("trouble");
    assert_eq!(with_failed.kind, Kind::Failed);
    insta::assert_snapshot!([both.render(Paint::Plain), with_failed.render(Paint::Plain)].join("\n"));
    assert_eq!(troubles(&[&sample::running("a", 1)], &all, Goal::Started), None);
}

#[test]
fn a_survivor_of_sigkill_is_named() {
    let stuck = Service {
        survivors: vec!["pid 812 (D state)".into()],
        ..sample::service("h", State::Stopping, "stopping 14s")
    };
    assert_eq!(survivor(&stuck).as_deref(), Some("`h`: pid 812 (D state) survives SIGKILL"));
    assert_eq!(survivor(&sample::running("a", 1)), None);
}

#[test]
fn waiting_is_said_with_a_count() {
    let all = sample::all_states();
    let lines: Vec<String> = all.iter().map(|service| waiting_line(service, "3s")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn an_up_is_about_what_was_named_and_what_that_needs() {
    let needs = |name: &str, on: &[&str]| Service {
        depends_on: on.iter().map(|name| (*name).to_owned()).collect(),
        autostart: false,
        want: Want::Down,
        ..sample::service(name, State::Stopped, "stopped")
    };
    let all = [needs("a", &["b"]), needs("b", &["c"]), needs("c", &[]), sample::running("d", 1)];
    assert_eq!(concerned(&["a".into()], false, &all), ["a", "b", "c"]);
    assert_eq!(concerned(&["a".into()], true, &all), ["a"]);
    assert_eq!(concerned(&[], false, &all), ["d"]);
}

#[test]
fn news_are_said_once_and_end_with_an_invitation() {
    let names = vec!["a".to_owned(), "b".to_owned()];
    let mut news = News::new(names, Hold::Launched, Paint::Plain);
    let starting = Service { ready: false, ..sample::service("a", State::Starting, "starting 1s") };
    let mut watch = sample::watch(vec![starting, sample::refused("b")]);
    let mut text = news.of(&watch);
    assert_eq!(news.awaited(), ["a"]);
    assert_eq!(news.of(&watch), Vec::<String>::new(), "nothing is said twice");
    watch.services[0] = sample::running("a", 4121);
    watch.project.sandbox = true;
    text.push("-- a is ready --".into());
    text.extend(news.of(&watch));
    assert!(news.all_there());
    watch.services[0] = sample::backoff("a");
    watch.project.shutting_down = true;
    text.push("-- a crashed, and somebody types down --".into());
    text.extend(news.of(&watch));
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn an_ordinary_rotation_is_no_news_and_who_attaches_is_not_invited() {
    let mut news = News::new(vec!["a".to_owned()], Hold::Attached, Paint::Plain);
    let mut watch = sample::watch(vec![sample::running("a", 4121)]);
    assert_eq!(news.of(&watch), ["a  running (ready) · pid 4121 · role service-a"]);
    for state in [State::Stopping, State::Waiting, State::Starting] {
        watch.services[0] = Service { rotations: 3, ..sample::service("a", state, "on its way") };
        assert_eq!(news.of(&watch), Vec::<String>::new());
        assert!(!news.all_there());
    }
    watch.services[0] = Service { rotations: 3, run: Some(5), ..sample::running("a", 4122) };
    assert_eq!(news.of(&watch), Vec::<String>::new());
    assert!(news.all_there());
    watch.services[0] = sample::backoff("a");
    news.of(&watch);
    watch.services[0] = Service { rotations: 4, run: Some(6), ..sample::running("a", 4123) };
    assert_eq!(news.of(&watch).len(), 1, "after a crash it is news that it is there again");
}

#[test]
fn the_same_refusal_of_several_is_said_once() {
    let all = [sample::refused("b"), Service { name: "c".into(), ..sample::refused("b") }];
    let trouble = troubles(&[&all[0], &all[1]], &all, Goal::Started).expect("trouble");
    assert_eq!((trouble.causes.len(), trouble.hints.len()), (1, 1));
    assert!(trouble.causes[0].starts_with("`b` and `c`: waiting for credentials: "), "{:?}", trouble.causes);
    let mut news = News::new(vec!["b".to_owned(), "c".to_owned()], Hold::Attached, Paint::Plain);
    let lines = news.of(&sample::watch(all.into()));
    assert_eq!(lines.iter().filter(|line| line.contains("AccessDenied: ")).count(), 1, "{lines:?}");
}

#[test]
fn a_question_that_is_under_way_is_not_counted_down() {
    let asking =
        Service { next: Some("asks again in 0s, or `devsup creds b --refresh`".into()), ..sample::refused("b") };
    assert!(waiting_line(&asking, "3s").ends_with(", asking again)"), "{}", waiting_line(&asking, "3s"));
}

#[test]
fn who_is_there_already_is_not_reported_again() {
    let names = ["a".to_owned(), "b".to_owned(), "ab".to_owned()];
    assert_eq!(unsaid(&names, &["a is up already".into(), "held by bob".into()]), ["b", "ab"]);
    assert_eq!(unsaid(&names, &[]), names);
}

#[test]
fn late_is_trouble_for_who_waits_for_ready_and_none_for_who_waits_for_started() {
    let all = [sample::late("b"), sample::running("a", 1)];
    let now = standing(&all[0], &all);
    assert_eq!(now, Standing::Overdue("not ready after 1m 30s: connection refused".into()));
    assert!(reached(&now, Goal::Ready) && reached(&now, Goal::Started));
    assert_eq!(troubles(&[&all[0]], &all, Goal::Started), None);
    let failure = troubles(&[&all[0], &all[1]], &all, Goal::Ready).expect("trouble");
    assert_eq!(failure.kind.code().0, 1);
    insta::assert_snapshot!(failure.render(Paint::Plain), @r"
    error: service `b` is not ready
    cause: `b`: not ready after 1m 30s: connection refused
    hint: devsup logs -n 20 b
    ");
}

#[test]
fn what_somebody_else_runs_is_waited_for_only_where_ready_is_the_goal() {
    let away = sample::external("db", false);
    assert_eq!(standing(&away, &[]), Standing::Away);
    assert!(reached(&Standing::Away, Goal::Started) && !reached(&Standing::Away, Goal::Ready));
    assert_eq!(standing(&sample::external("db", true), &[]), Standing::Ready);
    let missed = Service { overdue: true, why: Some("not there after 1m: connection refused".into()), ..away };
    let failure = troubles(&[&missed], &[], Goal::Ready).expect("trouble");
    assert_eq!((failure.kind, failure.hints), (Kind::Failed, vec!["devsup ps db".to_owned()]));
    assert_eq!(troubles(&[&missed], &[], Goal::Started), None);
}

/// Each waits for all before it: the ways through are more than anybody has time for.
#[test]
fn many_that_wait_for_many_are_looked_at_once_each() {
    let name = |number: usize| format!("s{number}");
    let waits = |number| Service {
        waits_for: (0..number).map(name).collect(),
        ..sample::plain(sample::service(&name(number), State::Waiting, "waiting"))
    };
    let mut all: Vec<Service> = (0..60).map(waits).collect();
    assert_eq!(standing(&all[59], &all), Standing::Pending);
    all[0] = sample::service("s0", State::Failed, "failed: exit 1");
    assert_eq!(standing(&all[59], &all), Standing::Blocked { on: "s0".into() });
}

#[test]
fn who_waits_for_what_will_not_come_is_blocked_and_says_for_what() {
    let waits = |why: &str| Service {
        waits_for: vec!["b".into()],
        why: Some(why.into()),
        ..sample::plain(sample::service("z", State::Waiting, "waiting for b"))
    };
    let stopped = Service { want: Want::Down, ..sample::service("b", State::Stopped, "stopped") };
    let done = sample::service("b", State::Done, "done");
    let failed = sample::service("b", State::Failed, "failed: exit 1");
    for other in [stopped, done, failed, sample::late("b")] {
        let all = [waits("b is no good"), other];
        assert_eq!(standing(&all[0], &all), Standing::Blocked { on: "b".into() });
        let failure = troubles(&[&all[0]], &all, Goal::Started).expect("trouble");
        assert_eq!((failure.kind, failure.causes), (Kind::Failed, vec!["`z`: waits for `b`: b is no good".to_owned()]));
    }
    for other in [sample::running("b", 1), sample::external("b", false)] {
        let all = [waits("b is on its way"), other];
        assert_eq!(standing(&all[0], &all), Standing::Pending);
    }
    let chain = Service { waits_for: vec!["z".into()], ..sample::service("y", State::Waiting, "waiting for z") };
    let all = [Service { credentials: None, ..chain }, waits("b is refused"), sample::refused("b")];
    let failure = troubles(&[&all[0]], &all, Goal::Ready).expect("trouble");
    assert_eq!(failure.kind, Kind::CredentialsRefused, "in the end it is AWS that refuses");
}

#[test]
fn a_late_service_is_news_once_and_nobody_waits_for_it_any_more() {
    let mut news = News::new(vec!["b".to_owned(), "db".to_owned()], Hold::Attached, Paint::Plain);
    let early = Service { overdue: false, ..sample::late("b") };
    let mut watch = sample::watch(vec![early, sample::external("db", false)]);
    assert_eq!(news.of(&watch), Vec::<String>::new());
    assert_eq!(news.awaited(), ["b", "db"]);
    watch.services[0] = sample::late("b");
    let lines = news.of(&watch);
    assert!(lines[0].starts_with("b   starting 1m 35s, not ready in time · not ready after"), "{lines:?}");
    assert_eq!((news.of(&watch).len(), news.awaited()), (0, vec!["db".to_owned()]));
    watch.services[1] = sample::external("db", true);
    assert_eq!(news.of(&watch), ["db  there (external)"]);
}
