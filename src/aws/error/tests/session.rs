//! Refusals of chains, tags, source identity and MFA.

use super::*;
use crate::aws::route::Route;

/// What the manifest uses needs its permission too, whichever side is named.
#[test]
fn tags_and_source_identity_of_the_manifest_are_in_every_statement() {
    let (tags, source) = ([("k".to_owned(), "v".to_owned())].into(), Some("ann".to_owned()));
    let role = Role { tags, source_identity: source, ..sample::role() };
    let all = "[\"sts:AssumeRole\",\"sts:TagSession\",\"sts:SetSourceIdentity\"]";
    for (tail, count) in [("no identity-based policy allows", 1), ("the role trust policy allows", 1), ("", 2)] {
        let message =
            format!("User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: x because {tail}");
        let refusal = refusal(&Failure::Answer(answer(403, "AccessDenied", &message)), &about(&role));
        assert_eq!(refusal.hint.as_deref().unwrap_or_default().matches(all).count(), count, "{refusal:?}");
    }
    let denied = format!("User: {CALLER} is not authorized to perform: sts:TagSession on resource: x");
    let refusal = refusal(&Failure::Answer(answer(403, "AccessDenied", &denied)), &about(&role));
    let named = "[\"sts:AssumeRole\",\"sts:SetSourceIdentity\",\"sts:TagSession\"]";
    assert_eq!(refusal.hint.as_deref().unwrap_or_default().matches(named).count(), 2, "{refusal:?}");
}

#[test]
fn a_full_session_says_what_the_last_one_took() {
    let role = Role { tags: [("k".to_owned(), "v".to_owned())].into(), ..sample::role() };
    let full = Failure::Answer(answer(400, "PackedPolicyTooLarge", "Packed size of session tags consumes 112%"));
    let hint = refusal(&full, &About { packed: Some(97), ..about(&role) }).hint.expect("a hint");
    assert!(hint.contains("fewer or shorter `tags`") && hint.contains("the last lease took 97%"), "{hint}");
}

#[test]
fn of_a_chain_the_hop_is_named_and_every_arn_is_that_hops() {
    let role =
        Role { via: vec![crate::manifest::RoleArn::checked("arn:aws:iam::222233334444:role/jump")], ..sample::role() };
    let who = crate::aws::Who { user: "ann".into(), host: "h".into(), project: "p".into() };
    let route = Route::new(&role, &"a".into(), &who);
    let denied = || Failure::Answer(answer(403, "AccessDenied", "Not authorized: no identity-based policy allows"));
    let first = refusal(&denied().on_hop(&route.via[0], None), &About { caller: Some(CALLER.into()), ..about(&role) });
    assert!(
        first.message.starts_with("hop 1 of 2 to `arn:aws:iam::222233334444:role/team/service-a`: `role/dev`"),
        "{first:?}"
    );
    assert!(
        first.message.contains("role/jump`")
            && first.hint.expect("a hint").contains("\"Resource\":[\"arn:aws:iam::222233334444:role/jump\"]")
    );
    let jump = "arn:aws:sts::222233334444:assumed-role/jump/x";
    let last =
        refusal(&denied().on_hop(&route.last, Some(jump)), &About { caller: Some(CALLER.into()), ..about(&role) });
    assert!(last.message.starts_with("hop 2 of 2") && last.message.contains("`role/jump` may not"), "{last:?}");
    assert_eq!(last.caller.as_deref(), Some(jump));
    let alone = Route::new(&sample::role(), &"a".into(), &who);
    assert!(!refusal(&denied().on_hop(&alone.last, None), &about(&role)).message.contains("hop"));
}

#[test]
fn a_code_is_asked_for_with_the_command_that_takes_it() {
    let about = About { mfa_serial: Some("arn:aws:iam::1:mfa/ann"), ..About::default() };
    for refusal in [mfa_required(&about), mfa_expired(&about)] {
        assert!(
            refusal.wants_code() && refusal.lasting && refusal.message.contains("arn:aws:iam::1:mfa/ann"),
            "{refusal:?}"
        );
        assert_eq!(refusal.hint.as_deref(), Some("give a code: `devsup creds --mfa`"));
    }
    assert!(mfa_required(&About { sandbox: true, ..about.clone() }).hint.expect("a hint").contains("123456"));
    assert!(!no_mfa(&about).wants_code());
}
