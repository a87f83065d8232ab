//! `~/.aws/config` with a part of ours in it, between two marker lines; everything else stays byte for byte.
//!
//! ```text
//! # devsup: begin shop-0123456789ab (written by `devsup profile --install`; --remove takes it out)
//! [profile shop-a]
//! …
//! # devsup: end shop-0123456789ab
//! ```

use std::fmt;
use std::ops::Range;

/// What stands in the way, with the line it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A profile of this name is there, and not ours.
    Taken { profile: String, line: usize },
    /// A marker without the other one, or twice.
    Torn { line: usize },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { profile, line } => {
                write!(f, "line {line}: profile `{profile}` is there already, and devsup did not write it")
            }
            Self::Torn { line } => write!(f, "line {line}: a marker line of devsup's without its other half"),
        }
    }
}

/// The project whose part it is.
pub(crate) struct Part<'a> {
    pub id: &'a str,
}

/// Said by the first marker when a line without an end stood before it.
const UNENDED: &str = " (the line before had no end)";

impl Part<'_> {
    fn begin(&self) -> String {
        format!("# devsup: begin {}", self.id)
    }

    fn end(&self) -> String {
        format!("# devsup: end {}", self.id)
    }

    /// The text with these profiles as this project's part, instead of the one it had.
    pub(crate) fn install(&self, text: &[u8], profiles: &[Profile]) -> Result<Vec<u8>, Trouble> {
        let ours = self.find(text)?;
        let outside = ours.clone().unwrap_or(0..0);
        for profile in profiles {
            let taken = sections(text).find(|(at, name)| !outside.contains(at) && *name == profile.name);
            if let Some((at, _)) = taken {
                return Err(Trouble::Taken { profile: profile.name.clone(), line: line_of(text, at) });
            }
        }
        let body: String = profiles.iter().map(ToString::to_string).collect();
        let (before, after, unended) = match &ours {
            Some(ours) => (&text[..ours.start], &text[ours.end..], is_unended(&text[ours.clone()])),
            None => (text, &[][..], !text.is_empty() && !text.ends_with(b"\n")),
        };
        let mut new = before.to_vec();
        if ours.is_none() && unended {
            new.push(b'\n');
        }
        let note = if unended { UNENDED } else { "" };
        let how = "(written by `devsup profile --install`; --remove takes it out)";
        new.extend_from_slice(format!("{} {how}{note}\n{body}{}\n", self.begin(), self.end()).as_bytes());
        new.extend_from_slice(after);
        Ok(new)
    }

    /// The text as it would be without us.
    pub(crate) fn remove(&self, text: &[u8]) -> Result<Vec<u8>, Trouble> {
        let Some(ours) = self.find(text)? else { return Ok(text.to_vec()) };
        let (before, after) = (&text[..ours.start], &text[ours.end..]);
        // The line end that was added for us is taken back, unless something else follows by now.
        let added = is_unended(&text[ours.clone()]) && after.is_empty();
        let before = before.strip_suffix(b"\n").filter(|_| added).unwrap_or(before);
        Ok([before, after].concat())
    }

    /// From the first marker to the end of the second one's line.
    fn find(&self, text: &[u8]) -> Result<Option<Range<usize>>, Trouble> {
        let is = |line: &Range<usize>, marker: &str| {
            let line = text[line.clone()].trim_ascii_end();
            line.strip_prefix(marker.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "))
        };
        let (begin, end) = (self.begin(), self.end());
        let mut found: Option<Range<usize>> = None;
        let mut open: Option<usize> = None;
        for line in lines(text) {
            let torn = Err(Trouble::Torn { line: line_of(text, line.start) });
            if is(&line, &begin) {
                if open.is_some() || found.is_some() {
                    return torn;
                }
                open = Some(line.start);
            } else if is(&line, &end) {
                let Some(start) = open.take() else { return torn };
                found = Some(start..line.end);
            }
        }
        match open {
            Some(start) => Err(Trouble::Torn { line: line_of(text, start) }),
            None => Ok(found),
        }
    }
}

fn is_unended(part: &[u8]) -> bool {
    lines(part).next().is_some_and(|line| part[line].ends_with(format!("{UNENDED}\n").as_bytes()))
}

/// One entry of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub name: String,
    pub command: String,
    pub region: Option<String>,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[profile {}]\ncredential_process = {}", self.name, self.command)?;
        match &self.region {
            Some(region) => writeln!(f, "region = {region}"),
            None => Ok(()),
        }
    }
}

/// Where a profile of this name begins in a file of keys, which knows no word `profile`.
pub(crate) fn line_in_credentials(text: &[u8], profile: &str) -> Option<usize> {
    sections(text).find(|(_, name)| name == profile).map(|(at, _)| line_of(text, at))
}

/// (where it begins, the profile's name) of every section.
fn sections(text: &[u8]) -> impl Iterator<Item = (usize, String)> {
    lines(text).filter_map(|line| {
        let at = line.start;
        let words = String::from_utf8_lossy(&text[line]).into_owned();
        let inner = words.trim().strip_prefix('[')?.split(']').next()?.trim().to_owned();
        let name = match inner.strip_prefix("profile") {
            Some(rest) if rest.starts_with([' ', '\t', '"', '\'']) => rest.trim(),
            Some(_) | None => &inner,
        };
        Some((at, name.trim_matches(['"', '\'']).to_owned()))
    })
}

/// Each with its end.
fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        at += length;
        Some(at - length..at)
    })
}

fn line_of(text: &[u8], at: usize) -> usize {
    memchr::memchr_iter(b'\n', &text[..at]).count() + 1
}

#[cfg(test)]
mod tests;
