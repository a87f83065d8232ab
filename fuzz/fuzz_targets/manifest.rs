//! No text makes the reader of manifests panic, hang, or refuse without a word.
#![no_main]

use devsup::manifest::{Colour, Source, Trust, load, print};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("services.toml");
    std::fs::write(&file, input).expect("a manifest");
    let source = Source {
        file: Some(file),
        cwd: folder.path().to_owned(),
        env: &|name| (name == "X").then(|| "x".to_owned()),
        trust: Trust::Insecure,
        group_is_shared: &|_| false,
    };
    match load(&source) {
        Ok(loaded) => assert!(!print(&loaded).is_empty()),
        Err(problems) => {
            assert!(problems.count() > 0);
            assert!(problems.render(Colour::Styled).contains("nothing was started"));
        }
    }
});
