"""The AWS CLI as a service: a process for each use, as a script has it. It shows of a key its last four letters."""

import json
import subprocess
import time


def aws(*words):
    return subprocess.run(["aws", *words], capture_output=True, text=True)


while True:
    # Who is meant, and then its use: two processes, as two lines of a script.
    who, used = aws("configure", "list"), aws("s3api", "list-objects-v2", "--bucket", "bucket1")
    key = [line.split()[1] for line in who.stdout.splitlines() if line.split()[:1] == ["access_key"]]
    if used.returncode == 0 and key and key[0].startswith("*"):
        said = {"key": key[0]}
    else:
        said = {"error": (used.stderr or who.stderr or who.stdout).strip()}
    print(json.dumps(said), flush=True)
    time.sleep(0.5)
