use proptest::prelude::*;

use super::*;

const SHOP: Part<'static> = Part { id: "shop-0123456789ab" };
const OTHER: Part<'static> = Part { id: "shop-ba9876543210" };

fn profile(name: &str) -> Profile {
    Profile { name: name.into(), command: "\"/opt/devsup\" x".into(), region: Some("eu-west-1".into()) }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("utf-8")
}

#[test]
fn a_part_is_put_at_the_end_replaced_in_place_and_taken_out() {
    let before = "[default]\nregion = us-east-1\n";
    let one = text(SHOP.install(before.as_bytes(), &[profile("shop-a")]).expect("installed"));
    insta::assert_snapshot!(one, @r#"
    [default]
    region = us-east-1
    # devsup: begin shop-0123456789ab (written by `devsup profile --install`; --remove takes it out)
    [profile shop-a]
    credential_process = "/opt/devsup" x
    region = eu-west-1
    # devsup: end shop-0123456789ab
    "#);
    let later = format!("{one}[profile mine]\n");
    let two = text(SHOP.install(later.as_bytes(), &[profile("shop-b")]).expect("installed"));
    assert!(two.starts_with(before) && two.ends_with("ab\n[profile mine]\n"), "{two}");
    assert!(!two.contains("[profile shop-a]") && two.contains("[profile shop-b]"), "{two}");
    assert_eq!(text(SHOP.remove(two.as_bytes()).expect("removed")), format!("{before}[profile mine]\n"));
    assert_eq!(text(SHOP.remove(before.as_bytes()).expect("nothing there")), before);
}

#[test]
fn a_profile_of_somebody_elses_is_never_written_over() {
    let spellings =
        ["[profile shop-a]", " [ profile   shop-a ] # mine", "[profile \"shop-a\"]", "[profile 'shop-a']", "[shop-a]"];
    for spelling in spellings {
        let before = format!("[default]\n\n{spelling}\nregion = x\n");
        let refused = SHOP.install(before.as_bytes(), &[profile("shop-b"), profile("shop-a")]);
        assert_eq!(refused, Err(Trouble::Taken { profile: "shop-a".into(), line: 3 }), "{spelling}");
    }
    let other = OTHER.install(b"", &[profile("shop-a")]).expect("installed");
    assert_eq!(SHOP.install(&other, &[profile("shop-a")]), Err(Trouble::Taken { profile: "shop-a".into(), line: 2 }));
    SHOP.install(&other, &[profile("shop-b")]).expect("another name is free");
    SHOP.install(b"[profile shop-aa]\n#[profile shop-a]\n", &[profile("shop-a")]).expect("neither is it");
    assert_eq!(line_in_credentials(b"\n[shop-a]\n", "shop-a"), Some(2));
    assert_eq!(line_in_credentials(b"[profiles]\n", "shop-a"), None);
}

#[test]
fn torn_markers_are_left_to_a_person() {
    let whole = text(SHOP.install(b"", &[profile("shop-a")]).expect("installed"));
    let (begin, rest) = whole.split_once('\n').expect("lines");
    let torn = [
        format!("x\n{begin}\n"),
        format!("x\n# devsup: end {}\n", SHOP.id),
        format!("{whole}{whole}"),
        format!("{begin}\n{begin}\n{rest}"),
    ];
    for (text, line) in torn.iter().zip([2, 2, 6, 2]) {
        assert_eq!(SHOP.install(text.as_bytes(), &[]), Err(Trouble::Torn { line }), "{text}");
        assert_eq!(SHOP.remove(text.as_bytes()), Err(Trouble::Torn { line }), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_not_ours_stays_byte_for_byte(
        before in "([a-z\\[\\]# =\"\r\t]{0,12}\n){0,6}[a-z\\[ \r]{0,6}",
        after in "([a-z\\[\\]# =\"\r\t]{0,12}\n){0,6}[a-z\\[ \r]{0,6}",
        odd in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let before = [before.as_bytes(), &odd].concat();
        let (one, two) = ([profile("shop-0")], [profile("shop-1"), profile("shop-2")]);
        let first = SHOP.install(&before, &one).expect("no such profile is there");
        prop_assert!(first.starts_with(&before));
        prop_assert_eq!(SHOP.install(&first, &one).expect("again"), first.clone(), "twice is once");
        prop_assert_eq!(SHOP.remove(&first).expect("ours is there"), before.clone());
        // Somebody writes behind it, another project comes and goes, and ours is written anew.
        let written = [&first[..], after.as_bytes()].concat();
        let both = OTHER.install(&written, &[profile("shop-9")]).expect("room for two");
        let second = SHOP.install(&both, &two).expect("still ours");
        let alone = OTHER.remove(&second).expect("there");
        let without = SHOP.remove(&alone).expect("there");
        let kept = if after.is_empty() { before.clone() } else {
            let end: &[u8] = if before.is_empty() || before.ends_with(b"\n") { b"" } else { b"\n" };
            [&before[..], end, after.as_bytes()].concat()
        };
        prop_assert_eq!(without, kept);
    }
}
