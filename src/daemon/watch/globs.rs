//! Which files a service watches, and which folders must be looked into for that. Knows paths only, no files.
//!
//! A glob is taken apart at its slashes, because what is ignored is decided name by name: a name that the glob spells out
//! is never ignored, one that only a wildcard stands for may be.

use std::path::{Component, Path, PathBuf};

use glob::Pattern;

/// Version control, what package managers and compilers fill, and what editors drop beside a file.
const IGNORED: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".jj",
    "node_modules",
    "__pycache__",
    "target",
    ".venv",
    ".DS_Store",
    "4913",
    "*.swp",
    "*.swx",
    "*~",
    ".#*",
    "#*#",
    ".*.sw?",
];

#[derive(Clone, Debug)]
enum Part {
    Name(String),
    Some(Pattern),
    /// `**`: any number of folders.
    Any,
}

/// One glob of a service, from the root of the file system.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    parts: Vec<Part>,
    ignored: Vec<Pattern>,
}

impl Glob {
    /// Relative to `dir`, an absolute path. The error is what is wrong with the glob.
    pub(super) fn new(dir: &Path, text: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = names(dir).map(|name| Part::Name(name.to_owned())).collect();
        if text.starts_with('/') {
            parts.clear();
        }
        for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
            match name {
                ".." => drop(parts.pop()),
                "**" => parts.push(Part::Any),
                _ if name.contains(['*', '?', '[']) => {
                    parts.push(Part::Some(Pattern::new(name).map_err(|error| error.msg.to_owned())?));
                }
                _ => parts.push(Part::Name(name.to_owned())),
            }
        }
        let ignored = IGNORED.iter().filter_map(|name| Pattern::new(name).ok()).collect();
        Ok(Self { parts, ignored })
    }

    /// The folder that all its files are in, as far as it is spelled out.
    pub(super) fn base(&self) -> PathBuf {
        let spelled = self.parts.iter().map_while(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Some(_) | Part::Any => None,
        });
        let mut names: Vec<&str> = spelled.collect();
        if names.len() == self.parts.len() {
            // A single file: its folder.
            names.pop();
        }
        Path::new("/").join(names.join("/"))
    }

    /// The base is really there.
    pub(super) fn lead_to(&mut self, real: &Path) {
        let spelled = names(&self.base()).count();
        let rest = self.parts.split_off(spelled.min(self.parts.len()));
        self.parts = names(real).map(|name| Part::Name(name.to_owned())).chain(rest).collect();
    }

    pub(super) fn matches(&self, file: &Path) -> bool {
        let names: Vec<&str> = names(file).collect();
        self.meets(&self.parts, &names, Whole::File)
    }

    /// May a file in this folder, or below it, match?
    pub(super) fn reaches_into(&self, folder: &Path) -> bool {
        let names: Vec<&str> = names(folder).collect();
        self.meets(&self.parts, &names, Whole::Folder)
    }

    fn meets(&self, parts: &[Part], names: &[&str], whole: Whole) -> bool {
        match (parts, names) {
            ([], []) => whole == Whole::File,
            ([Part::Any], []) => true,
            (_, []) => whole == Whole::Folder,
            ([], _) => false,
            ([Part::Name(wanted), parts @ ..], [name, names @ ..]) => wanted == name && self.meets(parts, names, whole),
            ([Part::Some(wanted), parts @ ..], [name, names @ ..]) => {
                wanted.matches(name) && !self.ignores(name) && self.meets(parts, names, whole)
            }
            ([Part::Any, rest @ ..], [name, deeper @ ..]) => {
                self.meets(rest, names, whole) || (!self.ignores(name) && self.meets(parts, deeper, whole))
            }
        }
    }

    fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|pattern| pattern.matches(name))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    File,
    Folder,
}

/// A name that is no text matches nothing, as no glob of a manifest can mean it.
fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_str().unwrap_or("\u{fffd}")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::new(Path::new("/home/x/target/shop"), text).unwrap()
    }

    fn matches(text: &str, file: &str) -> bool {
        glob(text).matches(&Path::new("/home/x/target/shop").join(file))
    }

    #[test]
    fn a_star_stays_in_its_folder_and_two_do_not() {
        for (text, file, expected) in [
            ("src/**/*.py", "src/a.py", true),
            ("src/**/*.py", "src/a/b/c.py", true),
            ("src/**/*.py", "src/a.pyc", false),
            ("src/**/*.py", "other/a.py", false),
            ("src/*.py", "src/a/b.py", false),
            ("src/**", "src/a/b", true),
            ("./config.toml", "config.toml", true),
            ("config.toml", "sub/config.toml", false),
            ("*.toml", ".hidden.toml", true),
            ("conf/[ab]?.yml", "conf/a1.yml", true),
            ("conf/[ab]?.yml", "conf/c1.yml", false),
        ] {
            assert_eq!(matches(text, file), expected, "{text} {file}");
        }
        assert!(glob("../shared/**").matches(Path::new("/home/x/target/shared/a/b")));
        assert!(glob("/etc/*.conf").matches(Path::new("/etc/a.conf")));
    }

    #[test]
    fn what_nobody_means_is_ignored_unless_it_is_spelled_out() {
        for file in [
            ".git/index",
            "a/.hg/x",
            "node_modules/m/i.js",
            "a/__pycache__/x.pyc",
            "target/debug/x",
            ".venv/x",
            "a/.x.swp",
            "x.swx",
            "x~",
            ".#x",
            "#x#",
            "4913",
            ".x.swn",
            ".DS_Store",
            ".jj/x",
            ".svn/x",
        ] {
            assert!(!matches("**/*", file), "{file}");
            assert!(!matches("**", file), "{file}");
        }
        assert!(matches("**/*", "src/targets/x"));
        assert!(matches("target/debug/app", "target/debug/app"));
        assert!(matches("target/**", "target/debug/app"));
        assert!(matches(".git/HEAD", ".git/HEAD"));
        assert!(!matches("target/**", "target/node_modules/x"), "only what is spelled out");
    }

    #[test]
    fn only_folders_that_may_hold_a_match_are_looked_into() {
        let folder = |text: &str, folder: &str| glob(text).reaches_into(&Path::new("/home/x/target/shop").join(folder));
        for (text, name, expected) in [
            ("src/**/*.py", "", true),
            ("src/**/*.py", "src", true),
            ("src/**/*.py", "src/a/b", true),
            ("src/**/*.py", "docs", false),
            ("src/**/*.py", "src/node_modules", false),
            ("*.toml", "", true),
            ("*.toml", "src", false),
            ("conf/*/x.yml", "conf/a", true),
            ("conf/*/x.yml", "conf/a/b", false),
        ] {
            assert_eq!(folder(text, name), expected, "{text} {name}");
        }
    }

    #[test]
    fn the_base_is_what_is_spelled_out() {
        let base = |text: &str| glob(text).base().display().to_string();
        assert_eq!(base("src/**/*.py"), "/home/x/target/shop/src");
        assert_eq!(base("*.toml"), "/home/x/target/shop");
        assert_eq!(base("a/b.toml"), "/home/x/target/shop/a");
        assert_eq!(base("../lib/**"), "/home/x/target/lib");
        assert_eq!(base("/**"), "/");
        assert!(Glob::new(Path::new("/x"), "a[").is_err());
        assert!(Glob::new(Path::new("/x"), "a***").is_err());
    }
}
