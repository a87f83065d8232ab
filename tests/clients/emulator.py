"""MiniStack, an AWS emulator that others wrote, made strict; and the three-buckets world in it, as Terraform would make it."""

import json
import os
import socket
import subprocess
import sys

import boto3
from botocore.config import Config

from harness import clean_env, end, require, wait_until

ACCOUNT = "000000000000"
REGION = "us-east-1"
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ministack_as_aws.py")
SERVICES = {"a": "bucket1", "b": "bucket2", "c": "bucket3"}


def role(name):
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Emulator:
    """MiniStack on loopback, strict about who may do what."""

    def __init__(self, home):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        env = clean_env(home, AUTH="true", BIND_HOST="127.0.0.1", GATEWAY_PORT=str(self.port), MINISTACK_IMDS_V2_REQUIRED="1")
        self.log = open(os.path.join(home, "ministack.log"), "wb")
        # Isolated: the modules beside it are ours and not MiniStack's.
        program = [sys.executable, "-I", "-B", PROGRAM]
        self.process = subprocess.Popen(program, env=env, cwd=home, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        wait_until("MiniStack to listen", self.listens, 60)

    def listens(self):
        require("MiniStack runs", self.process.poll() is None)
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self, name, keys):
        return boto3.client(
            name,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 2}),
        )

    def close(self):
        end(self.process)
        self.log.close()


def allow(actions, resources):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resources}]})


def trust(principal):
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def build(emulator):
    """What Terraform would make; answers the way to a session of role-dev, as the instance gets one."""
    root = {"AccessKeyId": "test", "SecretAccessKey": "test"}
    s3, iam = emulator.client("s3", root), emulator.client("iam", root)
    # The instance itself: somebody whom role-dev trusts, as EC2's service is trusted in AWS.
    iam.create_user(UserName="instance")
    iam.put_user_policy(UserName="instance", PolicyName="be", PolicyDocument=allow("sts:AssumeRole", role("role-dev")))
    keys = iam.create_access_key(UserName="instance")["AccessKey"]
    iam.create_role(RoleName="role-dev", AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/instance"}))
    targets = [role(f"service-{name}") for name in SERVICES]
    iam.put_role_policy(RoleName="role-dev", PolicyName="assume", PolicyDocument=allow("sts:AssumeRole", targets))
    for name, bucket in SERVICES.items():
        s3.create_bucket(Bucket=bucket)
        iam.create_role(RoleName=f"service-{name}", AssumeRolePolicyDocument=trust({"AWS": role("role-dev")}))
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        iam.put_role_policy(RoleName=f"service-{name}", PolicyName="bucket", PolicyDocument=allow("s3:*", resources))
    sts = emulator.client("sts", keys)
    return lambda: sts.assume_role(RoleArn=role("role-dev"), RoleSessionName="i-0123456789abcdef0")["Credentials"]
