//! `devsup iam`: what IAM must say, offline.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::aws::iam::{Document, Needs, Policy, Statement, Style, Trusting, UNKNOWN_CALLER, terraform};
use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::project::no_such_service;
use crate::cli::verbs::config::{load, trust};
use crate::manifest::{Manifest, Name, RoleArn};

/// The IAM statements that this manifest needs, and where each goes; no network, nothing is changed
#[derive(Debug, Args)]
#[command(
    after_help = "policy: for the identity that devsup runs as. trust: for each role, to append to the Statement of its trust policy. terraform: both, as HCL. Without a word: all on one page. What goes where is said on stderr, so that stdout is JSON or HCL alone.\n\nExamples:\n  devsup iam\n  devsup iam policy > policy.json\n  devsup iam trust --for a --trust arn\n  devsup iam terraform > devsup.tf\n"
)]
pub(crate) struct Iam {
    /// policy, trust or terraform; else a page with all
    #[arg(value_name = "WHAT", hide_possible_values = true)]
    what: Option<What>,
    /// Only what this service needs; may be given again
    #[arg(long = "for", value_name = "SVC")]
    services: Vec<String>,
    /// How the roles trust: condition (the account, if it is this role), arn (this role), root (the account)
    #[arg(long, value_name = "STYLE", hide_possible_values = true)]
    trust: Option<TrustStyle>,
    /// Read a manifest that other people may write to
    #[arg(long)]
    insecure_manifest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Policy,
    Trust,
    Terraform,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TrustStyle {
    Condition,
    Arn,
    Root,
}

/// Characters of a role's inline policies together; of a trust policy unless AWS was asked for more. Blanks do not count.
const INLINE: usize = 10_240;
const TRUST: usize = 2_048;

impl Iam {
    pub(crate) fn run(self, context: &Context) -> Result<Code, Failure> {
        self.check(context)?;
        let manifest = load(context, trust(self.insecure_manifest))?.manifest;
        let needs = Needs::of(&manifest, &chosen(&manifest, &self.services)?, self.style());
        notes(context, &needs);
        match self.what {
            Some(What::Terraform) => context.terminal.print(&terraform::print(&needs))?,
            Some(What::Policy) => policies(context, &needs)?,
            Some(What::Trust) => trusts(context, &needs)?,
            None if context.terminal.format == Format::Json => {
                policies(context, &needs)?;
                trusts(context, &needs)?;
            }
            None => context.terminal.print(&page(&needs))?,
        }
        Ok(Code::OK)
    }

    fn check(&self, context: &Context) -> Result<(), Failure> {
        if self.what == Some(What::Policy) && self.trust.is_some() {
            let failure = Failure::new(Kind::Usage, "`--trust` says nothing of a caller's policy");
            return Err(failure.hint("devsup iam trust, or devsup iam terraform"));
        }
        if self.what == Some(What::Terraform) && context.terminal.format == Format::Json {
            let failure = Failure::new(Kind::Usage, "`iam terraform` prints HCL, and has no JSON");
            return Err(failure.hint("devsup --format json iam"));
        }
        Ok(())
    }

    fn style(&self) -> Style {
        match self.trust {
            None | Some(TrustStyle::Condition) => Style::Condition,
            Some(TrustStyle::Arn) => Style::Arn,
            Some(TrustStyle::Root) => Style::Root,
        }
    }
}

/// Those that are named, each of which must have a role; else all that have one.
fn chosen(manifest: &Manifest, names: &[String]) -> Result<Vec<Name>, Failure> {
    let all: Vec<&str> = manifest.services.keys().map(Name::as_str).collect();
    for name in names {
        let service = manifest.services.get(name.as_str()).ok_or_else(|| no_such_service(name, &all))?;
        if service.role.is_none() {
            let why = if service.inherit_aws {
                "it uses the machine's own identity (`inherit_aws`)"
            } else {
                "it has no `role`"
            };
            return Err(Failure::new(Kind::Usage, format!("service `{name}` needs nothing of IAM: {why}")));
        }
    }
    let with_role =
        manifest.services.values().filter(|service| service.role.is_some()).map(|service| service.name.clone());
    let wanted: Vec<Name> =
        with_role.filter(|name| names.is_empty() || names.iter().any(|named| named == name.as_str())).collect();
    if wanted.is_empty() {
        let failure = Failure::new(Kind::Usage, "no service of this manifest has a role: nothing is needed of IAM");
        return Err(failure.hint("role = \"arn:aws:iam::033145145979:role/service-a\""));
    }
    Ok(wanted)
}

/// What is not known, and what AWS would not take.
fn notes(context: &Context, needs: &Needs) {
    if needs.base.is_none() {
        let stands = format!("`{UNKNOWN_CALLER}` stands in its place (in Terraform `var.{}`)", terraform::VARIABLE);
        context.terminal.say(format!("note: `[aws] base_role` does not say who devsup runs as: {stands}"));
    }
    let length = |text: Result<String, serde_json::Error>| text.map_or(0, |text| text.chars().count());
    for policy in &needs.policies {
        let long = length(serde_json::to_string(&policy.document));
        if long > INLINE {
            context.terminal.say(format!(
                "note: the policy of `{}` has {long} characters; a role's inline policies have {INLINE} at most: split it by \
                 `--for`, or attach managed policies",
                policy.caller.arn()
            ));
        }
    }
    for trusting in &needs.trusts {
        let long = length(serde_json::to_string(&trusting.statements));
        if long > TRUST {
            context.terminal.say(format!(
                "note: the statements for `{}` have {long} characters; a trust policy has {TRUST} unless the quota was raised",
                trusting.role
            ));
        }
    }
}

/// One line of `--format json`.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Policy { principal: &'a str, document: &'a Document },
    Trust { role: &'a RoleArn, services: &'a [Name], statements: &'a [Statement] },
}

/// stdout is JSON alone, whatever the format; what it is for goes before it on stderr.
fn policies(context: &Context, needs: &Needs) -> Result<(), Failure> {
    for policy in &needs.policies {
        if context.terminal.format == Format::Json {
            context.terminal.json(&Line::Policy { principal: policy.caller.arn(), document: &policy.document })?;
        } else {
            context.terminal.say(head_of_policy(policy));
            context.terminal.print(&pretty(&policy.document))?;
        }
    }
    Ok(())
}

fn trusts(context: &Context, needs: &Needs) -> Result<(), Failure> {
    for trusting in &needs.trusts {
        if context.terminal.format == Format::Json {
            let Trusting { role, services, statements, .. } = trusting;
            context.terminal.json(&Line::Trust { role, services, statements })?;
            continue;
        }
        context.terminal.say(head_of_trust(trusting));
        for statement in &trusting.statements {
            context.terminal.print(&pretty(statement))?;
        }
    }
    Ok(())
}

fn pretty(value: &impl Serialize) -> String {
    // Strings, lists and maps with string keys: nothing that JSON cannot say.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn head_of_policy(policy: &Policy) -> String {
    format!("add to the policies of `{}`:", policy.caller.arn())
}

fn head_of_trust(trusting: &Trusting) -> String {
    let services: Vec<&str> = trusting.services.iter().map(Name::as_str).collect();
    format!("append to the trust policy of `{}` ({}):", trusting.role, services.join(", "))
}

/// For a person: everything, with what it is for.
fn page(needs: &Needs) -> String {
    let mut text = format!("What IAM must say so that `{}` works. Each part is needed.\n", needs.project);
    text.push_str("\nWho assumes: a policy of that identity's own\n");
    for policy in &needs.policies {
        write!(text, "\n{}\n{}", head_of_policy(policy), pretty(&policy.document)).ok();
    }
    text.push_str("\nWho is assumed: one more entry of `Statement` in the role's trust policy; what is there stays\n");
    for trusting in &needs.trusts {
        let statements: Vec<String> = trusting.statements.iter().map(Statement::to_string).collect();
        write!(text, "\n{}\n{}\n", head_of_trust(trusting), statements.join(",\n")).ok();
    }
    text.push_str(
        "\nOne account for all? The trust alone is enough with `--trust arn`; the policy does no harm.\n\
         As Terraform: devsup iam terraform. A change in IAM takes a minute to arrive; `devsup creds --refresh` asks again.\n",
    );
    text
}
