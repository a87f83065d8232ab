//! Names of the signals a service can be stopped with. Numbers as on x86-64 and aarch64 (signal(7)).

const SIGNALS: &[(&str, i32)] = &[
    ("SIGTERM", 15),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGHUP", 1),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGWINCH", 28),
    ("SIGALRM", 14),
    ("SIGABRT", 6),
    ("SIGPWR", 30),
];

/// `SIGTERM`, `TERM` or `term`.
pub(super) fn number(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    SIGNALS.iter().find(|(known, _)| &known[3..] == name).map(|(_, number)| *number)
}

pub(super) fn name(number: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SIGNALS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_spellings_and_back() {
        assert_eq!((number("SIGTERM"), number("int"), number("Hup")), (Some(15), Some(2), Some(1)));
        assert_eq!((number("SIGSTOP"), number("15"), number("")), (None, None, None));
        assert!(names().all(|signal| number(signal).and_then(name) == Some(signal)));
    }
}
