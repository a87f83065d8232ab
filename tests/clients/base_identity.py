"""The ways in which a person is somebody in AWS, and `[aws] base_role`, at MiniStack and at `devsup sandbox`.

usage: base_identity.py DEVSUP
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from emulator import ACCOUNT, REGION, Emulator, allow, build, role, trust
from harness import check, clean_env, done, end, end_by_signals, first_line, part, require, run

MANIFEST = """
name = "{name}"

[aws]
{aws}

[defaults]
command = ["sleep", "1000"]

[services.a]
role = "{role}"
"""
ARN = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"


class Shell:
    """A person's HOME with `~/.aws/config`, and a manifest."""

    def __init__(self, devsup, home, name, config, aws="", who=None, **more):
        self.devsup, self.name, self.home = devsup, name, os.path.join(home, name)
        self.folder = os.path.join(self.home, "project")
        os.makedirs(os.path.join(self.home, ".aws"))
        os.mkdir(self.folder)
        with open(os.path.join(self.home, ".aws", "config"), "w") as file:
            file.write(config)
        with open(os.path.join(self.folder, "services.toml"), "w") as file:
            file.write(MANIFEST.format(name=name, aws=aws, role=who or role("service-a")))
        self.env = clean_env(self.home, XDG_STATE_HOME=os.path.join(home, "state"), **more)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            del self.env[name]

    def do(self, *words, **more):
        return run([self.devsup, *words], self.env, self.folder, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        code, out, err = self.do("down")
        # Where `up` refuses, nothing is up.
        check(f"{self.name}: down", code in (0, 5), out + err)

    def works(self, *globals_):
        """It is up as this base, and the service is its role."""
        code, out, err = self.do(*globals_, "up", "-d", "--wait", "--wait-timeout", "60s")
        require(f"{self.name}: up -d --wait", code == 0, out + err)
        code, out, err = self.do("exec", "a", "--", sys.executable, "-c", ARN)
        check(f"{self.name}: a is its role", code == 0 and ":assumed-role/service-a/" in out, out + err)
        return err


def keys_of(credentials):
    lines = [
        f"aws_access_key_id = {credentials['AccessKeyId']}",
        f"aws_secret_access_key = {credentials['SecretAccessKey']}",
    ]
    if credentials.get("SessionToken"):
        lines.append(f"aws_session_token = {credentials['SessionToken']}")
    return "\n".join(lines)


def ann(emulator):
    """Somebody with keys of her own, whom service-a trusts too."""
    iam = emulator.client("iam", {"AccessKeyId": "test", "SecretAccessKey": "test"})
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="assume", PolicyDocument=allow("sts:AssumeRole", role("service-a")))
    both = [role("role-dev"), f"arn:aws:iam::{ACCOUNT}:user/ann"]
    iam.update_assume_role_policy(RoleName="service-a", PolicyDocument=trust({"AWS": both}))
    return iam.create_access_key(UserName="ann")["AccessKey"]


def static_keys(emulator, devsup, home, keys):
    config = f"[default]\naws_access_key_id = AKIASTRANGER\naws_secret_access_key = x\n[profile dev]\nregion = {REGION}\n{keys_of(keys)}\n"
    endpoint = {"AWS_ENDPOINT_URL": emulator.url}
    with Shell(devsup, home, "by-manifest", config, aws='profile = "dev"', **endpoint) as shell:
        shell.works()
        code, out, err = shell.do("creds", "a", "--format", "json")
        check("creds asks who it is", code == 0 and ":assumed-role/service-a/" in (json.loads(out)["identity"] or ""), out + err)
    stray = {"AWS_ACCESS_KEY_ID": "AKIASTRANGER", "AWS_SECRET_ACCESS_KEY": "x"}
    with Shell(devsup, home, "by-flag", config, **endpoint, **stray) as shell:
        shell.works("--profile", "dev")
        code, out, err = shell.do("--profile", "dev", "whoami", "--format", "json")
        said = json.loads(out)
        check("whoami --profile dev is ann", code == 0 and said["arn"].endswith(":user/ann"), out + err)
        check("and says which profile", said["source"] == "profile dev", said)
    with Shell(devsup, home, "by-variable", config, AWS_PROFILE="dev", **endpoint) as shell:
        shell.works()
    # As a user of LocalStack has it: the address in the profile, or in the manifest, and not in the shell.
    with Shell(devsup, home, "by-endpoint-url", f"{config}endpoint_url = {emulator.url}\n", aws='profile = "dev"') as shell:
        code, out, err = shell.do("up", "-d", "--wait", "--wait-timeout", "60s")
        check("a profile's endpoint_url is obeyed", code == 0, out + err)
        code, out, err = shell.do("ps")
        check("and named by ps", emulator.url in out + err, out + err)
    with Shell(devsup, home, "by-sts-endpoint", config, aws=f'profile = "dev"\nsts_endpoint = "{emulator.url}"') as shell:
        code, out, err = shell.do("up", "-d", "--wait", "--wait-timeout", "60s")
        check("sts_endpoint is obeyed, and named", code == 0 and f"sts_endpoint = {emulator.url}" in err, out + err)


def source_profile(emulator, devsup, home, instance):
    config = f"[profile base]\n{keys_of(instance)}\n[profile dev]\nrole_arn = {role('role-dev')}\nsource_profile = base\nregion = {REGION}\n"
    aws = f'profile = "dev"\nbase_role = "{role("role-dev")}"'
    with Shell(devsup, home, "source-profile", config, aws=aws, AWS_ENDPOINT_URL=emulator.url) as shell:
        shell.works()


def credential_process(emulator, devsup, home, session):
    keys = session()
    document = {
        "Version": 1,
        **{name: keys[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")},
        "Expiration": keys["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    program = os.path.join(home, "give-credentials")
    with open(program, "w") as file:
        os.chmod(program, 0o700)
        file.write(f"#!/bin/sh\ncat <<'END'\n{json.dumps(document)}\nEND\n")
    config = f"[profile dev]\nregion = {REGION}\ncredential_process = {program} --for dev\n"
    aws = f'profile = "dev"\nbase_role = "{role("role-dev")}"'
    with Shell(devsup, home, "credential-process", config, aws=aws, AWS_ENDPOINT_URL=emulator.url) as shell:
        shell.works()


def wrong_base_role(devsup, home):
    """Refused before anybody is asked for a role; at the sandbox, which counts."""
    account, where = "123456789012", os.path.join(home, "sandbox")
    os.mkdir(where)
    manifest = os.path.join(where, "services.toml")
    dev, wrong, target = (f"arn:aws:iam::{account}:role/{name}" for name in ("role-dev", "role-prod", "service-a"))
    with open(manifest, "w") as file:
        file.write(MANIFEST.format(name="alone", aws=f'base_role = "{dev}"\nregion = "{REGION}"', role=target))
    argv = [devsup, "-f", manifest, "sandbox", "--format", "json"]
    env = clean_env(home, XDG_STATE_HOME=os.path.join(home, "state"))
    sandbox = subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0, stdin=subprocess.DEVNULL, env=env, cwd=where)
    try:
        ready = json.loads(first_line(sandbox))
        base = {"AccessKeyId": ready["access_key_id"], "SecretAccessKey": ready["secret_access_key"], "SessionToken": ready["session_token"]}
        config = f"[profile dev]\nregion = {REGION}\n{keys_of(base)}\n"

        def assumed():
            import urllib.request

            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{ready['url']}/_sandbox/calls", timeout=10) as answer:
                return json.load(answer)["by_role"].get(target, {}).get("AssumeRole", 0)

        right = {"aws": f'profile = "dev"\nbase_role = "{dev}"', "who": target, "AWS_ENDPOINT_URL": ready["url"]}
        with Shell(devsup, home, "right-base-role", config, **right) as shell:
            shell.works()
        before = assumed()
        require("the sandbox counts", before >= 1, before)
        with Shell(devsup, home, "wrong-base-role", config, **{**right, "aws": f'profile = "dev"\nbase_role = "{wrong}"'}) as shell:
            began = time.monotonic()
            code, out, err = shell.do("up", "-d")
            check("a wrong base_role: exit 7", code == 7, (code, out, err))
            check("at once", time.monotonic() - began < 20)
            check("the sentence names both", "assumed-role/role-dev/" in err and wrong in err, err)
            check("with the way out", "hint:" in err and "[aws] base_role" in err, err)
            check("no role was asked for", assumed() == before, (before, assumed()))
            code, out, err = shell.do("exec", "a", "--", "true")
            check("exec is refused too: 125", code == 125 and wrong in err, (code, out, err))
    finally:
        end(sandbox)


def main(devsup):
    end_by_signals()
    with tempfile.TemporaryDirectory() as home:
        with part("wrong_base_role"):
            wrong_base_role(devsup, home)
        with part("MiniStack"):
            os.environ.update(clean_env(home))
            emulator = Emulator(home)
            try:
                session = build(emulator)
                keys = ann(emulator)
                iam = emulator.client("iam", {"AccessKeyId": "test", "SecretAccessKey": "test"})
                instance = iam.create_access_key(UserName="instance")["AccessKey"]
                for each, words in ((static_keys, keys), (source_profile, instance), (credential_process, session)):
                    with part(each.__name__):
                        each(emulator, devsup, home, words)
            finally:
                emulator.close()
    done()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
