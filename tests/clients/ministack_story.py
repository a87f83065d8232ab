"""The three-buckets story against MiniStack, an AWS emulator that others wrote, which enforces trust, policies and expiry.

Production gives each service an instance, a role and a bucket of its own. In development they share one instance, whose role
may use none of the buckets, only assume the three roles. First act: as that role, everything is denied. Second act: devsup.

usage: ministack_story.py DEVSUP
"""

import json
import os
import sys
import tempfile
import urllib.error
import urllib.request

import boto3

from emulator import ACCOUNT, REGION, SERVICES, Emulator, build, role
from harness import check, clean_env, done, end_by_signals, part, refused, require, run
from imds_front import Front

MANIFEST = f"""
name = "three-buckets"

[aws]
base_role = "arn:aws:iam::{ACCOUNT}:role/role-dev"
region = "{REGION}"

[services.a]
command = ["sleep", "1000"]
role = "arn:aws:iam::{ACCOUNT}:role/service-a"

[services.b]
command = ["sleep", "1000"]
role = "arn:aws:iam::{ACCOUNT}:role/service-b"

[services.c]
command = ["sleep", "1000"]
role = "arn:aws:iam::{ACCOUNT}:role/service-c"

[services.dev]
command = ["sleep", "1000"]
inherit_aws = true
"""
# Run by `devsup exec`: every bucket's answer to the credentials that it finds.
PROBE = """
import boto3, json
from botocore.exceptions import ClientError
answers = {"arn": boto3.client("sts").get_caller_identity()["Arn"]}
for bucket in ("bucket1", "bucket2", "bucket3"):
    try:
        boto3.client("s3").list_objects_v2(Bucket=bucket)
        answers[bucket] = "ok"
    except ClientError as error:
        answers[bucket] = error.response["Error"]["Code"]
print(json.dumps(answers))
"""


def first_act(emulator, front):
    """The problem, and its solution by hand."""
    os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = front.url
    session = boto3.Session()
    found = session.get_credentials()
    check("the base identity is the instance's", found is not None and found.method == "iam-role", found and found.method)
    keys = found.get_frozen_credentials()
    base = {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key, "SessionToken": keys.token}
    sts = emulator.client("sts", base)
    arn = sts.get_caller_identity()["Arn"]
    check("which is role-dev", arn.startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/role-dev/"), arn)
    dev = emulator.client("s3", base)
    for bucket in SERVICES.values():
        check(f"role-dev is denied {bucket}", refused(dev.list_objects_v2, Bucket=bucket) == "AccessDenied")
    for name, own in SERVICES.items():
        keys = sts.assume_role(RoleArn=role(f"service-{name}"), RoleSessionName="s3-example")["Credentials"]
        s3 = emulator.client("s3", keys)
        for bucket in SERVICES.values():
            due = "ok" if bucket == own else "AccessDenied"
            got = refused(s3.list_objects_v2, Bucket=bucket)
            check(f"service-{name} at {bucket} by hand", got == due, got)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"{front.url}/latest/meta-data/iam/security-credentials/", timeout=10)
        check("metadata without a token", False)
    except urllib.error.HTTPError as error:
        check("metadata without a token", error.code == 401, error.code)


def second_act(emulator, front, devsup, home):
    """devsup: the same, with nothing done by hand."""
    project, runtime = os.path.join(home, "project"), os.path.join(home, "run")
    os.mkdir(project)
    os.mkdir(runtime, 0o700)
    with open(os.path.join(project, "services.toml"), "w") as file:
        file.write(MANIFEST)
    env = clean_env(
        home,
        AWS_ENDPOINT_URL=emulator.url,
        AWS_EC2_METADATA_SERVICE_ENDPOINT=front.url,
        XDG_RUNTIME_DIR=runtime,
        XDG_STATE_HOME=os.path.join(home, "state"),
    )
    # The base identity is the instance's: metadata must be on for devsup itself.
    del env["AWS_EC2_METADATA_DISABLED"]

    def do(*words):
        return run([devsup, *words], env, project)

    try:
        code, out, err = do("up", "-d", "--wait", "--wait-timeout", "60s")
        require("devsup up -d --wait", code == 0, out + err)
        for name, url in (("AWS_ENDPOINT_URL", emulator.url), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", front.url)):
            check(f"up names {name}, by which it does not ask AWS", f"{name} = {url}" in err, err)
        code, out, err = do("ps")
        check("and so does ps", code == 0 and f"AWS_ENDPOINT_URL = {emulator.url}" in out + err, out + err)
        check("which shows three roles", all(f"service-{name}" in out for name in SERVICES) and "base identity" in out, out)
        handed_out = front.handed_out
        check("devsup took its base identity from the metadata service", handed_out >= 2, handed_out)
        in_a = ("exec", "a", "--")
        code, out, err = do(*in_a, "aws", "s3", "ls", "s3://bucket1/")
        check("aws s3 ls s3://bucket1/", code == 0 and out == "", out + err)
        check("touch hello", do(*in_a, "touch", "hello")[0] == 0 and os.path.exists(os.path.join(project, "hello")))
        code, out, err = do(*in_a, "aws", "s3", "cp", "hello", "s3://bucket1/")
        check("aws s3 cp hello s3://bucket1/", code == 0 and "upload: ./hello to s3://bucket1/hello" in out, out + err)
        code, out, err = do(*in_a, "aws", "s3", "ls", "s3://bucket1/")
        check("aws s3 ls s3://bucket1/, again", code == 0 and out.rstrip().endswith(" hello"), out + err)
        for bucket in ("bucket2", "bucket3"):
            code, out, err = do(*in_a, "aws", "s3", "ls", f"s3://{bucket}/")
            check(f"aws s3 ls s3://{bucket}/", code != 0 and "AccessDenied" in err, out + err)
        code, out, err = do("exec", "dev", "--", "aws", "s3", "ls", "s3://bucket1/")
        check("aws s3 ls s3://bucket1/ as the instance", code != 0 and "AccessDenied" in err, out + err)
        for name, own in {**SERVICES, "dev": None}.items():
            code, out, err = do("exec", name, "--", sys.executable, "-B", "-c", PROBE)
            check(f"the probe as {name}", code == 0, out + err)
            answers = json.loads(out)
            who = "role-dev" if own is None else f"service-{name}"
            check(f"{name} is {who}", f":assumed-role/{who}/" in answers["arn"], answers)
            for bucket in SERVICES.values():
                due = "ok" if bucket == own else "AccessDenied"
                check(f"{name} at {bucket}", answers[bucket] == due, answers)
    finally:
        code, out, err = do("down")
    check("devsup down", code == 0, out + err)


def main(devsup):
    end_by_signals()
    with tempfile.TemporaryDirectory() as home:
        env = clean_env(home)
        del env["AWS_EC2_METADATA_DISABLED"]
        os.environ.clear()
        os.environ.update(env)
        with part("MiniStack"):
            emulator = Emulator(home)
            try:
                front = Front(emulator.port, "role-dev", build(emulator))
                try:
                    with part("first act"):
                        first_act(emulator, front)
                    with part("second act"):
                        second_act(emulator, front, devsup, home)
                finally:
                    front.close()
            finally:
                emulator.close()
    done()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
