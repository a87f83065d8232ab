//! From files to a checked manifest, or to everything that is wrong with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::desk::Desk;
use super::env_file::{self, EnvFileError};
use super::node::{self, Layer, Node, Place, Table, Value};
use super::origins::Origins;
use super::problem::{Draft, Fault, Problem, Problems, Severity, SourceText};
use super::trust::{self, Trust, Who};
use super::{Manifest, NotFound, find, project, role, scrub, syntax};

/// More is no manifest that a person wrote.
const MOST: u64 = 1 << 20;

/// What a manifest is read from.
pub struct Source<'a> {
    /// `-f` or `DEVSUP_FILE`.
    pub file: Option<PathBuf>,
    pub cwd: PathBuf,
    /// The environment `up` was typed in.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub trust: Trust,
    /// Has the group with this id a member besides us?
    pub group_is_shared: &'a dyn Fn(u32) -> bool,
}

/// A manifest that may be obeyed.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub manifest: Manifest,
    pub warnings: Vec<Problem>,
    /// Where each value came from, for `config`.
    pub origins: Origins,
}

/// Finds, reads, merges, expands and checks; nothing is started from a manifest with an error.
pub fn load(source: &Source<'_>) -> Result<Loaded, Problems> {
    let path = find(source.file.as_deref(), &source.cwd).map_err(|error| not_found(&error))?;
    let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    let dir = real.parent().unwrap_or(Path::new("/")).to_owned();
    let mut desk = Desk::new(source.env, &dir);
    check_trust(&mut desk, source, [&path, &real]);
    let mut files = vec![real.clone()];
    let mut tree = read(&mut desk, &path, &source.cwd).unwrap_or_default();
    let whole = desk.found.iter().all(|draft| draft.fault != Fault::Unreadable);
    let mut secrets = secret_places(&tree);
    let local = find::local_of(&real);
    if local.exists() {
        check_trust(&mut desk, source, [&local]);
        let over = read(&mut desk, &local, &source.cwd).unwrap_or_default();
        secrets.extend(secret_places(&over));
        node::merge(&mut tree, over);
        files.push(local);
    }
    let (manifest, tree) =
        if whole { project::read(&mut desk, files, tree) } else { (Manifest::nothing(files, dir), tree) };
    check_env_files(&mut desk, source, &manifest);
    finish(desk, &secrets, manifest, &tree)
}

fn not_found(error: &NotFound) -> Problems {
    let mut draft = Draft::new(error.to_string());
    match error {
        NotFound::Named(_) => draft.help("give the path of a manifest, or its folder: `devsup -f path/to/services.toml`"),
        NotFound::Nowhere(_) => draft.help(
            "the smallest one is\n[services.web]\ncommand = \"./web --port 8001\"\nrole = \"arn:aws:iam::ACCOUNT:role/web\"",
        ),
    };
    Problems::new(vec![draft], &Arc::from([]), "")
}

/// One file as a tree. What is no TOML has been reported, and the rest of the file is read all the same.
fn read(desk: &mut Desk<'_>, path: &Path, cwd: &Path) -> Option<Table> {
    let name = path.strip_prefix(cwd).unwrap_or(path).display().to_string();
    let file = desk.sources.len();
    let bytes = match bounded(path) {
        Ok(bytes) => bytes,
        Err(reason) => {
            desk.push(format!("`{name}` cannot be read: {reason}")).unreadable();
            return None;
        }
    };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(error) => {
            let start = error.valid_up_to();
            desk.sources.push(SourceText { name, text: String::from_utf8_lossy(bytes).into_owned() });
            let place = Place { file, start, end: start + 3, layer: Layer::Own };
            let help = "save the file as UTF-8";
            desk.refuse(place, "the manifest is not UTF-8").label("not a letter in UTF-8").help(help).unreadable();
            return None;
        }
    };
    desk.sources.push(SourceText { name, text: text.clone() });
    let (parsed, errors) = DeTable::parse_recoverable(&text);
    syntax::report(desk, file, &errors);
    Some(node::table(parsed.get_ref(), file))
}

/// A regular file of a bounded size: what is read never waits for a writer, as the reader of a pipe does.
pub(super) fn bounded(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| role::reason(&error))?;
    if !metadata.is_file() {
        return Err("it is not a file".into());
    }
    if metadata.len() > MOST {
        return Err(format!("it is larger than {} KiB", MOST / 1024));
    }
    std::fs::read(path).map_err(|error| role::reason(&error))
}

fn check_trust<const N: usize>(desk: &mut Desk<'_>, source: &Source<'_>, paths: [&PathBuf; N]) {
    let mut open = BTreeSet::new();
    for path in paths {
        open.extend(trust::check(path, source.group_is_shared));
    }
    for found in open {
        let path = found.path.display();
        let (who, bit) = match found.who {
            Who::Everybody => ("everybody".to_owned(), "o-w"),
            Who::Group(gid) => (format!("everybody in group {gid}"), "g-w"),
        };
        let title = format!("`{path}` may be written by {who} (mode {:04o})", found.mode);
        let draft = desk.push(title);
        draft.help(format!("it decides what runs with your roles; mend it with `chmod {bit} {path}`"));
        if source.trust == Trust::Insecure {
            draft.severity = Severity::Warning;
        } else {
            draft.help("`--insecure-manifest` goes on all the same");
        }
    }
}

/// env_files are read at every start; that they can be is worth knowing now.
fn check_env_files(desk: &mut Desk<'_>, source: &Source<'_>, manifest: &Manifest) {
    let mut checked = BTreeSet::new();
    for service in manifest.services.values() {
        for file in &service.env_file {
            if checked.insert(file.clone()) && file.exists() {
                check_trust(desk, source, [file]);
            }
        }
        let Err(error) = env_file::read_env_files(service) else { continue };
        desk.about(service.name.as_str(), |desk| {
            let missing = matches!(&error, EnvFileError::Unreadable { file, .. } if !file.exists());
            let draft = desk.push(error.to_string());
            if missing {
                draft.severity = Severity::Warning;
                draft.help("the service cannot start until it is there");
            }
        });
    }
}

fn finish(mut desk: Desk<'_>, secrets: &[Place], manifest: Manifest, tree: &Table) -> Result<Loaded, Problems> {
    let broken = desk.found.iter().any(|draft| draft.fault == Fault::Syntax);
    let mut found: Vec<Draft> = Vec::new();
    let mut drafts = syntax::without_echoes(std::mem::take(&mut desk.found), &desk.sources);
    drafts.sort_by_key(Draft::order);
    for mut draft in drafts {
        draft.hide(&desk.secrets);
        if !found.iter().any(|other| other.same(&draft)) {
            found.push(draft);
        }
    }
    mask(&mut desk.sources, secrets, broken);
    let name = desk.sources.first().map(|source| source.name.clone()).unwrap_or_default();
    let origins = Origins::of(tree, &desk.sources, std::mem::take(&mut desk.secrets));
    let sources: Arc<[SourceText]> = desk.sources.into();
    let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(|draft| draft.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(Problems::new(errors, &sources, &name));
    }
    let warnings = warnings.into_iter().map(|draft| Problem::new(draft, Arc::clone(&sources))).collect();
    Ok(Loaded { manifest, warnings, origins })
}

/// Values whose names, or whose own looks, say that they are secret.
fn secret_places(table: &Table) -> Vec<Place> {
    fn walk(name: &str, node: &Node, places: &mut Vec<Place>) {
        match &node.value {
            Value::Table(table) => walk_table(table, places),
            Value::List(items) if !scrub::is_secret_name(name) => items.iter().for_each(|item| walk("", item, places)),
            Value::Text(text) if scrub::is_secret_value(text) => places.push(node.place),
            _ if scrub::is_secret_name(name) => places.push(node.place),
            _ => {}
        }
    }
    fn walk_table(table: &Table, places: &mut Vec<Place>) {
        for (name, entry) in table {
            walk(name, &entry.node, places);
        }
    }
    let mut places = Vec::new();
    walk_table(table, &mut places);
    places
}

/// Hides secret values in what will be shown, byte for byte, so that every place stays where it is.
fn mask(sources: &mut [SourceText], secrets: &[Place], broken: bool) {
    for (file, source) in sources.iter_mut().enumerate() {
        let mut bytes = source.text.clone().into_bytes();
        for place in secrets.iter().filter(|place| place.file == file) {
            let range = place.start.min(bytes.len())..place.end.min(bytes.len());
            bytes[range].iter_mut().for_each(hide);
        }
        if broken {
            mask_by_line(&mut bytes);
        }
        source.text = String::from_utf8_lossy(&bytes).into_owned();
    }
}

fn hide(byte: &mut u8) {
    if !matches!(byte, b'"' | b'\'' | b'\n' | b'\r') {
        *byte = b'*';
    }
}

/// Where the tree cannot be trusted: what follows `SECRET_NAME =`, to the end of the line.
fn mask_by_line(bytes: &mut [u8]) {
    for line in bytes.split_mut(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line).into_owned();
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| rest.find('=')) {
            let name = text[..at + found].trim_end().rsplit([' ', '\t', '{', ',']).next().unwrap_or_default();
            if scrub::is_secret_name(name) {
                line[at + found + 1..].iter_mut().filter(|byte| **byte != b' ').for_each(hide);
                break;
            }
            at += found + 1;
        }
    }
}
