//! `${VAR}`, `${VAR:-default}` and `$$` in string values.
//!
//! Only braces are ours: `$VAR`, `$(cmd)` and the rest are left as they stand, for the shell of a command that has one.
//! Nothing is run to get a value. What names that only a run knows (`PORT`, `ports.…`, `DEVSUP_…`) stand for is asked of
//! [`super::references`].

/// Why a reference cannot be expanded. `reference` is its source text, for the caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unexpanded {
    pub(super) reference: String,
    pub(super) why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// No such variable, and no default.
    Unset(String),
    /// Of a run, and not to be had here, or not at all.
    OfRun(Refused),
    /// Of a run, with a default that could never be used.
    Default(String),
    /// `${` without `}`.
    Open,
    /// `${}`, `${1}`, `${a?b}`.
    Malformed,
}

/// Why a reference to what a run knows cannot stand where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) title: String,
    pub(super) label: String,
    pub(super) help: String,
}

/// What a name that only a run knows becomes: a mark, or what is known of it already.
pub(super) type OfRun<'a> = &'a dyn Fn(&str) -> Result<String, Refused>;

/// A text expanded, and the variables whose values went into it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    pub(super) used: Vec<(String, String)>,
    pub(super) faults: Vec<Unexpanded>,
}

/// Expands every reference of `text` and goes on after a fault, so that all of them are reported.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>, of_run: OfRun<'_>) -> Expanded {
    let mut out = Expanded::default();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.text.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let Some(end) = after.find('}') else {
                out.faults.push(Unexpanded { reference: rest.to_owned(), why: Why::Open });
                return out;
            };
            match resolve(&after[..end], env, of_run, &mut out.used) {
                Ok(value) => out.text.push_str(&value),
                Err(why) => out.faults.push(Unexpanded { reference: rest[..end + 3].to_owned(), why }),
            }
            rest = &after[end + 1..];
        } else {
            out.text.push('$');
            rest = &rest[1..];
        }
    }
    out.text.push_str(rest);
    out
}

fn resolve(
    inside: &str,
    env: &dyn Fn(&str) -> Option<String>,
    of_run: OfRun<'_>,
    used: &mut Vec<(String, String)>,
) -> Result<String, Why> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if is_of_run(name) {
        return match default {
            Some(_) => Err(Why::Default(name.to_owned())),
            None => of_run(name).map_err(Why::OfRun),
        };
    }
    if !is_name(name) {
        return Err(Why::Malformed);
    }
    // As in every shell, `:-` also stands in for an empty value.
    match (env(name).filter(|value| default.is_none() || !value.is_empty()), default) {
        (Some(value), _) => {
            used.push((name.to_owned(), value.clone()));
            Ok(value)
        }
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Why::Unset(name.to_owned())),
    }
}

fn is_of_run(name: &str) -> bool {
    let of = |word: &str, joint: &str| name.strip_prefix(word).is_some_and(|rest| rest.starts_with(joint));
    name == "PORT" || name == "DEVSUP" || of("ports", ".") || of("PORT", "_") || of("DEVSUP", "_")
}

/// `[A-Za-z_][A-Za-z0-9_]*`
pub(super) fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db.local".into()),
            "EMPTY" => Some(String::new()),
            "MONEY" => Some("${HOST}".into()),
            _ => None,
        }
    }

    /// As in a command.
    fn of_run(name: &str) -> Result<String, Refused> {
        let no = || Refused { title: name.into(), label: String::new(), help: String::new() };
        if name == "PORT_NONE" { Err(no()) } else { Ok(format!("<{name}>")) }
    }

    fn text(source: &str) -> String {
        let out = expand(source, &env, &of_run);
        assert_eq!(out.faults, [], "{source}");
        out.text
    }

    #[test]
    fn expands_braces_and_nothing_else() {
        assert_eq!(text("x ${HOST}:5432 y"), "x db.local:5432 y");
        assert_eq!(text("${NONE:-a:-b}"), "a:-b");
        assert_eq!(text("${NONE:-}"), "");
        assert_eq!(text("${EMPTY:-full} ${EMPTY}."), "full .");
        assert_eq!(text("$HOST $(id) $1 $"), "$HOST $(id) $1 $");
        assert_eq!(text("$${HOST} $$ $$$$"), "${HOST} $ $$");
        assert_eq!(text("${MONEY}"), "${HOST}", "a value is not expanded again");
        assert_eq!(text("${PORT}${DEVSUP_RUN} $PORT ${ports.a.b.port}"), "<PORT><DEVSUP_RUN> $PORT <ports.a.b.port>");
    }

    #[test]
    fn names_every_fault() {
        let out = expand("${A} ${B} ${PORT_NONE} ${PORT:-1} ${1} ${C", &env, &of_run);
        let whys: Vec<Why> = out.faults.iter().map(|fault| fault.why.clone()).collect();
        let refused = of_run("PORT_NONE").expect_err("refused");
        assert_eq!(
            whys,
            [
                Why::Unset("A".into()),
                Why::Unset("B".into()),
                Why::OfRun(refused),
                Why::Default("PORT".into()),
                Why::Malformed,
                Why::Open
            ]
        );
        assert_eq!(out.faults[0].reference, "${A}");
    }
}
