"""MiniStack with one thing as AWS has it: `aws:PrincipalArn` of a session is the role's ARN, not the session's.

(IAM user guide, global condition keys: "IAM role: the request context returns the ARN of the role".) Without it a trust policy
that names the account's root on condition of the caller's role, which is the usual one of `devsup iam`, admits nobody here.
"""

import sys

from ministack.app import main
from ministack.core import iam_evaluator
from ministack.services import iam

resolve = iam_evaluator._resolve_condition_key


def as_aws(key, context):
    value = resolve(key, context)
    if key.lower() != "aws:principalarn" or ":assumed-role/" not in (value or ""):
        return value
    name = value.split(":assumed-role/", 1)[1].split("/", 1)[0]
    role = iam._roles.get_scoped(value.split(":")[4], None, name)
    return role["Arn"] if role else value


iam_evaluator._resolve_condition_key = as_aws
sys.exit(main())
