//! The same as Terraform, written as `terraform fmt` would: the caller's policy as a resource, whatever belongs to roles
//! that are managed elsewhere as `data` to be merged there. Never an `aws_iam_role`: production's live in another state.
//!
//! What must never happen: a name that Terraform does not take, or two that are the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::statement::{Conditions, Statement};
use super::{Caller, Needs, Policy, Trusting, UNKNOWN_CALLER, UNKNOWN_ROOT};
use crate::manifest::{Name, RoleArn};

/// The variable in the place of a base identity that the manifest does not name.
pub const VARIABLE: &str = "devsup_base_role_arn";

/// A whole file. Every block is ended by a line break, blocks are parted by an empty line.
pub fn print(needs: &Needs) -> String {
    let names = names(needs);
    let mut text = format!(
        "# What IAM must say for the devsup project \"{}\". Printed by: devsup iam terraform\n\
         # Keep it in a file of its own and print it again when the manifest changes. No role is made here.\n",
        needs.project
    );
    if needs.base.is_none() {
        text.push_str(UNKNOWN_BASE);
    }
    for policy in &needs.policies {
        match &policy.caller {
            Caller::Base(base) => base_policy(&mut text, needs, policy, base.as_ref()),
            Caller::Hop(hop) => hop_policy(&mut text, policy, hop, &names[hop]),
        }
    }
    for trusting in &needs.trusts {
        trust(&mut text, trusting, &names[&trusting.role]);
    }
    text
}

const UNKNOWN_BASE: &str = r#"
variable "devsup_base_role_arn" {
  description = "The role that devsup runs as; [aws] base_role of the manifest would name it."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.devsup_base_role_arn))
    error_message = "Expected the ARN of a role, such as arn:aws:iam::033145145979:role/dev."
  }
}

locals {
  devsup_base_role_name    = regex("[^/]+$", var.devsup_base_role_arn)
  devsup_base_account_root = replace(var.devsup_base_role_arn, "/:role/.+$/", ":root")
}
"#;

fn base_policy(text: &mut String, needs: &Needs, policy: &Policy, base: Option<&RoleArn>) {
    let role = match base {
        Some(role) => quoted(role.role_name()),
        None => "local.devsup_base_role_name".to_owned(),
    };
    let who = base.map_or("The role of var.devsup_base_role_arn", RoleArn::as_str);
    write!(text, "\n# {who}, which devsup runs as, may assume the roles of the services.\n").ok();
    document(text, "devsup_assume", &policy.document.statement);
    write!(
        text,
        "\nresource \"aws_iam_role_policy\" \"devsup_assume\" {{\n  name   = {}\n  role   = {role}\n  \
         policy = data.aws_iam_policy_document.devsup_assume.json\n}}\n",
        quoted(&format!("devsup-{}", needs.project)),
    )
    .ok();
}

fn hop_policy(text: &mut String, policy: &Policy, hop: &RoleArn, name: &str) {
    let name = format!("devsup_assume_{name}");
    write!(
        text,
        "\n# {hop} stands on the way (`via`) and may assume what comes next. Where that role is managed:\n\
         #   policy = data.aws_iam_policy_document.{name}.json\n"
    )
    .ok();
    document(text, &name, &policy.document.statement);
}

fn trust(text: &mut String, trusting: &Trusting, name: &str) {
    let name = format!("devsup_trust_{name}");
    let services: Vec<&str> = trusting.services.iter().map(Name::as_str).collect();
    write!(
        text,
        "\n# {} ({}). Where that role is managed, in the document of its assume_role_policy:\n\
         #   source_policy_documents = [data.aws_iam_policy_document.{name}.json]\n",
        trusting.role,
        services.join(", ")
    )
    .ok();
    document(text, &name, &trusting.statements);
}

fn document(text: &mut String, name: &str, statements: &[Statement]) {
    writeln!(text, "data \"aws_iam_policy_document\" \"{name}\" {{").ok();
    for (at, one) in statements.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "\n" });
        statement(text, one);
    }
    text.push_str("}\n");
}

fn statement(text: &mut String, one: &Statement) {
    let actions: Vec<String> = one.action.iter().map(|action| quoted(action)).collect();
    write!(
        text,
        "  statement {{\n    sid     = {}\n    effect  = \"Allow\"\n    actions = [{}]\n",
        quoted(&one.sid),
        actions.join(", ")
    )
    .ok();
    if !one.resource.is_empty() {
        text.push_str("\n    resources = [\n");
        for role in &one.resource {
            writeln!(text, "      {},", quoted(role)).ok();
        }
        text.push_str("    ]\n");
    }
    if let Some(principal) = &one.principal {
        write!(
            text,
            "\n    principals {{\n      type        = \"AWS\"\n      identifiers = [{}]\n    }}\n",
            value(&principal.aws)
        )
        .ok();
    }
    conditions(text, &one.condition);
    text.push_str("  }\n");
}

fn conditions(text: &mut String, all: &Conditions) {
    for (operator, keys) in all {
        for (key, values) in keys {
            let values: Vec<String> = values.0.iter().map(|one| value(one)).collect();
            write!(
                text,
                "\n    condition {{\n      test     = {}\n      variable = {}\n      values   = [{}]\n    }}\n",
                quoted(operator),
                quoted(key),
                values.join(", ")
            )
            .ok();
        }
    }
}

/// What only the reader knows is a variable here.
fn value(text: &str) -> String {
    match text {
        UNKNOWN_CALLER => format!("var.{VARIABLE}"),
        UNKNOWN_ROOT => "local.devsup_base_account_root".to_owned(),
        _ => quoted(text),
    }
}

/// A string of HCL in which nothing is a template.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '$' | '%' if letters.peek() == Some(&'{') => quoted.extend([letter, letter]),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// What each role is called here: by its name, which stays when services come and go. A letter that Terraform does not
/// take, or a name that another account has too, is told apart by the ARN's digest.
fn names(needs: &Needs) -> BTreeMap<&RoleArn, String> {
    let roles = needs.trusts.iter().map(|trusting| &trusting.role);
    let alone = |role: &RoleArn| roles.clone().filter(|other| other.role_name() == role.role_name()).count() == 1;
    let name = |role: &RoleArn| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        let name: String = role.role_name().chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
        if name == role.role_name() && alone(role) {
            return name;
        }
        let digest = Sha256::digest(role.as_str().as_bytes());
        format!("{name}_{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
    };
    roles.clone().map(|role| (role, name(role))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_string_is_a_template() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(quoted("${x} %{y} $ %"), r#""$${x} %%{y} $ %""#);
    }
}
