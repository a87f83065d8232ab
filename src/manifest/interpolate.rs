//! `${VAR}`, `${VAR:-default}` and `$$` in string values.
//!
//! Only braces are ours: `$VAR`, `$(cmd)` and the rest are left as they stand, for the shell of a command that has one.
//! Nothing is run to get a value. Names that only a run knows (`PORT`, `DEVSUP_…`) are refused rather than left behind
//! as text: in a command the shell expands `$DEVSUP_RUN` by itself.

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
    /// Only a run has it: `DEVSUP_RUN`, `PORT`.
    PerRun(String),
    /// Ports come later: `PORT_HTTP`, `ports.a.http`.
    Ports,
    /// `${` without `}`.
    Open,
    /// `${}`, `${1}`, `${a?b}`.
    Malformed,
}

/// A text expanded, and the variables whose values went into it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    pub(super) used: Vec<(String, String)>,
    pub(super) faults: Vec<Unexpanded>,
}

/// Expands every reference of `text` and goes on after a fault, so that all of them are reported.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Expanded {
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
            resolve(&rest[..end + 3], &after[..end], env, &mut out);
            rest = &after[end + 1..];
        } else {
            out.text.push('$');
            rest = &rest[1..];
        }
    }
    out.text.push_str(rest);
    out
}

fn resolve(reference: &str, inside: &str, env: &dyn Fn(&str) -> Option<String>, out: &mut Expanded) {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let why = if name.starts_with("ports.") || name == "PORT" || name.starts_with("PORT_") {
        Why::Ports
    } else if name == "DEVSUP" || name.starts_with("DEVSUP_") {
        Why::PerRun(name.to_owned())
    } else if !is_name(name) {
        Why::Malformed
    } else {
        // As in every shell, `:-` also stands in for an empty value.
        match (env(name).filter(|value| default.is_none() || !value.is_empty()), default) {
            (Some(value), _) => {
                out.text.push_str(&value);
                out.used.push((name.to_owned(), value));
                return;
            }
            (None, Some(default)) => {
                out.text.push_str(default);
                return;
            }
            (None, None) => Why::Unset(name.to_owned()),
        }
    };
    out.faults.push(Unexpanded { reference: reference.to_owned(), why });
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

    fn text(source: &str) -> String {
        let out = expand(source, &env);
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
    }

    #[test]
    fn names_every_fault() {
        let out = expand("${A} ${B} ${PORT} ${ports.a.http} ${DEVSUP_RUN} ${1} ${C", &env);
        let whys: Vec<Why> = out.faults.iter().map(|fault| fault.why.clone()).collect();
        assert_eq!(
            whys,
            [
                Why::Unset("A".into()),
                Why::Unset("B".into()),
                Why::Ports,
                Why::Ports,
                Why::PerRun("DEVSUP_RUN".into()),
                Why::Malformed,
                Why::Open
            ]
        );
        assert_eq!(out.faults[0].reference, "${A}");
    }
}
