//! `devsup whoami`.

use clap::Args;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure};
use crate::cli::seam::aws;

/// Who AWS says you are, in this environment, and which variable, file or endpoint says so
#[derive(Debug, Args)]
#[command(after_help = "It works in any shell and in any service; devsup need not be up. Exit code 7 if there is no identity.\n\nExamples:\n  devsup whoami\n  devsup exec a -- devsup whoami --try s3://bucket1 s3://bucket2\n")]
pub(crate) struct Whoami {
    /// List these buckets, and say which answer
    #[arg(long = "try", value_name = "s3://BUCKET", num_args = 1.., value_parser = bucket)]
    tries: Vec<String>,
}

fn bucket(text: &str) -> Result<String, String> {
    match text.strip_prefix("s3://").map(|rest| rest.trim_end_matches('/')) {
        Some(name) if !name.is_empty() && !name.contains('/') => Ok(name.to_owned()),
        _ => Err("expected a bucket such as `s3://bucket1`".to_owned()),
    }
}

impl Whoami {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let answer = aws::whoami(&context.aws_environment(), &self.tries).await;
        match context.terminal.format {
            Format::Json => context.terminal.json(&answer)?,
            Format::Table => context.terminal.print(&format!("{}\n", answer.line()))?,
        }
        Ok(if answer.known() { Code::OK } else { Code::CREDENTIALS_REFUSED })
    }
}
