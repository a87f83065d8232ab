//! The manifest itself. With an error it is not come to this: that is said as everywhere, with exit code 2.

use super::finding::Finding;
use crate::manifest::{Loaded, Trust};

pub(super) fn judge(loaded: &Loaded, trust: Trust) -> Vec<Finding> {
    let manifest = &loaded.manifest;
    let file = manifest.files.first().map(|file| file.display().to_string()).unwrap_or_default();
    let count = manifest.services.len();
    let roles = manifest.services.values().filter(|service| service.needs_lease()).count();
    let whose = match trust {
        Trust::Strict => "; nobody else may write to it",
        Trust::Insecure => "",
    };
    let services = if count == 1 { "1 service".to_owned() } else { format!("{count} services") };
    let mut all = vec![Finding::ok("manifest", format!("`{file}`: {services}, {roles} with a role{whose}"))];
    all.extend(loaded.warnings.iter().map(|warning| {
        let place =
            warning.position().map_or_else(String::new, |(file, line, column)| format!("{file}:{line}:{column}"));
        Finding::warn("manifest", warning.title()).detail(place).fix("devsup config")
    }));
    all
}
