//! No text and no bytes make the reader of manifests panic, or refuse without a word.

use std::fs;

use devsup::manifest::{Colour, print};
use proptest::prelude::*;

use super::{read, write};

/// Words that manifests are made of, so that random texts get past the first line.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop_oneof![
        proptest::sample::select(vec![
            "[services.a]",
            "[services.b]",
            "[defaults]",
            "[aws]",
            "[sandbox]",
            "[services.a.role]",
            "command",
            "role",
            "depends_on",
            "env",
            "env_file",
            "backoff",
            "ready",
            "live",
            "watch",
            "user",
            "umask",
            "nice",
            "limits",
            "nofile",
            "soft",
            "http",
            "tcp",
            "exec",
            "log",
            "fd",
            "condition",
            "ports",
            "[services.a.ports]",
            "[services.b.ports.http]",
            "listen",
            "handover",
            "wait",
            "replace",
            "\"overlap\"",
            "\"forward\"",
            "\"socket\"",
            "\"127.0.0.1:auto\"",
            "\"[::]:80\"",
            "\"localhost:1\"",
            "\"run/a.sock\"",
            "\"/health\"",
            "${PORT}",
            "${PORT_HTTP}",
            "${ports.a.http}",
            "${ports.b.http.port}",
            "${DEVSUP_RUN}",
            ":",
            "[access]",
            "look",
            "\"http://[::1]\"",
            "\"127.0.0.1:80\"",
            "\"**/*\"",
            "\"1GiB\"",
            "restart",
            "stop_signal",
            "buckets",
            "session_name",
            "policy",
            " = ",
            "\n",
            "\"",
            "'",
            "{",
            "}",
            "[",
            "]",
            ",",
            ".",
            "${X}",
            "${",
            "$$",
            "\"a\"",
            "1",
            "-1",
            "true",
            "\"10s\"",
            "99999999999999999999",
            "0x",
            "1979-05-27",
            "\"arn:aws:iam::033145145979:role/a\"",
            "é",
            "\t",
            "\r\n",
            "\"\"\"",
            "#",
            "SECRET=",
            "\u{0}",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    proptest::collection::vec(scrap, 0..40).prop_map(|scraps| scraps.concat())
}

/// Texts that are nearly addresses, each as a port of a service and as whom its probe asks.
fn addresses() -> impl Strategy<Value = String> {
    let scrap = proptest::sample::select(vec![
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[",
        "]",
        "::",
        ":",
        "/",
        "/tcp",
        "//",
        "unix:",
        "auto",
        "0",
        "80",
        "65536",
        "+",
        "*",
        "é",
        " ",
        "${PORT}",
        "${ports.a.b}",
        "$",
        "}",
        ".",
        "-",
    ]);
    proptest::collection::vec(scrap, 0..6).prop_map(|scraps| scraps.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in prop_oneof![scraps(), "\\PC*"]) {
        let (_folder, file) = write(&text);
        match read(&file) {
            Ok(loaded) => prop_assert!(!print(&loaded).is_empty()),
            Err(problems) => {
                prop_assert!(problems.render(Colour::Plain).contains("; nothing was started"));
                prop_assert!(problems.count() > 0);
            }
        }
    }

    #[test]
    fn no_port_makes_the_reader_panic(listen in addresses(), probe in addresses(), handover in "none|socket|forward") {
        let text = format!(
            "[services.a]\ncommand = \"./a {listen}\"\nready.tcp = \"{probe}\"\n\
             ports.b = {{ listen = \"{listen}\", handover = \"{handover}\" }}\n",
        );
        let (_folder, file) = write(&text);
        match read(&file) {
            Ok(loaded) => {
                let printed = print(&loaded);
                prop_assert!(!printed.contains('\0'), "{}", printed);
                fs::write(&file, &printed).expect("a manifest");
                let again = read(&file).expect("what is printed can be read");
                prop_assert_eq!(&again.manifest.services["a"], &loaded.manifest.services["a"]);
            }
            Err(problems) => prop_assert!(!problems.render(Colour::Plain).contains('\0')),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (_folder, file) = write("");
        fs::write(&file, bytes).expect("a manifest");
        if let Err(problems) = read(&file) {
            prop_assert!(problems.render(Colour::Styled).contains("nothing was started"));
        }
    }
}
