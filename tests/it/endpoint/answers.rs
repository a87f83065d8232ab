//! What the endpoint says to a service's own process: the body, and the table of refusals.

use jiff::Timestamp;

use super::{GET, Stolen, get, raw, shop};

#[test]
fn a_service_gets_what_it_holds() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    for (service, role) in [("a", "service-a"), ("b", "service-b")] {
        let answer = get(&project, service);
        assert_eq!(answer.status, 200, "{answer:?}");
        for line in ["content-type: application/json", "cache-control: no-store", "content-length: "] {
            assert!(answer.head.contains(line), "{answer:?}");
        }
        let keys: Vec<&str> = answer.body.as_object().expect("an object").keys().map(String::as_str).collect();
        let all = [
            "AccessKeyId",
            "AccountId",
            "Code",
            "Expiration",
            "LastUpdated",
            "RoleArn",
            "SecretAccessKey",
            "Token",
            "Type",
        ];
        assert_eq!(keys, all);
        assert!(all.iter().all(|key| !answer.text(key).is_empty()), "{answer:?}");
        assert_eq!((answer.text("Code"), answer.text("Type")), ("Success", "AWS-HMAC"));
        assert_eq!(answer.text("AccountId"), "033145145979");
        assert_eq!(answer.text("RoleArn"), format!("arn:aws:iam::033145145979:role/{role}"));
        for key in ["Expiration", "LastUpdated"] {
            let text = answer.text(key);
            assert!(text.len() == "2026-11-22T12:00:00Z".len() && text.ends_with('Z'), "{text}");
            text.parse::<Timestamp>().expect("a time");
        }
        let held = project.service(service).credentials.expect("a role");
        assert_eq!(Some(answer.text("AccessKeyId")), held.access_key_id.as_deref());
    }
}
