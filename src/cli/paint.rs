//! Colour, or none.

/// Whether escape sequences may be written to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Ansi,
}

impl Paint {
    fn sgr(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.sgr("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.sgr("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.sgr("33", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.sgr("36", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.sgr("2", text)
    }
}
