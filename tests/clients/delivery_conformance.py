"""Every client with every delivery: boto3, the AWS CLI, the JS SDK and the Rust SDK, each as a service of its own, by
endpoint, credential_process and variables, through the life of several leases, an outage of STS, and what a stranger
makes of stolen variables. Brought up in a shell and a HOME full of AWS settings and proxies that must not matter.

Ends with a table of client × case.

usage: delivery_conformance.py DEVSUP
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from exec_conformance import spoilt_home, spoilt_shell
from harness import check, done, end, end_by_signals, first_line, part, require, run

HERE = os.path.dirname(os.path.abspath(__file__))
ACCOUNT = "123456789012"
# Long enough for a client that asks again ten seconds before the end, short enough to see several.
LEASE = 32
DELIVERIES = ("endpoint", "process", "env")
CASES = ("first use", "refresh", "outage", "expired", "repaired", "stolen")


def clients(devsup):
    """Name and argv of each that is here."""
    found = {
        "boto3": [sys.executable, "-B", os.path.join(HERE, "delivery", "boto.py")],
        "aws-cli": [sys.executable, "-B", os.path.join(HERE, "delivery", "cli.py")],
    }
    rust = os.path.join(os.path.dirname(devsup), "examples", "sdk_client")
    if check("the Rust SDK's client is built (cargo build --examples)", os.access(rust, os.X_OK), rust):
        found["rust"] = [rust]
    node, modules = shutil.which("node"), os.path.join(HERE, "node_modules", "@aws-sdk", "client-s3")
    if node and os.path.isdir(modules):
        found["js-v3"] = [node, os.path.join(HERE, "delivery", "js.mjs")]
    else:
        print("SKIPPED js-v3: node or its modules are not here", flush=True)
    return found


def manifest(found):
    text = [
        f"""name = "deliveries"
[aws]
base_role = "arn:aws:iam::{ACCOUNT}:role/role-dev"
region = "eu-west-1"
role_prefix = "arn:aws:iam::{ACCOUNT}:role/"
[defaults]
stop_timeout = "2s"
[sandbox]
lease = "{LEASE}s"
"""
    ]
    names = [f"{client}-{delivery}" for client in found for delivery in DELIVERIES]
    for name in names:
        client, delivery = name.rsplit("-", 1)
        text.append(
            f"""[services.{name}]
command = {json.dumps(found[client])}
[services.{name}.role]
arn = "{name}"
delivery = "{delivery}"
"""
        )
    text.append(f"[sandbox.buckets]\nbucket1 = {json.dumps(names)}\n")
    return names, "\n".join(text)


class Project:
    def __init__(self, devsup, home, found):
        self.devsup, self.folder = devsup, os.path.join(home, "deliveries")
        os.mkdir(self.folder)
        self.env = spoilt_shell(home, XDG_STATE_HOME=os.path.join(home, "state"), NODE_NO_WARNINGS="1")
        self.names, text = manifest(found)
        with open(os.path.join(self.folder, "services.toml"), "w") as file:
            file.write(text)
        self.seen = {}

    def do(self, *words, **more):
        return run([self.devsup, *words], self.env, self.folder, **more)

    def json(self, *words):
        code, out, err = self.do(*words, "--format", "json")
        require(" ".join(words), code == 0, out + err)
        return [json.loads(line) for line in out.splitlines()]

    def said(self):
        """What each service said since the last look: {service: [(run, what)]}, each seen once."""
        fresh = {name: [] for name in self.names}
        all_lines = {}
        for entry in self.json("logs", "-n", "all"):
            if entry.get("line", "").startswith("{"):
                all_lines.setdefault(entry["service"], []).append((entry["run"], json.loads(entry["line"])))
        for name in self.names:
            lines = all_lines.get(name, [])
            fresh[name] = lines[self.seen.get(name, 0) :]
            self.seen[name] = len(lines)
        return fresh

    def ps(self):
        return {service["name"]: service for service in self.json("ps")}

    def sandbox(self):
        """Where its faults are set."""
        return self.variables(self.names[0])["AWS_ENDPOINT_URL"]

    def variables(self, name, *words):
        return {variable["name"]: variable["value"] for variable in self.json("env", name, *words)}

    def faults(self, url, **faults):
        request = urllib.request.Request(f"{url}/_sandbox/faults", json.dumps(faults).encode(), method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=10).close()


class Table:
    def __init__(self, names):
        self.names, self.cells = names, {}

    def mark(self, case, name, good, detail=""):
        check(f"{case}: {name}", good, detail)
        self.cells[case, name] = "ok" if good else "FAILED"

    def show(self):
        width = max(map(len, self.names))
        print("   " + "client".ljust(width) + "".join(f"  {case:>9}" for case in CASES))
        for name in self.names:
            print("   " + name.ljust(width) + "".join(f"  {self.cells.get((case, name), '–'):>9}" for case in CASES))


def gather(project, seconds, enough):
    """Everything said until `enough` holds of it for every service, or the time is over."""
    all_said = {name: [] for name in project.names}
    end_at = time.monotonic() + seconds
    while True:
        for name, lines in project.said().items():
            all_said[name] += lines
        if all(enough(lines) for lines in all_said.values()) or time.monotonic() > end_at:
            return all_said
        time.sleep(1)


def keys(lines):
    return list(dict.fromkeys(what["key"] for _, what in lines if "key" in what))


def errors(lines):
    return [what["error"] for _, what in lines if "error" in what]


def lives(project, table):
    """First use, and new credentials: with no restart but where the variables want one."""
    first = gather(project, 40, lambda lines: bool(lines))
    for name, lines in first.items():
        table.mark("first use", name, bool(keys(lines)) and not errors(lines), lines[:3])
    before = project.ps()
    later = gather(project, 2.5 * LEASE, lambda lines: len(keys(lines)) >= 2)
    after = project.ps()
    for name, lines in later.items():
        restarted = before[name]["run"] != after[name]["run"]
        good = len(keys(first[name] + lines)) >= 2 and not errors(lines) and restarted == name.endswith("-env")
        table.mark("refresh", name, good, (keys(lines), errors(lines)[:2], before[name]["run"], after[name]["run"]))


def outage(project, table):
    """STS is away: nothing happens while anything is held; then each says why; then all is well by itself."""
    url = project.sandbox()
    project.said()
    before = project.ps()
    project.faults(url, down="unavailable")
    try:
        held = gather(project, LEASE * 0.3, lambda lines: False)
        for name, lines in held.items():
            table.mark("outage", name, bool(keys(lines)) and not errors(lines), (keys(lines), errors(lines)[:2]))
        expired = gather(project, 1.6 * LEASE, lambda lines: bool(errors(lines)))
        after = project.ps()
        for name, lines in expired.items():
            same = before[name]["run"] == after[name]["run"] or name.endswith("-env")
            alive = after[name]["state"] == "running"
            shown = "EXPIRED" in json.dumps(after[name]) or "expire" in json.dumps(after[name]).lower()
            # The Rust SDK signs with what it read from variables, whatever became of it.
            told = bool(errors(lines)) or name == "rust-env"
            table.mark("expired", name, same and alive and shown and told, (errors(lines)[:2], after[name]["status"]))
    finally:
        project.faults(url)
    repaired = gather(project, 60, lambda lines: lines and "key" in lines[-1][1] and not errors(lines[-3:]) and len(lines) > 3)
    for name, lines in repaired.items():
        table.mark("repaired", name, bool(lines) and "key" in lines[-1][1], lines[-3:])


def stolen(project, table, found):
    """Somebody of the same user, outside every service, with all of a service's variables. Of `env` they are the keys
    themselves: nothing can be refused, and SECURITY.md says so."""
    for name in project.names:
        client, delivery = name.rsplit("-", 1)
        if delivery != "endpoint":
            continue
        env = project.variables(name, "--reveal", "--force")
        thief = subprocess.Popen(found[client], env=env, stdout=subprocess.PIPE, bufsize=0, stdin=subprocess.DEVNULL)
        try:
            said = json.loads(first_line(thief, 60))
            table.mark("stolen", name, "error" in said and "key" not in said, said)
        finally:
            end(thief)
    events = [event for event in project.json("events") if event.get("event") == "token-refused"]
    check("an event says who tried", bool(events), "no event")


def main(devsup):
    end_by_signals()
    with tempfile.TemporaryDirectory() as home:
        spoilt_home(home)
        found = clients(devsup)
        project = Project(devsup, home, found)
        table = Table(project.names)
        try:
            with part("up"):
                code, out, err = project.do("up", "-d", "--sandbox")
                require("up -d --sandbox", code == 0, out + err)
                with part("lives"):
                    lives(project, table)
                with part("outage"):
                    outage(project, table)
                with part("stolen"):
                    stolen(project, table, found)
        finally:
            with part("down"):
                code, out, err = project.do("down")
                check("down", code == 0, out + err)
        table.show()
    done()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
