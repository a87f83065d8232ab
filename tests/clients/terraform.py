"""What `devsup iam` prints is what was missing, and the configurations of examples/terraform tell the story that they claim.

At MiniStack, with roles made by boto3, and by Terraform where that and its AWS provider are here: each of the three ways in
which a role may trust, then the problem and both solutions, applied for real. What cannot be done here is said: SKIPPED.

usage: terraform.py DEVSUP
"""

import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from emulator import REGION, SERVICES, Emulator, allow, role, trust
from harness import check, clean_env, done, end_by_signals, part, refused, require, run, wait_until
from hcl import EMULATED, Terraform, mirror
from imds_front import Front
from ministack_story import MANIFEST, PROBE

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "../../examples/terraform")
STYLES = ("condition", "arn", "root")
SOLUTIONS = ("solution-by-role", "solution-by-account")
ROOT = {"AccessKeyId": "test", "SecretAccessKey": "test"}
# Production's instances, and nobody else.
EC2 = {"Service": "ec2.amazonaws.com"}


class Project:
    """A folder with a manifest, on an instance whose metadata service hands out sessions of one role."""

    def __init__(self, devsup, home, name, manifest, emulator, front):
        self.devsup = devsup
        self.folder = os.path.join(home, name)
        runtime = os.path.join(self.folder, "run")
        os.makedirs(runtime, 0o700)
        with open(os.path.join(self.folder, "services.toml"), "w") as file:
            file.write(manifest)
        state = os.path.join(self.folder, "state")
        self.env = clean_env(self.folder, AWS_ENDPOINT_URL=emulator.url, XDG_RUNTIME_DIR=runtime, XDG_STATE_HOME=state)
        if front:
            del self.env["AWS_EC2_METADATA_DISABLED"]
            self.env["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = front.url

    def do(self, *words, timeout=60):
        return run([self.devsup, *words], self.env, self.folder, timeout)

    def iam(self, *words):
        """What it prints."""
        code, out, err = self.do("iam", *words)
        require(f"devsup iam {' '.join(words)}", code == 0, err)
        return out


def session_of(emulator, name):
    """As EC2's own service gets one for its instances: MiniStack lets the account's root act as the services do."""
    sts = emulator.client("sts", ROOT)
    return lambda: sts.assume_role(RoleArn=role(name), RoleSessionName="i-0123456789abcdef0")["Credentials"]


def diagonal(project, what):
    """Up, each service at every bucket, down."""
    try:
        code, out, err = project.do("up", "-d", "--wait", "--wait-timeout", "60s", timeout=90)
        require(f"{what}: devsup up -d --wait", code == 0, out + err)
        for name, own in {**SERVICES, "dev": None}.items():
            code, out, err = project.do("exec", name, "--", sys.executable, "-B", "-c", PROBE)
            require(f"{what}: the probe as {name}", code == 0, out + err)
            answers = json.loads(out)
            due = {bucket: "ok" if bucket == own else "AccessDenied" for bucket in SERVICES.values()}
            check(f"{what}: {name} at the buckets", {bucket: answers[bucket] for bucket in due} == due, answers)
    finally:
        code, out, err = project.do("down")
    check(f"{what}: devsup down", code == 0, out + err)


def strangers(emulator, style, what):
    """Another role of the account whose own policy allows it everything: only a trust in the whole account lets it in."""
    sts = emulator.client("sts", session_of(emulator, "stranger")())
    due = "ok" if style == "root" else "AccessDenied"
    got = refused(sts.assume_role, RoleArn=role("service-a"), RoleSessionName="stranger")
    check(f"{what}: a stranger of the account", got == due, got)


def base(emulator):
    """Who is there before devsup is: role-dev, which may do nothing, a stranger, and the buckets."""
    s3, iam = emulator.client("s3", ROOT), emulator.client("iam", ROOT)
    for bucket in SERVICES.values():
        s3.create_bucket(Bucket=bucket)
    for name in ("role-dev", "stranger"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(EC2))
    iam.put_role_policy(RoleName="stranger", PolicyName="all", PolicyDocument=allow("*", "*"))
    return iam


def by_boto3(emulator, iam, project):
    """Roles as production has them; then, for each style, exactly what `devsup iam` printed, and no more."""
    for name, bucket in SERVICES.items():
        iam.create_role(RoleName=f"service-{name}", AssumeRolePolicyDocument=trust(EC2))
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        iam.put_role_policy(RoleName=f"service-{name}", PolicyName="bucket", PolicyDocument=allow("s3:*", resources))
    try:
        code, out, err = project.do("up", "-d")
        check("before anything: refused, with the statement", code == 7 and "\"Sid\":\"DevsupAssume\"" in out + err, f"{code} {out}{err}")
    finally:
        project.do("down")
    policy = project.iam("policy")
    iam.put_role_policy(RoleName="role-dev", PolicyName="devsup", PolicyDocument=policy)
    for style in STYLES:
        what = f"by boto3, --trust {style}"
        lines = [json.loads(line) for line in project.iam("trust", "--trust", style, "--format", "json").splitlines()]
        check(f"{what}: a line a role", [line["role"] for line in lines] == [role(f"service-{name}") for name in SERVICES])
        for line in lines:
            document = json.loads(trust(EC2))
            document["Statement"] += line["statements"]
            name = line["role"].rsplit("/", 1)[1]
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(document))
        diagonal(project, what)
        strangers(emulator, style, what)
    iam.delete_role_policy(RoleName="role-dev", PolicyName="devsup")
    for name in SERVICES:
        iam.delete_role_policy(RoleName=f"service-{name}", PolicyName="bucket")
        iam.delete_role(RoleName=f"service-{name}")


def is_formatted(terraform, project):
    """The examples, what the tests apply, and what `devsup iam terraform` prints, with and without a `base_role`."""
    for name in (EXAMPLES, os.path.join(HERE, "terraform")):
        code, said = terraform.formatted(name)
        check(f"terraform fmt -check {os.path.basename(name)}", code == 0, said)
    folder = os.path.join(project.folder, "printed")
    os.mkdir(folder)
    anybody = os.path.join(folder, "anybody.toml")
    with open(anybody, "w") as file:
        file.write("\n".join(line for line in MANIFEST.splitlines() if not line.startswith("base_role")))
    for style in STYLES:
        for name, manifest in (("known", ()), ("anybody", ("-f", anybody))):
            code, out, err = project.do(*manifest, "iam", "terraform", "--trust", style)
            require(f"devsup iam terraform --trust {style}, {name}", code == 0 and "aws_iam_role\"" not in out, err)
            with open(os.path.join(folder, f"{name}-{style}.tf"), "w") as file:
                file.write(out)
    code, said = terraform.formatted(folder)
    check("devsup iam terraform is written as terraform fmt would", code == 0, said)
    return folder


def is_valid(terraform, printed):
    """Alone in a folder, without a word about the provider, with no `base_role`."""
    folder = os.path.join(printed, "alone")
    os.mkdir(folder)
    shutil.copy(os.path.join(printed, "anybody-condition.tf"), os.path.join(folder, "devsup.tf"))
    for words in (("init",), ("validate", "-no-color")):
        code, said = terraform.init(folder) if words == ("init",) else terraform.do(folder, *words)
        require(f"devsup iam terraform without a base_role: {words[0]}", code == 0, said)


def by_terraform(terraform, emulator, iam, project, printed):
    """Production's roles are Terraform's, and merge what `devsup iam terraform` printed, one style after the other."""
    folder = os.path.join(project.folder, "production")
    shutil.copytree(os.path.join(HERE, "terraform"), folder)
    for name in ("provider.tf", "variables.tf"):
        shutil.copy(os.path.join(EXAMPLES, "problem", name), folder)
    values = [*EMULATED, "-var", f"emulator_endpoint={emulator.url}", "-var", "bucket_name=none"]
    try:
        for style in STYLES:
            what = f"by Terraform, --trust {style}"
            shutil.copy(os.path.join(printed, f"known-{style}.tf"), os.path.join(folder, "devsup.tf"))
            code, said = terraform.init(folder) if style == STYLES[0] else (0, "")
            require(f"{what}: init", code == 0, said)
            code, said = terraform.apply(folder, *values)
            require(f"{what}: apply", code == 0, said)
            diagonal(project, what)
            strangers(emulator, style, what)
    finally:
        code, said = terraform.destroy(folder, *values)
    check("production is destroyed", code == 0 and refused(iam.get_role, RoleName="service-a") == "NoSuchEntity", said)


class Example:
    """One configuration of examples/terraform, in a copy of its own."""

    def __init__(self, terraform, emulator, home, name):
        self.terraform, self.name = terraform, name
        self.prefix = f"example-{name}"
        self.bucket = f"{self.prefix}-bucket"
        self.folder = os.path.join(home, name)
        shutil.copytree(os.path.join(EXAMPLES, name), self.folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        named = ["-var", f"prefix={self.prefix}", "-var", f"bucket_name={self.bucket}"]
        self.values = [*EMULATED, "-var", f"emulator_endpoint={emulator.url}", *named]

    def make(self):
        """(what, exit code, what was said) of each step, up to the first that fails."""
        steps = (
            ("init", lambda: self.terraform.init(self.folder)),
            ("validate", lambda: self.terraform.do(self.folder, "validate", "-no-color")),
            ("apply", lambda: self.terraform.apply(self.folder, *self.values)),
        )
        took = []
        for what, step in steps:
            took.append((what, *step()))
            if took[-1][1] != 0:
                break
        return took

    def destroy(self):
        return [("destroy", *self.terraform.destroy(self.folder, *self.values))]

    def output(self, name):
        return self.terraform.output(self.folder, name)


def examples(terraform, emulator, devsup, home):
    made = [Example(terraform, emulator, home, name) for name in ("problem", *SOLUTIONS)]
    # They wait for each other's provider to load: two at once is as much as a small machine bears.
    with ThreadPoolExecutor(2) as pool:
        try:
            for example, took in zip(made, pool.map(Example.make, made)):
                for what, code, said in took:
                    require(f"{example.name}: {what}", code == 0, said)
            for example in made:
                with part(f"the story of {example.name}"):
                    story(example, emulator, devsup, os.path.join(home, f"{example.name}-devsup"))
        finally:
            for example, took in zip(made, pool.map(Example.destroy, made)):
                for what, code, said in took:
                    check(f"{example.name}: {what}", code == 0, said)


def story(example, emulator, devsup, home):
    """On the instance: as its README says it."""
    who, bucket = f"{example.prefix}-role1", f"s3://{example.bucket}"
    outputs = {name: example.output(name) for name in ("role1_arn", "role2_arn", "bucket", "services_toml")}
    check(f"{example.name}: its outputs", outputs["role1_arn"] == role(who) and outputs["bucket"] == example.bucket, outputs)
    os.mkdir(home)
    keys = session_of(emulator, who)
    code, out, err = aws(emulator, home, keys(), "s3", "ls", bucket)
    check(f"{example.name}: aws s3 ls is denied", code != 0 and "AccessDenied" in err and "ListObjects" in err, out + err)
    words = ("sts", "assume-role", "--role-arn", outputs["role2_arn"], "--role-session-name", "s3-example")
    code, out, err = aws(emulator, home, keys(), *words)
    if example.name in SOLUTIONS:
        require(f"{example.name}: aws sts assume-role", code == 0, err)
        by_hand(emulator, home, json.loads(out)["Credentials"], bucket, example.name)
    else:
        check(f"{example.name}: aws sts assume-role is denied", code != 0 and "AccessDenied" in err, out + err)
    front = Front(emulator.port, who, keys)
    try:
        by_devsup(Project(devsup, home, "shop", outputs["services_toml"], emulator, front), example, outputs, bucket)
    finally:
        front.close()


def aws(emulator, home, keys, *words):
    """The AWS CLI with these three variables, as a person exports them."""
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    variables = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    exported = {variable: keys[name] for variable, name in zip(variables, names)}
    env = clean_env(home, AWS_ENDPOINT_URL=emulator.url, AWS_DEFAULT_REGION=REGION, **exported)
    return run(["aws", "--output", "json", *words], env, home)


def by_hand(emulator, home, keys, bucket, name):
    check(f"{name}: what it answers", set(keys) == {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"})
    open(os.path.join(home, "hello"), "w").close()
    code, out, err = aws(emulator, home, keys, "s3", "ls", bucket)
    check(f"{name}: aws s3 ls by hand", code == 0, out + err)
    code, out, err = aws(emulator, home, keys, "s3", "cp", "hello", f"{bucket}/")
    check(f"{name}: aws s3 cp by hand", code == 0, out + err)
    code, out, err = aws(emulator, home, keys, "s3", "ls", bucket)
    check(f"{name}: aws s3 ls by hand, again", code == 0 and out.rstrip().endswith(" hello"), out + err)


def by_devsup(project, example, outputs, bucket):
    """With the manifest that Terraform printed."""
    try:
        code, out, err = project.do("up", "-d", timeout=90)
        if example.name not in SOLUTIONS:
            said = out + err
            mend = f"add to the policy of `{outputs['role1_arn']}`" in said
            check(f"{example.name}: devsup up says what is missing", code == 7 and mend, f"{code} {said}")
            return
        require(f"{example.name}: devsup up -d", code == 0, out + err)
        listed = lambda: "listed the bucket" in project.do("logs", "s3-example")[1]
        wait_until(f"{example.name}: the service lists its bucket", listed, 60, 0.5)
        code, out, err = project.do("exec", "s3-example", "--", "aws", "s3", "ls", f"{bucket}/")
        check(f"{example.name}: aws s3 ls as the service", code == 0 and out.rstrip().endswith(" hello"), out + err)
    finally:
        code, out, err = project.do("down")
        check(f"{example.name}: devsup down", code == 0, out + err)


def skipped(why):
    print(f"SKIPPED terraform: {why}", flush=True)


def with_terraform(plugins, emulator, iam, project, devsup, home):
    terraform = Terraform(home, plugins)
    if not terraform.program:
        skipped("it is not on the PATH; fmt, validate and apply of examples/terraform were not tried")
        return
    with part("terraform fmt"):
        printed = is_formatted(terraform, project)
    if not plugins:
        skipped("its AWS provider is not here (DEVSUP_TERRAFORM_PLUGINS); validate and apply were not tried")
        return
    with part("devsup iam terraform"):
        is_valid(terraform, printed)
        by_terraform(terraform, emulator, iam, project, printed)
    with part("examples/terraform"):
        examples(terraform, emulator, devsup, home)


def main(devsup):
    end_by_signals()
    plugins = mirror()
    with tempfile.TemporaryDirectory() as home:
        env = clean_env(home)
        os.environ.clear()
        os.environ.update(env)
        with part("MiniStack"):
            emulator = Emulator(home)
            front = Front(emulator.port, "role-dev", session_of(emulator, "role-dev"))
            try:
                iam = base(emulator)
                project = Project(devsup, home, "three", MANIFEST, emulator, front)
                with part("devsup iam, by boto3"):
                    by_boto3(emulator, iam, project)
                with_terraform(plugins, emulator, iam, project, devsup, home)
            finally:
                front.close()
                emulator.close()
    done()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
