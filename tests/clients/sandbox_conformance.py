"""boto3 and the AWS CLI against `devsup sandbox`: the wire, the refusals, the expiry, the faults.

usage: sandbox_conformance.py DEVSUP
DEVSUP_SANDBOX_COMMAND (shell words) replaces `DEVSUP -f services.toml sandbox --format json`; then it must serve the same manifest.
"""

import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

from harness import check, clean_env, done, end, end_by_signals, first_line, part, refused, run, wait_until

ACCOUNT = "123456789012"
MANIFEST = f"""
name = "conformance"

[aws]
base_role = "arn:aws:iam::{ACCOUNT}:role/role-dev"
region = "eu-west-1"

[services.a]
command = "true"
role = "arn:aws:iam::{ACCOUNT}:role/service-a"

[services.b]
command = "true"
role = "arn:aws:iam::{ACCOUNT}:role/service-b"

[sandbox]
lease = "60s"
buckets = {{ bucket1 = ["service-a"], bucket2 = ["service-b"] }}
"""


def client(name, ready, keys, **config):
    settings = {"retries": {"total_max_attempts": 1}, **config}
    return boto3.client(
        name,
        endpoint_url=ready["url"],
        region_name=ready["region"],
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(**settings),
    )


def role(name):
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def admin(ready, path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{ready['url']}/_sandbox/{path}", data=data, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return json.load(answer)


def identities(ready, base):
    sts = client("sts", ready, base)
    who = sts.get_caller_identity()
    check("the base is a session of the base role", who["Arn"].startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/role-dev/"), who)
    check("account", who["Account"] == ACCOUNT)
    check("request id in the header", who["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"] == who["ResponseMetadata"]["RequestId"])

    answer = sts.assume_role(RoleArn=role("service-a"), RoleSessionName="me", DurationSeconds=900)
    user, keys = answer["AssumedRoleUser"], answer["Credentials"]
    check("assumed role", user["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/service-a/me", user)
    check("role id", user["AssumedRoleId"].startswith("AROA") and user["AssumedRoleId"].endswith(":me"), user)
    check("key id", keys["AccessKeyId"].startswith("ASIASANDBOX"), keys["AccessKeyId"])
    left = keys["Expiration"].timestamp() - time.time()
    check("the lease is the sandbox's, not the 900 s asked for", 50 < left <= 60.5, left)

    check("unknown role", refused(sts.assume_role, RoleArn=role("nobody"), RoleSessionName="me") == "AccessDenied")
    check("session name", refused(sts.assume_role, RoleArn=role("service-a"), RoleSessionName="a b") == "ValidationError")
    check("policy", refused(sts.assume_role, RoleArn=role("service-a"), RoleSessionName="me", Policy="{") == "MalformedPolicyDocument")
    check("chain", refused(client("sts", ready, keys).assume_role, RoleArn=role("service-b"), RoleSessionName="me") == "AccessDenied")
    check("session token of a session", refused(sts.get_session_token) == "AccessDenied")


def refusals(ready, base):
    wrong = {
        "unknown key": ({"AccessKeyId": "ASIASANDBOXNOBODYNOB"}, "InvalidClientTokenId", "InvalidAccessKeyId"),
        "wrong secret": ({"SecretAccessKey": "x" * 40}, "SignatureDoesNotMatch", "SignatureDoesNotMatch"),
        "wrong token": ({"SessionToken": "x" * 40}, "InvalidClientTokenId", "InvalidToken"),
        "no token": ({"SessionToken": None}, "InvalidClientTokenId", "InvalidToken"),
    }
    for what, (change, of_sts, of_s3) in wrong.items():
        keys = {**base, **change}
        check(f"{what}, STS", refused(client("sts", ready, keys).get_caller_identity) == of_sts)
        check(f"{what}, S3", refused(client("s3", ready, keys).list_objects_v2, Bucket="bucket1") == of_s3)
    dev = client("s3", ready, base)
    for bucket in ("bucket1", "bucket2"):
        check(f"the base is denied {bucket}", refused(dev.list_objects_v2, Bucket=bucket) == "AccessDenied")
    check("and the list of buckets", refused(dev.list_buckets) == "AccessDenied")


def objects(ready, base):
    sts = client("sts", ready, base)
    keys = {n: sts.assume_role(RoleArn=role(f"service-{n}"), RoleSessionName="me")["Credentials"] for n in "ab"}
    s3 = {n: client("s3", ready, keys[n]) for n in "ab"}
    for name, own, other in (("a", "bucket1", "bucket2"), ("b", "bucket2", "bucket1")):
        check(f"{name} lists its own", refused(s3[name].list_objects_v2, Bucket=own) == "ok")
        check(f"{name} is denied its neighbour's", refused(s3[name].list_objects_v2, Bucket=other) == "AccessDenied")
        check(f"{name} may not write there", refused(s3[name].put_object, Bucket=other, Key="k", Body=b"x") == "AccessDenied")
    a = s3["a"]
    check("buckets", [b["Name"] for b in a.list_buckets()["Buckets"]] == ["bucket1"])
    check("location", a.get_bucket_location(Bucket="bucket1")["LocationConstraint"] == "eu-west-1")
    check("head", refused(a.head_bucket, Bucket="bucket1") == "ok")
    check("no bucket", refused(a.list_objects_v2, Bucket="none") == "NoSuchBucket")
    check("no key", refused(a.get_object, Bucket="bucket1", Key="none") == "NoSuchKey")

    names = ["plain", "with space+plus", "ünïcode/ß", "dir/one", "dir/two", "quote'(*)!~$&,;=@:"]
    for name in names:
        a.put_object(Bucket="bucket1", Key=name, Body=name.encode(), Metadata={"who": "me"})
        got = a.get_object(Bucket="bucket1", Key=name)
        check(f"{name} comes back", got["Body"].read() == name.encode() and got["Metadata"] == {"who": "me"})
    listed = [o["Key"] for o in a.list_objects_v2(Bucket="bucket1")["Contents"]]
    check("all listed", sorted(listed) == sorted(names), listed)
    folded = a.list_objects_v2(Bucket="bucket1", Delimiter="/", Prefix="d")
    check("folded", [p["Prefix"] for p in folded["CommonPrefixes"]] == ["dir/"] and "Contents" not in folded, folded)
    pages = a.get_paginator("list_objects_v2").paginate(Bucket="bucket1", PaginationConfig={"PageSize": 2})
    check("pages", sorted(o["Key"] for page in pages for o in page["Contents"]) == sorted(names))
    pages = a.get_paginator("list_objects").paginate(Bucket="bucket1", PaginationConfig={"PageSize": 2})
    check("pages, V1", sorted(o["Key"] for page in pages for o in page["Contents"]) == sorted(names))
    check("range", a.get_object(Bucket="bucket1", Key="plain", Range="bytes=1-2")["Body"].read() == b"la")

    big = os.urandom(3 << 20)
    for algorithm in ("CRC32", "SHA256"):
        a.put_object(Bucket="bucket1", Key="big", Body=io.BytesIO(big), ChecksumAlgorithm=algorithm)
        check(f"big by {algorithm}", a.get_object(Bucket="bucket1", Key="big")["Body"].read() == big)
    check("length", a.head_object(Bucket="bucket1", Key="big")["ContentLength"] == len(big))
    a.delete_object(Bucket="bucket1", Key="big")
    check("deleted", refused(a.head_object, Bucket="bucket1", Key="big") == "404")

    signer = client("s3", ready, keys["a"], signature_version="s3v4")
    url = signer.generate_presigned_url("get_object", Params={"Bucket": "bucket1", "Key": "with space+plus"}, ExpiresIn=60)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    check("presigned", opener.open(url, timeout=10).read() == b"with space+plus")
    try:
        opener.open(url.replace("plus?", "minus?"), timeout=10)
        check("a presigned address for another key", False)
    except urllib.error.HTTPError as error:
        check("a presigned address for another key", b"SignatureDoesNotMatch" in error.read())


def expiry(ready, base):
    # AWS gives no less than 900 s, and boto3 knows that; the sandbox gives less to who asks for less.
    asks = client("sts", ready, base, parameter_validation=False)
    keys = asks.assume_role(RoleArn=role("service-a"), RoleSessionName="me", DurationSeconds=3)["Credentials"]
    sts, s3 = client("sts", ready, keys), client("s3", ready, keys)
    wait_until("the session's end", lambda: refused(sts.get_caller_identity) == "ExpiredToken", 15)
    check("expired at S3", refused(s3.list_objects_v2, Bucket="bucket1") == "ExpiredToken")


def faults(ready, base):
    sts = client("sts", ready, base)

    def ask(who="service-a"):
        return refused(sts.assume_role, RoleArn=role(who), RoleSessionName="me")

    admin(ready, "reset", {})
    admin(ready, "faults", {"throttle": 1, "fail_5xx": 1})
    check("counted faults", [ask(), ask(), ask()] == ["InternalFailure", "Throttling", "ok"])
    admin(ready, "faults", {"deny": ["service-a"]})
    check("deny", (ask(), ask("service-b")) == ("AccessDenied", "ok"))
    admin(ready, "faults", {"down": "unavailable"})
    check("down", ask() == "ServiceUnavailable")
    admin(ready, "faults", {"down": "drop"})
    try:
        ask()
        check("a dropped connection", False)
    except Exception as error:  # botocore's names for this differ between versions
        check("a dropped connection", "onnection" in type(error).__name__, repr(error))
    admin(ready, "faults", {"skew_s": 300})
    left = sts.assume_role(RoleArn=role("service-a"), RoleSessionName="me")["Credentials"]["Expiration"].timestamp() - time.time()
    check("skew", 350 <= left <= 360.5, left)
    admin(ready, "faults", {"skew_s": 3600})
    check("too much skew", ask() == "SignatureDoesNotMatch")
    admin(ready, "faults", {"slow_ms": 300})
    start = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check("slow", time.monotonic() - start >= 0.3)
    calls = admin(ready, "calls")
    check("counts", calls["by_role"][role("service-b")]["AssumeRole"] == 1, calls)
    check("at once", calls["max_concurrent_assume_role"] >= 2, calls)
    admin(ready, "reset", {})
    check("reset", ask() == "ok" and admin(ready, "faults")["slow_ms"] == 0)
    for header in ("Origin", "Sec-Fetch-Site", "Referer"):
        try:
            admin(ready, "calls", headers={header: "http://evil.example"})
            check(f"{header} is refused", False)
        except urllib.error.HTTPError as error:
            check(f"{header} is refused", error.code == 403)
    try:
        admin(ready, "calls", headers={"Host": "evil.example"})
        check("a strange Host is refused", False)
    except urllib.error.HTTPError as error:
        check("a strange Host is refused", error.code == 403)


def command_line(ready, base, home):
    env = clean_env(
        home,
        AWS_ENDPOINT_URL=ready["url"],
        AWS_DEFAULT_REGION=ready["region"],
        AWS_ACCESS_KEY_ID=base["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=base["SecretAccessKey"],
        AWS_SESSION_TOKEN=base["SessionToken"],
    )
    code, out, err = run(["aws", "sts", "get-caller-identity"], env, home)
    check("aws sts get-caller-identity", code == 0 and "assumed-role/role-dev/" in out, out + err)
    code, _, err = run(["aws", "s3", "ls", "s3://bucket1/"], env, home)
    check("aws s3 ls as the base", code != 0 and "AccessDenied" in err, err)
    code, out, err = run(["aws", "sts", "assume-role", "--role-arn", role("service-a"), "--role-session-name", "me"], env, home)
    check("aws sts assume-role", code == 0, err)

    def as_service_a(*words):
        # On a busy machine the CLI takes seconds to start: each command gets a fresh lease.
        keys = client("sts", ready, base).assume_role(RoleArn=role("service-a"), RoleSessionName="me")["Credentials"]
        env.update(
            AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
            AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
            AWS_SESSION_TOKEN=keys["SessionToken"],
        )
        return run(["aws", *words], env, home)

    with open(os.path.join(home, "hello"), "w"):
        pass
    code, out, err = as_service_a("s3", "cp", "hello", "s3://bucket1/")
    check("aws s3 cp", code == 0 and "upload: ./hello to s3://bucket1/hello" in out, out + err)
    code, out, err = as_service_a("s3", "ls", "s3://bucket1/")
    check("aws s3 ls", code == 0 and " hello\n" in out and "PRE dir/" in out, out + err)
    code, out, err = as_service_a("s3", "cp", "s3://bucket1/plain", "back")
    check("aws s3 cp, back", code == 0 and open(os.path.join(home, "back")).read() == "plain", out + err)
    code, _, err = as_service_a("s3", "ls", "s3://bucket2/")
    check("aws s3 ls next door", code != 0 and "AccessDenied" in err and "service-a/me" in err, err)
    code, _, err = as_service_a("s3", "rm", "s3://bucket1/hello")
    check("aws s3 rm", code == 0, err)


def main(devsup):
    end_by_signals()
    with tempfile.TemporaryDirectory() as home:
        manifest = os.path.join(home, "services.toml")
        with open(manifest, "w") as file:
            file.write(MANIFEST)
        given = os.environ.get("DEVSUP_SANDBOX_COMMAND")
        argv = shlex.split(given) if given else [devsup, "-f", manifest, "sandbox", "--format", "json"]
        env = clean_env(home)
        os.environ.clear()
        os.environ.update(env)
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=env, cwd=home)
        try:
            with part("start"):
                ready = json.loads(first_line(process))
                base = {
                    "AccessKeyId": ready["access_key_id"],
                    "SecretAccessKey": ready["secret_access_key"],
                    "SessionToken": ready["session_token"],
                }
                for each in (identities, refusals, objects, expiry, faults):
                    with part(each.__name__):
                        each(ready, base)
                with part("command_line"):
                    command_line(ready, base, home)
            with part("end"):
                process.terminate()
                check("it ends when it is told to", process.wait(10) == 143, process.returncode)
        finally:
            end(process)
    done()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
