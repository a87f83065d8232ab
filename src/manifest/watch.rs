//! `watch`: globs below the manifest's folder.
//!
//! `*` and `?` stay within a name, `**` is any number of folders, `[ab]` one letter. Nothing leads out of the folder: what
//! lies elsewhere is not a part of the project, and devsup would have to watch half a disk for it.

use std::collections::BTreeSet;

use glob::Pattern;

use super::desk::Desk;
use super::node::{Node, Place};

/// Sorted, each once: their order means nothing.
pub(super) fn read(desk: &mut Desk<'_>, node: &Node) -> Vec<String> {
    let globs: Vec<(String, Place)> = desk.texts("watch", node);
    let globs: BTreeSet<String> = globs.into_iter().filter_map(|(text, place)| glob(desk, &text, place)).collect();
    globs.into_iter().collect()
}

fn glob(desk: &mut Desk<'_>, text: &str, place: Place) -> Option<String> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let clean = parts.join("/");
    let outside = text.starts_with('/') || text.starts_with('~') || parts.contains(&"..");
    let wrong = if let Some(rest) = text.strip_prefix('!') {
        let draft =
            desk.refuse(place, "`watch` cannot leave something out").label("expected a glob of what is watched");
        draft.help(format!("folders of version control and what editors drop are ignored anyway; remove `!{rest}`"));
        true
    } else if outside {
        desk.refuse(place, format!("`{text}` leads out of the manifest's folder"))
            .label("expected a glob relative to that folder, such as `src/**/*.py`");
        true
    } else if text.contains('{') {
        let draft = desk.refuse(place, format!("`{text}` is not a glob")).label("`{a,b}` is not known here");
        draft.help("write one glob for each: `watch = [\"src/**/*.py\", \"src/**/*.html\"]`");
        true
    } else if let Err(error) = Pattern::new(&clean) {
        let draft = desk.refuse(place, format!("`{text}` is not a glob"));
        draft.label(reason(&clean, &error));
        true
    } else {
        false
    };
    if wrong {
        return None;
    }
    let is_plain = !clean.contains(['*', '?', '[']);
    if clean.is_empty() || text.ends_with('/') || is_plain && desk.dir.join(&clean).is_dir() {
        let all = if clean.is_empty() { "**/*".to_owned() } else { format!("{clean}/**/*") };
        desk.refuse(place, format!("`{text}` is a folder"))
            .label("expected a glob of files")
            .help(format!("all files in it: `{all}`"));
        return None;
    }
    Some(clean)
}

/// The library's few errors in our words.
fn reason(glob: &str, error: &glob::PatternError) -> &'static str {
    if glob.contains("***") {
        "`*` stays within a name, `**` is any number of folders: there is no `***`"
    } else if glob.chars().nth(error.pos) == Some('[') {
        "`[` is not closed: `[ab]` is one letter, `[[]` a bracket"
    } else {
        "`**` stands alone between slashes: `src/**/*.py`"
    }
}
