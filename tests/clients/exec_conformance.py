"""boto3 and the AWS CLI inside `devsup exec`, and inside a running service, of a project that is up in the sandbox.

Two projects: one with leases that outlast this program, for what a service may do; one with leases of seconds, for what
becomes of processes when leases end. Both are brought up in a shell full of AWS settings that must not matter.

usage: exec_conformance.py DEVSUP
"""

import json
import os
import stat
import subprocess
import sys
import tempfile

from harness import check, clean_env, done, end, end_by_signals, first_line, part, require, run, wait_until

ACCOUNT = "123456789012"
OWN = {"a": "bucket1", "b": "bucket2"}
# The base identity may use no bucket, who has no role is nobody.
WHO = {"a": "service-a", "b": "service-b", "dev": "role-dev", "nobody": None}
MANIFEST = """
name = "{name}"

[aws]
base_role = "arn:aws:iam::{account}:role/role-dev"
region = "eu-west-1"
role_prefix = "arn:aws:iam::{account}:role/"

[defaults]
command = ["sleep", "1000"]
stop_timeout = "5s"
env = {{ PYTHONDONTWRITEBYTECODE = "1" }}

[services.a]
role = "service-a"
{command}

[services.b]
role = "service-b"
env = {{ GREETING = "hello" }}

[services.dev]
inherit_aws = true

[services.nobody]

[sandbox]
lease = "{lease}"
buckets = {{ bucket1 = ["service-a"], bucket2 = ["service-b"] }}
"""
# What a program in this environment is, and what the buckets answer it.
PROBE = """
import boto3, json
from botocore.exceptions import ClientError, NoCredentialsError
def answer(call, **words):
    try:
        return "ok", call(**words)
    except ClientError as error:
        return error.response["Error"]["Code"], None
    except NoCredentialsError:
        return "NoCredentials", None
session = boto3.Session()
found = session.get_credentials()
answers = {"method": found and found.method, "key": found and found.access_key, "region": session.region_name}
code, who = answer(boto3.client("sts").get_caller_identity)
answers["arn"] = who["Arn"] if who else code
s3 = boto3.client("s3")
for bucket in ("bucket1", "bucket2"):
    answers[bucket] = {
        "list": answer(s3.list_objects_v2, Bucket=bucket)[0],
        "put": answer(s3.put_object, Bucket=bucket, Key="probe", Body=b"text")[0],
        "get": answer(s3.get_object, Bucket=bucket, Key="probe")[0],
    }
print(json.dumps(answers))
"""
# Says that its credentials are good; then what becomes of them. AWS_CREDENTIAL_EXPIRATION lets boto3 itself see the end, so a
# client that knows only the keys asks too: it is for AWS to refuse them.
OLD = """
import boto3, os, time
from botocore.exceptions import ClientError
names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
keys = {name.lower(): os.environ[name] for name in names}
plain, sts, s3 = boto3.client("sts"), boto3.client("sts", **keys), boto3.client("s3", **keys)
def code(call, **words):
    try:
        call(**words)
        return "ok"
    except ClientError as error:
        return error.response["Error"]["Code"]
    except RuntimeError as error:
        return "expired" if "expired" in str(error) else repr(error)
print(code(plain.get_caller_identity), code(sts.get_caller_identity), flush=True)
deadline = time.monotonic() + 60
while (answer := code(sts.get_caller_identity)) == "ok" and time.monotonic() < deadline:
    time.sleep(0.2)
print(answer, code(s3.list_objects_v2, Bucket="bucket1"), code(plain.get_caller_identity), flush=True)
"""
# A service that works all the time, and tells of each thing that went wrong.
WORKER = """
import boto3, json, os, signal, sys, time
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
from botocore.config import Config
s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
key = boto3.Session().get_credentials().access_key
done, said = 0, 0
while not stop:
    try:
        s3.put_object(Bucket="bucket1", Key="count", Body=str(done).encode())
        s3.list_objects_v2(Bucket="bucket1")
        done += 1
    except Exception as error:
        print(json.dumps({"key": key, "failure": repr(error)}), flush=True)
    if done == 1 and not said:
        said = 1
        print(json.dumps({"key": key, "works": True}), flush=True)
    time.sleep(0.1)
print(json.dumps({"key": key, "done": done}), flush=True)
"""


def spoilt_home(home):
    """A HOME whose `[default]` profile is somebody else, by everything a profile can be."""
    os.makedirs(os.path.join(home, ".aws"))
    with open(os.path.join(home, ".aws", "config"), "w") as file:
        file.write(
            "[default]\nregion = sa-east-1\noutput = text\naws_access_key_id = AKIAWRONGWRONGWRONG1\n"
            "aws_secret_access_key = wrong\ncredential_process = /bin/false\nendpoint_url = http://127.0.0.1:9\n"
        )
    with open(os.path.join(home, ".aws", "credentials"), "w") as file:
        file.write("[default]\naws_access_key_id = AKIAWRONGWRONGWRONG2\naws_secret_access_key = wrong\n")


def spoilt_shell(home, **more):
    """A shell in which somebody has worked with AWS before."""
    token = os.path.join(home, "token")
    with open(token, "w") as file:
        file.write("stale")
    env = clean_env(
        home,
        AWS_PROFILE="stale",
        AWS_DEFAULT_PROFILE="stale",
        AWS_ACCESS_KEY_ID="AKIAWRONGWRONGWRONG3",
        AWS_SECRET_ACCESS_KEY="wrong",
        AWS_SESSION_TOKEN="wrong",
        AWS_WEB_IDENTITY_TOKEN_FILE=token,
        AWS_ROLE_ARN=f"arn:aws:iam::{ACCOUNT}:role/stale",
        AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:9/credentials",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        AWS_ENDPOINT_URL_S3="http://127.0.0.1:9",
        AWS_ENDPOINT_URL_STS="http://127.0.0.1:9",
        AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true",
        AWS_DEFAULT_REGION="sa-east-1",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        HTTPS_PROXY="http://127.0.0.1:9",
        ALL_PROXY="http://127.0.0.1:9",
        **more,
    )
    # As in any shell: the files in HOME count, and the instance's metadata would be asked.
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"):
        del env[name]
    return env


class Project:
    """A manifest in a folder, and the verbs on it."""

    def __init__(self, devsup, home, name, lease, command=""):
        self.devsup, self.folder = devsup, os.path.join(home, name)
        os.mkdir(self.folder)
        runtime = os.path.join(home, f"{name}-run")
        os.mkdir(runtime, 0o700)
        self.env = spoilt_shell(home, XDG_RUNTIME_DIR=runtime, XDG_STATE_HOME=os.path.join(home, "state"))
        with open(os.path.join(self.folder, "services.toml"), "w") as file:
            file.write(MANIFEST.format(name=name, account=ACCOUNT, lease=lease, command=command))

    def do(self, *words, **more):
        return run([self.devsup, *words], self.env, self.folder, **more)

    def inside(self, service, *command, **more):
        return self.do("exec", service, "--", *command, **more)

    def up(self):
        code, out, err = self.do("up", "-d", "--sandbox", "--wait", "--wait-timeout", "60s")
        require(f"{self.folder}: up -d --sandbox --wait", code == 0, out + err)

    def down(self):
        code, out, err = self.do("down")
        check(f"{self.folder}: down", code == 0, out + err)

    def json(self, *words):
        code, out, err = self.do(*words, "--format", "json")
        require(" ".join(words), code == 0, out + err)
        return [json.loads(line) for line in out.splitlines()]


def probe(project, service):
    code, out, err = project.inside(service, sys.executable, "-c", PROBE)
    require(f"boto3 in {service}", code == 0, out + err)
    return json.loads(out)


def matrix(project):
    """Who may do what with boto3, and that `devsup whoami` says the same."""
    keys = {}
    for service, who in WHO.items():
        answers = probe(project, service)
        keys[service] = answers["key"]
        check(f"{service}'s region", answers["region"] == "eu-west-1", answers)
        if who is None:
            check(f"{service} is nobody", (answers["method"], answers["arn"]) == (None, "NoCredentials"), answers)
        else:
            named = answers["arn"].startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/{who}/")
            check(f"{service} is {who}, by variables", named and answers["method"] == "env", answers)
        for bucket in OWN.values():
            due = "NoCredentials" if who is None else "ok" if OWN.get(service) == bucket else "AccessDenied"
            check(f"{service} at {bucket}", set(answers[bucket].values()) == {due}, answers)
        code, out, err = project.inside(
            service, project.devsup, "whoami", "--format", "json", "--try", "s3://bucket1", "s3://bucket2"
        )
        check(f"whoami in {service} ends by {0 if who else 7}", code == (0 if who else 7), out + err)
        said = json.loads(out)
        check(f"whoami in {service} says who boto3 says", said["arn"] == (answers["arn"] if who else None), said)
        listed = {bucket: answers[bucket]["list"] for bucket in OWN.values()}
        check(f"whoami in {service} says what boto3 may list", said["buckets"] == listed, (said, listed))
        if who:
            check(f"whoami in {service}: where from", (said["source"], said["region"]) == ("environment", "eu-west-1"), said)
            check(f"whoami in {service}: that it is not AWS", "127.0.0.1" in (said["endpoint_override"] or ""), said)
    check("no two share credentials", len(set(keys.values())) == len(keys), keys)
    held = {service["name"]: service for service in project.json("ps")}
    check("exec has the credentials that ps shows", held["a"]["credentials"]["access_key_id"] == keys["a"], held["a"])


def command_line(project):
    """The AWS CLI, as a person types it."""
    code, out, err = project.inside("a", "aws", "sts", "get-caller-identity", "--query", "Arn", "--output", "text")
    check("aws sts get-caller-identity", code == 0 and ":assumed-role/service-a/" in out, out + err)
    with open(os.path.join(project.folder, "hello"), "w") as file:
        file.write("hi")
    code, out, err = project.inside("a", "aws", "s3", "cp", "hello", "s3://bucket1/")
    check("aws s3 cp", code == 0 and "upload: ./hello to s3://bucket1/hello" in out, out + err)
    code, out, err = project.inside("a", "aws", "s3", "ls", "s3://bucket1/")
    check("aws s3 ls", code == 0 and " hello\n" in out, out + err)
    code, out, err = project.inside("a", "aws", "s3", "cp", "s3://bucket1/hello", "-")
    check("aws s3 cp to stdout", (code, out) == (0, "hi"), out + err)
    code, out, err = project.inside("b", "aws", "s3", "ls", "s3://bucket1/")
    check("aws s3 ls next door", code != 0 and "AccessDenied" in err and "service-b" in err, (code, err))
    code, out, err = project.inside("dev", "aws", "s3", "ls", "s3://bucket1/")
    check("aws s3 ls as the base", code != 0 and "AccessDenied" in err and "role-dev" in err, (code, err))
    code, out, err = project.inside("nobody", "aws", "s3", "ls", "s3://bucket1/")
    check("aws s3 ls as nobody", code != 0 and "nable to locate credentials" in err, (code, err))


def becoming(project):
    """`exec` is the command: its code, its streams, its folder; and devsup's own failures before it."""
    code, out, err = project.inside("b", "sh", "-c", 'echo "$GREETING from $PWD"; echo aside >&2; exit 42')
    check("its code, stdout and stderr", (code, out, err) == (42, f"hello from {project.folder}\n", "aside\n"), (code, out, err))
    code, _, _ = project.inside("b", "sh", "-c", "kill -TERM $$")
    check("its signal", code == -15, code)
    process = subprocess.run(
        [project.devsup, "exec", "b", "--", "cat"], env=project.env, cwd=project.folder, input=b"\0typed", capture_output=True, timeout=60
    )
    check("its stdin", process.stdout == b"\0typed", process)
    code, _, err = project.inside("b", "no-such-program")
    check("127: no such program", code == 127 and "no-such-program" in err, (code, err))
    plain = os.path.join(project.folder, "plain")
    with open(plain, "w"):
        os.chmod(plain, stat.S_IRUSR)
    code, _, err = project.inside("b", plain)
    check("126: not a program", code == 126 and "plain" in err, (code, err))
    code, _, err = project.inside("c", "true")
    check("125: no such service", code == 125 and "c" in err, (code, err))
    code, out, err = project.inside("a", "env", "-0")
    found = dict(line.split("=", 1) for line in out.split("\0") if line)
    stale = {k: v for k, v in found.items() if v and v == project.env.get(k) and k.startswith("AWS_")}
    check("nothing of the spoilt shell's AWS", code == 0 and not stale, stale)
    check("no mark of a run", "DEVSUP_RUN" not in found and {"DEVSUP", "DEVSUP_SERVICE"} <= found.keys(), sorted(found))


def old_process(project):
    """A process from before outlives its service's rotation, but not its credentials."""
    argv = [project.devsup, "exec", "b", "--", sys.executable, "-c", OLD]
    old = subprocess.Popen(argv, env=project.env, cwd=project.folder, stdout=subprocess.PIPE, bufsize=0, stdin=subprocess.DEVNULL)
    try:
        check("its credentials are good at first", first_line(old, 60) == "ok ok\n")
        after = first_line(old, 90)
        check("after the lease's life they are ExpiredToken", after == "ExpiredToken ExpiredToken expired\n", after)
        check("by itself it ended well", old.wait(30) == 0, old.returncode)
    finally:
        end(old)


def worker(project):
    """Three rotations of a service that works all the time."""

    def rotations():
        (shown,) = project.json("ps", "a")
        return shown if shown["rotations"] >= 3 else None

    shown = wait_until("three rotations", rotations, 100, pause=1)
    check("none of them was a crash", shown["crashes"] == 0, shown)
    lines = [line for line in project.json("logs", "a", "-n", "all") if "line" in line]
    said = [(line["run"], json.loads(line["line"])) for line in lines]
    check("no call failed", not [line for line in said if "failure" in line[1]], said)
    worked = {run: what["key"] for run, what in said if what.get("works")}
    check("four runs worked", len(worked) >= 4, said)
    check("each with credentials of its own", len(set(worked.values())) == len(worked), worked)
    ended = {run: what["done"] for run, what in said if "done" in what}
    check("those replaced were told, and had worked", len(ended) >= 3 and min(ended.values()) > 0, said)
    replaced = [event for event in project.json("events") if event.get("service") == "a" and "credentials" in json.dumps(event)]
    check("the events say why", len(replaced) >= 3, replaced)


def main(devsup):
    end_by_signals()
    with tempfile.TemporaryDirectory() as home:
        spoilt_home(home)
        with open(os.path.join(home, "worker.py"), "w") as file:
            file.write(WORKER)
        command = f"command = {json.dumps([sys.executable, os.path.join(home, 'worker.py')])}"
        lasting, short = Project(devsup, home, "lasting", "1h"), Project(devsup, home, "short", "20s", command)
        projects = []
        try:
            for project in (short, lasting):
                projects.append(project)
                with part(f"up of {os.path.basename(project.folder)}"):
                    project.up()
            for each, project in (
                (matrix, lasting), (command_line, lasting), (becoming, lasting), (old_process, short), (worker, short)
            ):
                with part(each.__name__):
                    each(project)
        finally:
            for project in projects:
                with part(f"down of {os.path.basename(project.folder)}"):
                    project.down()
    done()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
