//! Of the manifest only what no case beside `tests/manifest/bad` says by itself.

use std::fs;

use crate::place::sources;

/// Whoever reads an error knows where to go; what is wrong in another file than the manifest says which, and the line.
#[test]
fn every_error_of_a_manifest_has_its_line_and_column() {
    let mut errors = 0;
    for entry in fs::read_dir(sources().join("tests/manifest/bad")).expect("cases").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|end| end != "expected") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a case");
        for error in text.split("error: ").skip(1) {
            let place = error.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
            if place.is_none() && [".env:", ".env`"].iter().any(|file| error.contains(file)) {
                continue;
            }
            let place = place.unwrap_or_else(|| panic!("{}: without a place: {error}", path.display()));
            let mut parts = place.rsplit(':');
            let numbers = parts.by_ref().take(2).filter(|part| part.parse::<u32>().is_ok_and(|n| n > 0)).count();
            assert_eq!(numbers, 2, "{}: {place}", path.display());
            errors += 1;
        }
    }
    assert!(errors > 100, "the cases have gone: {errors}");
}
