#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    devsup::logs::fuzzed::store(folder.path(), input);
});
