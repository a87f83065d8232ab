//! What of the logs is wanted: since when, until when, of which runs, which stream, which lines.

use std::borrow::Cow;

use regex::bytes::{NoExpand, Regex, RegexBuilder};

use super::{Entry, Stream, What};

/// Which runs of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runs {
    #[default]
    All,
    One(u32),
    /// The one before the newest.
    Previous,
}

impl Runs {
    /// `before`: the run before the newest one.
    pub(super) fn wants(self, run: u32, before: Option<u32>) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => run == one,
            Self::Previous => Some(run) == before,
        }
    }
}

/// All of it must hold of an entry.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Unix nanoseconds; this one included.
    pub since: Option<i64>,
    /// Unix nanoseconds; this one not included.
    pub until: Option<i64>,
    pub runs: Runs,
    pub stream: Option<Stream>,
    pub pattern: Option<Pattern>,
}

/// A regular expression over the bytes of a line. Smart case: one without capitals does not mind case.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    /// As it was written.
    text: String,
}

impl Pattern {
    /// The error is one sentence, with the place in the pattern.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(pattern).unicode(true).case_insensitive(!has_capitals(pattern)).build();
        built.map(|regex| Self { regex, text: pattern.to_owned() }).map_err(sentence)
    }

    /// Case as it is written.
    pub fn exact(pattern: &str) -> Result<Self, String> {
        Regex::new(pattern).map(|regex| Self { regex, text: pattern.to_owned() }).map_err(sentence)
    }

    /// Each match in the line made `by`, which is taken as it is.
    pub(super) fn masked<'a>(&self, line: &'a [u8], by: &[u8]) -> Cow<'a, [u8]> {
        self.regex.replace_all(line, NoExpand(by))
    }

    pub fn matches(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }
}

/// The library draws the pattern and a caret over several lines; its last one says what is wrong.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn sentence(error: regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// `\S` and `\W` are classes, not capitals.
fn has_capitals(pattern: &str) -> bool {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter.is_uppercase() {
            return true;
        }
    }
    false
}

impl Filter {
    /// For a request: what [`Filter::of`] makes the same of.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.since.map(|since| ("since", since.to_string())));
        pairs.extend(self.until.map(|until| ("until", until.to_string())));
        match self.runs {
            Runs::All => {}
            Runs::One(run) => pairs.push(("run", run.to_string())),
            Runs::Previous => pairs.push(("run", "previous".to_owned())),
        }
        pairs.extend(self.stream.map(|stream| match stream {
            Stream::Stdout => ("stream", "stdout".to_owned()),
            Stream::Stderr => ("stream", "stderr".to_owned()),
        }));
        pairs.extend(self.pattern.as_ref().map(|pattern| ("grep", pattern.text.clone())));
        pairs
    }

    /// From a request: times in unix nanoseconds, `run` a number or `previous`. An error is a sentence.
    pub fn of(pairs: &[(String, String)]) -> Result<Self, String> {
        let mut filter = Self::default();
        for (key, value) in pairs {
            let bad = || format!("`{value}` is no value of `{key}`");
            match (key.as_str(), value.as_str()) {
                ("since", at) => filter.since = Some(at.parse().map_err(|_| bad())?),
                ("until", at) => filter.until = Some(at.parse().map_err(|_| bad())?),
                ("run", "previous") => filter.runs = Runs::Previous,
                ("run", run) => filter.runs = Runs::One(run.parse().map_err(|_| bad())?),
                ("stream", "stdout") => filter.stream = Some(Stream::Stdout),
                ("stream", "stderr") => filter.stream = Some(Stream::Stderr),
                ("stream", _) => return Err(bad()),
                ("grep", pattern) => filter.pattern = Some(Pattern::new(pattern)?),
                _ => {
                    let known = "service, follow, tail, since, until, run, stream and grep are";
                    return Err(format!("`{key}` is no parameter of logs: {known}"));
                }
            }
        }
        Ok(filter)
    }

    /// The last lines can be found from the end of the files: nothing is left out between them.
    pub(super) fn leaves_whole_runs(&self) -> bool {
        self.since.is_none() && self.until.is_none() && self.stream.is_none() && self.pattern.is_none()
    }

    /// Of what is within the times and runs. A mark is no line, so a search leaves it out.
    pub(super) fn wants(&self, entry: &Entry) -> bool {
        if self.since.is_some_and(|since| entry.time_ns < since) {
            return false;
        }
        match &entry.what {
            What::Mark(_) => self.pattern.is_none(),
            What::Line { stream, bytes, .. } => {
                self.stream.is_none_or(|wanted| wanted == *stream)
                    && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_all_of_it() {
        let filter = Filter {
            since: Some(-5),
            until: Some(7),
            runs: Runs::Previous,
            stream: Some(Stream::Stderr),
            pattern: Pattern::new("a&b=c").ok(),
        };
        let pairs: Vec<(String, String)> =
            filter.pairs().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let same = Filter::of(&pairs).expect("our own words");
        assert_eq!(same.pairs(), filter.pairs());
        assert_eq!(pairs.len(), 5);
        for bad in [("since", "1h"), ("run", "x"), ("stream", "both"), ("grep", "("), ("colour", "red")] {
            assert!(Filter::of(&[(bad.0.to_owned(), bad.1.to_owned())]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn case_matters_once_there_is_a_capital() {
        let matches = |pattern: &str, line: &[u8]| Pattern::new(pattern).expect("a pattern").matches(line);
        assert!(matches("error", b"an ERROR \xff") && matches(r"\Serr", b"xERR"));
        assert!(matches("Error", b"Error") && !matches("Error", b"error"));
        assert!(Pattern::new("(").is_err());
    }
}
