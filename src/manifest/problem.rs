//! What is wrong with a manifest, and how it is shown: all of it at once, each with its place, a caret and a mend.
//!
//! No secret may come out of here: the source text of values whose names look secret is masked before it is kept.

use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::node::{Layer, Place};

/// More than these are counted, not shown.
const SHOWN: usize = 100;

/// Does whoever reads this see colours?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Styled,
}

/// A file as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceText {
    /// As a person would type it from where they stand.
    pub(super) name: String,
    /// Without byte order mark; secret values masked.
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Warning,
}

/// Is the fault in what stands there, or that something is absent? After a syntax error nothing is said to be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Syntax,
    Present,
    Absent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    place: Place,
    label: String,
}

/// A problem while it is being found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) severity: Severity,
    pub(super) fault: Fault,
    title: String,
    marks: Vec<Mark>,
    helps: Vec<String>,
}

impl Draft {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            fault: Fault::Present,
            title: title.into(),
            marks: Vec::new(),
            helps: Vec::new(),
        }
    }

    /// Where it is; the first place gets the caret, further ones explain.
    pub(super) fn at(&mut self, place: Place, label: impl Into<String>) -> &mut Self {
        self.marks.push(Mark { place, label: label.into() });
        self
    }

    /// What to say under the caret.
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        if let Some(mark) = self.marks.first_mut() {
            mark.label = label.into();
        }
        self
    }

    /// How to mend it.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.helps.push(help.into());
        self
    }

    /// Something is missing here, rather than wrong.
    pub(super) fn absent(&mut self) -> &mut Self {
        self.fault = Fault::Absent;
        self
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.marks.first().map(|mark| mark.place)
    }

    /// The order of showing: files in turn, top to bottom; what has no place comes first.
    pub(super) fn order(&self) -> Option<(usize, usize)> {
        self.place().map(|place| (place.file, place.start))
    }

    /// The same thing said of the same place, as when `[defaults]` is read for each service.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.title == other.title
            && self.place().map(|place| (place.file, place.start)) == other.place().map(|p| (p.file, p.start))
            && (self.place().is_some() || self.helps == other.helps)
    }

    pub(super) fn in_defaults(&self) -> bool {
        self.place().is_some_and(|place| place.layer == Layer::Defaults)
    }

    pub(super) fn prefix(&mut self, subject: &str) {
        self.title = format!("{subject}: {}", self.title);
    }
}

/// One problem, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    draft: Draft,
    sources: Arc<[SourceText]>,
}

impl Problem {
    pub(super) fn new(draft: Draft, sources: Arc<[SourceText]>) -> Self {
        Self { draft, sources }
    }

    /// What is wrong, in one line, without its place.
    pub fn title(&self) -> &str {
        &self.draft.title
    }

    /// File, line and column, counted from 1.
    pub fn position(&self) -> Option<(&str, usize, usize)> {
        let place = self.draft.place()?;
        let source = self.sources.get(place.file)?;
        let before = source.text.get(..place.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((&source.name, before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }

    /// With the source line, a caret and the mend; ends with a newline.
    pub fn render(&self, colour: Colour) -> String {
        let level = match self.draft.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.draft.title.as_str()));
        let mut shown: Vec<usize> = Vec::new();
        for mark in &self.draft.marks {
            if shown.contains(&mark.place.file) {
                continue;
            }
            shown.push(mark.place.file);
            if let Some(source) = self.sources.get(mark.place.file) {
                group = group.element(self.snippet(source, mark.place.file));
            }
        }
        for help in &self.draft.helps {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = match colour {
            Colour::Plain => Renderer::plain(),
            Colour::Styled => Renderer::styled().hyperlink(false),
        };
        let mut text: String =
            renderer.render(&[group]).lines().map(|line| format!("{}\n", line.trim_end())).collect();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    fn snippet<'s>(&'s self, source: &'s SourceText, file: usize) -> Snippet<'s, annotate_snippets::Annotation<'s>> {
        let mut snippet = Snippet::source(source.text.as_str()).path(source.name.as_str()).fold(true);
        for (index, mark) in self.draft.marks.iter().enumerate().filter(|(_, mark)| mark.place.file == file) {
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let mut annotation = kind.span(on_one_line(&source.text, mark.place));
            if !mark.label.is_empty() {
                annotation = annotation.label(mark.label.as_str());
            }
            snippet = snippet.annotation(annotation);
        }
        snippet
    }
}

/// The place, cut to its first line and to whole characters, so that the caret always has something to point at.
fn on_one_line(text: &str, place: Place) -> std::ops::Range<usize> {
    let mut start = place.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = place.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let first = text[start..end].split(['\n', '\r']).next().map_or(0, str::len);
    start..start + first
}

/// All that is wrong with a manifest. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    files: Vec<String>,
}

impl Problems {
    pub(super) fn new(drafts: Vec<Draft>, sources: &Arc<[SourceText]>, manifest: &str) -> Self {
        let mut files: Vec<String> = Vec::new();
        for draft in &drafts {
            let name = draft.place().and_then(|place| sources.get(place.file)).map(|source| source.name.clone());
            if let Some(name) = name
                && !files.contains(&name)
            {
                files.push(name);
            }
        }
        if files.is_empty() && !manifest.is_empty() {
            files.push(manifest.to_owned());
        }
        Self { list: drafts.into_iter().map(|draft| Problem::new(draft, Arc::clone(sources))).collect(), files }
    }

    pub fn count(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Every problem, an empty line between them, and the sum: `2 problems in services.toml; nothing was started`.
    pub fn render(&self, colour: Colour) -> String {
        let mut text = String::new();
        for problem in self.list.iter().take(SHOWN) {
            text.push_str(&problem.render(colour));
            text.push('\n');
        }
        if self.count() > SHOWN {
            text.push_str(&format!("and {} more\n\n", self.count() - SHOWN));
        }
        text.push_str(&self.sum());
        text.push('\n');
        text
    }

    fn sum(&self) -> String {
        let word = if self.count() == 1 { "problem" } else { "problems" };
        let places = match self.files.split_last() {
            None => String::new(),
            Some((only, [])) => format!(" in {only}"),
            Some((last, rest)) => format!(" in {} and {last}", rest.join(", ")),
        };
        format!("{} {word}{places}; nothing was started", self.count())
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(Colour::Plain))
    }
}

impl std::error::Error for Problems {}
