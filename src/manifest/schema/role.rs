//! `[services.NAME.role]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::OneOrMany;

/// Everything AssumeRole is asked with.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Role {
    /// `arn:aws:iam::033145145979:role/service-a`, or what follows `role_prefix`.
    arn: Option<String>,
    /// 15m to 12h; AWS caps it at 1h when the base identity is itself a role.
    #[schemars(extend("default" = "1h"))]
    duration: Option<String>,
    /// How long before the lease ends the service is replaced. Default: a sixth of its life, at least 5m.
    rotate_before: Option<String>,
    /// How credentials reach the process.
    #[schemars(extend("default" = "env"))]
    delivery: Option<Delivery>,
    /// With `delivery = "endpoint"`: the token in a variable, or in a private file.
    #[schemars(extend("default" = "env"))]
    token: Option<Token>,
    /// What the role's trust policy asks of third parties.
    #[schemars(length(min = 2, max = 1224))]
    external_id: Option<String>,
    /// What CloudTrail shows; `{user}`, `{service}`, `{host}` and `{project}` are filled in.
    #[schemars(extend("default" = "devsup-{user}-{service}"))]
    session_name: Option<String>,
    /// A session policy that narrows the role: inline JSON, or the path of a file.
    policy: Option<String>,
    /// Managed policies that narrow the role, at most 10.
    policy_arns: Option<OneOrMany>,
    /// Roles that are assumed on the way, in order; the last of them assumes `arn`. AWS then caps the lease at 1h.
    via: Option<OneOrMany>,
    /// Who this is for, in CloudTrail, through all roles of a chain; places as in `session_name`. Needs
    /// sts:SetSourceIdentity on both sides.
    source_identity: Option<String>,
    /// Session tags, at most 50. Needs sts:TagSession on both sides.
    tags: Option<BTreeMap<String, String>>,
    /// Keys of `tags` that every later role of a chain inherits.
    transitive_tags: Option<OneOrMany>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Delivery {
    Env,
    Endpoint,
    Process,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Token {
    Env,
    File,
}
