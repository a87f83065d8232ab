//! `devsup whoami`.

use std::ffi::OsStr;

use clap::Args;

use crate::aws::{self, Whoami as Answer};
use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure};
use crate::cli::terminal::Talk;

/// Who AWS says you are, in this environment, and which variable, file or endpoint says so
#[derive(Debug, Args)]
#[command(
    after_help = "With -v also where the identity comes from. It works in any shell and in any service; devsup need not be up. Exit code 7 if there is no identity.\n\nExamples:\n  devsup whoami\n  devsup exec a -- devsup whoami --try s3://bucket1 s3://bucket2\n"
)]
pub(crate) struct Whoami {
    /// List these buckets, and say which answer
    #[arg(long = "try", value_name = "s3://BUCKET", num_args = 1.., value_parser = bucket)]
    tries: Vec<String>,
}

const KEYS: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

fn bucket(text: &str) -> Result<String, String> {
    match text.strip_prefix("s3://").map(|rest| rest.trim_end_matches('/')) {
        Some(name) if !name.is_empty() && !name.contains('/') => Ok(name.to_owned()),
        _ => Err("expected a bucket such as `s3://bucket1`".to_owned()),
    }
}

impl Whoami {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let mut env = context.aws_environment();
        if context.globals.profile.is_some() {
            // As for the AWS CLI and `up`: a profile that is asked for wins over keys that lie around.
            env.retain(|(name, _)| !KEYS.iter().any(|key| name == OsStr::new(key)));
        }
        let answer = aws::whoami(&env, &self.tries).await;
        match context.terminal.format {
            Format::Json => context.terminal.json(&json(&answer))?,
            Format::Table => context.terminal.print(&text(&answer, context.terminal.talk))?,
        }
        Ok(if answer.arn.is_ok() { Code::OK } else { Code::CREDENTIALS_REFUSED })
    }
}

/// One line; with `-v` also where it comes from.
fn text(answer: &Answer, talk: Talk) -> String {
    let mut text = format!("{answer}\n");
    if talk == Talk::Verbose {
        let facts = [
            ("identity", answer.arn.as_ref().ok()),
            ("from", answer.source.as_ref()),
            ("by", answer.place.as_ref()),
            ("region", answer.region.as_ref()),
            ("instead of AWS", answer.endpoint_override.as_ref()),
        ];
        for (label, words) in facts {
            text.extend(words.map(|words| format!("  {label:<15}{words}\n")));
        }
    }
    text
}

fn json(answer: &Answer) -> serde_json::Value {
    let buckets: serde_json::Map<String, serde_json::Value> = answer
        .buckets
        .iter()
        .map(|(name, listed)| (name.clone(), listed.as_ref().err().map_or("ok", String::as_str).into()))
        .collect();
    serde_json::json!({
        "name": answer.name(),
        "arn": answer.arn.as_ref().ok(),
        "error": answer.arn.as_ref().err(),
        "account": answer.account,
        "source": answer.source,
        "place": answer.place,
        "region": answer.region,
        "endpoint_override": answer.endpoint_override,
        "buckets": buckets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_one_line_and_says_where_it_comes_from_when_asked() {
        let answer = Answer {
            arn: Ok("arn:aws:sts::033145145979:assumed-role/service-a/devsup-alice-a".into()),
            account: Some("033145145979".into()),
            source: Some("environment".into()),
            place: Some("AWS_ACCESS_KEY_ID".into()),
            region: Some("ap-southeast-2".into()),
            endpoint_override: None,
            buckets: vec![("bucket1".into(), Ok(())), ("bucket2".into(), Err("AccessDenied".into()))],
        };
        assert_eq!(text(&answer, Talk::Usual), "service-a · bucket1 ok · bucket2 AccessDenied\n");
        insta::assert_snapshot!(text(&answer, Talk::Verbose));
        insta::assert_snapshot!(json(&answer));
        assert_eq!(bucket("s3://b/").as_deref(), Ok("b"));
        assert!(bucket("b").is_err());
    }
}
