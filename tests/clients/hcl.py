"""Terraform, if it is here, with the AWS provider, if that is here too: nothing of it is fetched from the network."""

import glob
import os
import shutil

from harness import clean_env, run

PROVIDER = "registry.terraform.io/hashicorp/aws"
EMULATED = ["-var", "account_id=000000000000", "-var", "region=us-east-1", "-var", "make_instance=false"]


def mirror():
    """A folder that `terraform init -plugin-dir` takes: named by DEVSUP_TERRAFORM_PLUGINS, or where such folders usually are."""
    home = os.path.expanduser("~")
    usual = [
        os.environ.get("DEVSUP_TERRAFORM_PLUGINS"),
        os.environ.get("TF_PLUGIN_CACHE_DIR"),
        os.path.join(home, ".terraform.d/plugins"),
        os.path.join(home, ".terraform.d/plugin-cache"),
        os.path.join(home, ".local/share/terraform/plugins"),
        "/usr/local/share/terraform/plugins",
        "/usr/share/terraform/plugins",
        *sorted(glob.glob("/opt/*")),
    ]
    made = ("5.*/linux_*", "terraform-provider-aws_5.*_linux_*.zip")
    holds = (folder for folder in usual if folder and any(glob.glob(os.path.join(folder, PROVIDER, form)) for form in made))
    return next(holds, None)


class Terraform:
    """The program, in folders of our own."""

    def __init__(self, home, plugins):
        self.program = shutil.which("terraform")
        self.plugins = plugins
        world = {name: value for name, value in clean_env(home).items() if not name.startswith("TF_")}
        self.env = {**world, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull}

    def do(self, folder, *words, timeout=240, **more):
        """(exit code, everything that was said)"""
        code, out, err = run([self.program, *words], self.env, folder, timeout, **more)
        return code, out + err

    def init(self, folder):
        return self.do(folder, "init", "-input=false", "-no-color", f"-plugin-dir={self.plugins}")

    def apply(self, folder, *words):
        return self.do(folder, "apply", "-refresh=false", "-input=false", "-no-color", "-auto-approve", *words)

    def destroy(self, folder, *words):
        return self.do(folder, "destroy", "-refresh=false", "-input=false", "-no-color", "-auto-approve", *words)

    def output(self, folder, name):
        return self.do(folder, "output", "-no-color", "-raw", name)[1]

    def formatted(self, folder):
        return self.do(folder, "fmt", "-check", "-diff", "-no-color", "-recursive")
