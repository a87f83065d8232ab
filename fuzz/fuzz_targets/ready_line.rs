#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| devsup::keeper::fuzzed::ready_line(input));
