//! What comes over the control socket, and what a client makes of an answer: parameters of `logs`, bodies, lines of logs.
#![no_main]

use devsup::control::LogsWanted;
use devsup::control::api;
use devsup::logs::{Filter, show};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let pairs = form_urlencoded::parse(input).into_owned().collect();
    if let Ok(wanted) = LogsWanted::of(pairs)
        && let Ok(filter) = Filter::of(&wanted.filter)
    {
        let said: Vec<(String, String)> =
            filter.pairs().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let same = Filter::of(&said).expect("our own words");
        assert_eq!(same.pairs(), filter.pairs());
    }
    drop(serde_json::from_slice::<api::UpRequest>(input));
    drop(serde_json::from_slice::<api::ServicesRequest>(input));
    drop(serde_json::from_slice::<api::DownRequest>(input));
    drop(serde_json::from_slice::<api::KillRequest>(input));
    drop(serde_json::from_slice::<api::HoldRequest>(input));
    drop(serde_json::from_slice::<api::ReloadRequest>(input));
    if let Some(entry) = std::str::from_utf8(input).ok().and_then(show::entry) {
        let style = show::Style { format: show::Format::Json, prefix: true, times: true, color: false, terminal: true };
        let mut text = Vec::new();
        show::Printer::new(style, &[]).line(&entry, &mut text);
        let again = std::str::from_utf8(&text).ok().and_then(|text| show::entry(text.trim_end()));
        assert_eq!(again, Some(entry));
    }
});
