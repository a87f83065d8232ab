"""The AWS CLI as a service: a process for each use, as a script has it."""

import json
import subprocess
import time

while True:
    # Who is meant, and then its use: two processes, as two lines of a script.
    who = subprocess.run(["aws", "configure", "export-credentials"], capture_output=True, text=True)
    used = subprocess.run(["aws", "s3api", "list-objects-v2", "--bucket", "bucket1"], capture_output=True, text=True)
    if who.returncode == 0 and used.returncode == 0:
        said = {"key": json.loads(who.stdout)["AccessKeyId"]}
    else:
        said = {"error": (who.stderr if who.returncode else used.stderr).strip()}
    print(json.dumps(said), flush=True)
    time.sleep(0.5)
