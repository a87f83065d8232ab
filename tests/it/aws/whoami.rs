use devsup::aws::whoami;

use super::answers::{Answer, KEYS, Script, env};

const SERVICE_A: &str = "arn:aws:sts::222233334444:assumed-role/service-a/devsup-ann-a";

fn s3(status: u16, code: &str) -> Answer {
    Answer::new(status, &format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>"))
}

fn tries(buckets: &[&str]) -> Vec<String> {
    buckets.iter().map(|bucket| format!("s3://{bucket}")).collect()
}

#[tokio::test]
async fn one_line_says_who_and_what_may_be_listed() {
    let listing = Answer::new(200, "<ListBucketResult/>");
    let script =
        Script::new(vec![Answer::identity(SERVICE_A), listing, s3(403, "AccessDenied"), s3(404, "NoSuchBucket")]);
    let token = ("AWS_SESSION_TOKEN", "lease-token");
    let env = env(&[&KEYS[..], &[token, ("AWS_ENDPOINT_URL", script.url.as_str())]].concat());
    let who = whoami(&env, &tries(&["bucket1", "bucket2/x", "bucket3"])).await;
    assert_eq!(who.to_string(), "service-a · bucket1 ok · bucket2 AccessDenied · bucket3 NoSuchBucket");
    assert_eq!((who.arn.as_deref(), who.account.as_deref()), (Ok(SERVICE_A), Some("222233334444")));
    assert_eq!((who.source.as_deref(), who.place.as_deref()), (Some("environment"), Some("AWS_ACCESS_KEY_ID")));
    assert_eq!(
        (who.region.as_deref(), who.endpoint_override),
        (Some("eu-west-1"), Some(format!("AWS_ENDPOINT_URL = {}", script.url)))
    );
    let asked = script.asked();
    assert!(asked[1].starts_with("GET /bucket1?list-type=2&max-keys=1 HTTP/1.1"), "{asked:?}");
    for word in [
        "/eu-west-1/s3/aws4_request",
        "x-amz-content-sha256",
        "x-amz-security-token: lease-token",
        "Credential=AKIABASE/",
    ] {
        assert!(asked[1].to_lowercase().contains(&word.to_lowercase()), "{word}: {asked:?}");
    }
}

#[tokio::test]
async fn a_bucket_in_another_region_is_asked_there_once() {
    let moved = || s3(301, "PermanentRedirect").header("x-amz-bucket-region", "us-west-2");
    let script = Script::new(vec![Answer::identity(SERVICE_A), moved(), Answer::new(200, ""), moved(), moved()]);
    let env = env(&[&KEYS[..], &[("AWS_ENDPOINT_URL", script.url.as_str())]].concat());
    let who = whoami(&env, &tries(&["far", "lost"])).await;
    assert_eq!(who.to_string(), "service-a · far ok · lost PermanentRedirect");
    assert_eq!((script.count("/eu-west-1/s3/"), script.count("/us-west-2/s3/")), (2, 2));
}

#[tokio::test]
async fn users_nobody_and_refusals_have_their_words() {
    let script = Script::new(vec![Answer::identity("arn:aws:iam::222233334444:user/ann")]);
    let at = |url: &str| env(&[&KEYS[..], &[("AWS_ENDPOINT_URL_STS", url)]].concat());
    assert_eq!(whoami(&at(&script.url), &[]).await.to_string(), "user/ann");
    let script = Script::new(vec![Answer::error(403, "ExpiredToken", "over")]);
    assert_eq!(whoami(&at(&script.url), &[]).await.to_string(), "unknown (ExpiredToken)");
    let nobody = whoami(&env(&[]), &tries(&["bucket1"])).await;
    assert!(
        nobody.to_string().starts_with("no credentials (") && nobody.to_string().ends_with(") · bucket1 NoCredentials")
    );
    assert!(nobody.source.is_none() && nobody.arn.is_err());
}
