"""devsup for a side-by-side driver of process supervisors: its manifest for a list of services, and how to start, stop,
restart and ask it. Goes into the driver's `adapters/` as `devsup.py`; DEVSUP names the binary, else it is looked up in
PATH. No service has a role here: credentials are nothing that the others could be compared by.
"""
import glob
import json
import os
import shutil

from .base import Adapter, out, write

BIN = os.environ.get("DEVSUP") or shutil.which("devsup") or "/opt/peers/bin/devsup"


class Devsup(Adapter):
    name = "devsup"
    config = ("one [services.x] per service, restart = \"always\", stop_timeout = \"1s\", all else default (backoff from "
              "500 ms), logs of up to 100 GiB; start = `devsup up -d`, stop = `devsup down`")
    kill_timeout = "1 s"

    def version(self):
        v = out([BIN, "version"])
        return v and v.strip().splitlines()[0]

    def env(self, run):
        return {"XDG_STATE_HOME": run.dir + "/state"}

    def prepare(self, run):
        t = ["name = \"measured\"\n[defaults]\nrestart = \"always\"\nstop_timeout = \"1s\"\n"
             "logs = { total = \"100GiB\", file = \"100GiB\" }\n[logs]\nmax_total = \"100GiB\"\n"]
        for s in run.services:
            t.append(f"[services.{s.name}]\ncommand = {json.dumps(s.argv)}\n")
        write(run.dir + "/services.toml", "".join(t))

    def launch(self, run):
        return [BIN, "up", "-d"]

    def main_pid(self, run):
        with open(self.folder(run) + "/lock") as f:
            return json.load(f)["pid"]

    def folder(self, run):
        return glob.glob(run.dir + "/state/devsup/measured-*")[0]

    def logs(self, run, name):
        def order(path):
            stem = os.path.basename(path)[:-len(".log")].split(".")
            return [int(part) for part in stem]
        return sorted(glob.glob(f"{run.dir}/state/devsup/measured-*/logs/{name}/[0-9]*.log"), key=order)

    def stop(self, run):
        run.cmd([BIN, "down"])

    def restart_one(self, run, name):
        return [BIN, "restart", name]

    def status(self, run):
        return [BIN, "ps"]

    def count_running(self, text, run):
        return sum(" up " in line or " running" in line for line in text.splitlines())


ADAPTER = Devsup
