//! Who a program in this environment really is in AWS, by the SDK's own chain, and which buckets it can list.
//!
//! Called by `devsup whoami`, which services run too; so it never asks the daemon.

mod bucket;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use super::chain::{self, Found, Variables, Wish};
use super::error::Failure;
use super::{arn, base, http};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The answer; `Display` is the one line `service-a · bucket1 ok · bucket2 AccessDenied`.
#[derive(Clone, Debug)]
pub struct Whoami {
    /// The ARN, or why there is none, as one sentence.
    pub arn: Result<String, String>,
    pub account: Option<String>,
    /// What the SDK found, `environment`, `profile dev`; and which variable, file or address that was.
    pub source: Option<String>,
    pub place: Option<String>,
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL = http://…`, when requests go elsewhere than to AWS.
    pub endpoint_override: Option<String>,
    /// In the order asked: the name, and AWS's code if it cannot be listed.
    pub buckets: Vec<(String, Result<(), String>)>,
}

impl Whoami {
    /// `service-a`, `user/ann`, `no credentials (…)`.
    pub fn name(&self) -> String {
        match &self.arn {
            Ok(arn) => match arn::AssumedRole::read(arn) {
                Some(role) => role.name.to_owned(),
                None => arn::short(arn),
            },
            Err(why) if self.source.is_none() => format!("no credentials ({why})"),
            Err(why) => format!("unknown ({why})"),
        }
    }
}

impl fmt::Display for Whoami {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        for (bucket, answer) in &self.buckets {
            match answer {
                Ok(()) => write!(f, " · {bucket} ok")?,
                Err(code) => write!(f, " · {bucket} {code}")?,
            }
        }
        Ok(())
    }
}

/// `tries` are buckets, as `s3://BUCKET`, `s3://BUCKET/prefix` or `BUCKET`.
pub async fn whoami(env: &[(OsString, OsString)], tries: &[String]) -> Whoami {
    let env = Variables::new(env);
    let names = tries.iter().map(|bucket| bucket::name(bucket));
    let wish = Wish { profile: None, region: None };
    let Ok(found) = tokio::time::timeout(PATIENCE, chain::find(&env, &wish)).await else {
        let why = format!("the SDK's chain gave no answer in {}s", PATIENCE.as_secs());
        return none(why, None, &env, names);
    };
    let region = found.config.region().map(ToString::to_string);
    let credentials = match &found.credentials {
        Ok(credentials) => credentials.clone(),
        Err(missing) => return none(missing.why.clone(), region, &env, names),
    };
    let (arn, account) = identity(&found).await;
    let place = bucket::Place::new(&env, region.as_deref());
    let mut buckets = Vec::with_capacity(tries.len());
    for name in names {
        let answer = place.list(&credentials, name).await;
        buckets.push((name.to_owned(), answer));
    }
    Whoami {
        arn,
        account,
        source: Some(found.source),
        place: Some(found.place).filter(|place| !place.is_empty()),
        region,
        endpoint_override: endpoint_override(&env),
        buckets,
    }
}

fn none<'a>(why: String, region: Option<String>, env: &Variables, buckets: impl Iterator<Item = &'a str>) -> Whoami {
    Whoami {
        arn: Err(why),
        account: None,
        source: None,
        place: None,
        region,
        endpoint_override: endpoint_override(env),
        buckets: buckets.map(|name| (name.to_owned(), Err("NoCredentials".to_owned()))).collect(),
    }
}

async fn identity(found: &Found) -> (Result<String, String>, Option<String>) {
    let mut config = aws_sdk_sts::config::Builder::from(&found.config);
    if found.config.region().is_none() {
        config = config.region(aws_config::Region::new("us-east-1"));
    }
    let asked = aws_sdk_sts::Client::from_conf(config.build()).get_caller_identity().send();
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(who)) => (who.arn.ok_or_else(|| "STS named nobody".to_owned()), who.account),
        Ok(Err(error)) => (Err(why(&Failure::of(&error, base::wall().0))), None),
        Err(_) => (Err("STS does not answer".to_owned()), None),
    }
}

/// AWS's code, or why there is none.
fn why(failure: &Failure) -> String {
    match failure {
        Failure::Answer(answer) => answer.code.clone().unwrap_or_else(|| format!("HTTP {}", answer.status)),
        Failure::Unreachable(what) => format!("STS does not answer: {what}"),
        Failure::NoBase(missing) => missing.why.clone(),
        Failure::Refused(refusal) => refusal.message.clone(),
        Failure::Hop(hop) => why(&hop.failure),
    }
}

fn endpoint_override(env: &Variables) -> Option<String> {
    if env.ignores_endpoints() {
        return None;
    }
    ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| Some(format!("{name} = {}", http::without_password(env.get(name)?))))
}
