"""What the client programs share: a world without inherited AWS settings, checks that count, and processes that end."""

import os
import select
import subprocess
import sys
import time

BIN = os.path.dirname(sys.executable)
_passed = 0


def check(what, condition, detail=""):
    """One fact. The first that does not hold ends the program."""
    global _passed
    if not condition:
        sys.exit(f"FAILED: {what} {detail}")
    _passed += 1


def done():
    print(f"   {_passed} checks ok")


def clean_env(home, **more):
    """An environment with nothing of this machine's AWS settings or proxies in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DEVSUP")) and "proxy" not in k.lower()}
    kept.update(
        HOME=home,
        PATH=BIN + os.pathsep + os.environ["PATH"],
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        AWS_PAGER="",
        PYTHONDONTWRITEBYTECODE="1",
    )
    kept.update(more)
    return kept


def run(argv, env, cwd, timeout=120):
    """(exit code, stdout, stderr) of one command."""
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


def refused(call, *args, **kwargs):
    """The code with which AWS refuses a call, or `ok`."""
    from botocore.exceptions import ClientError

    try:
        call(*args, **kwargs)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"


def wait_until(what, condition, seconds=30):
    """Polls a condition; says which one never came."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            sys.exit(f"FAILED: waited {seconds} s for {what}")
        time.sleep(0.1)


def first_line(process, seconds=30):
    """The first line of a process's stdout (a pipe, unbuffered)."""
    line = b""
    end = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        byte = process.stdout.read(1) if ready else b""
        if not byte:
            sys.exit(f"FAILED: {process.args[0]} said {line!r} and no whole line")
        line += byte
    return line.decode()


def end(process, seconds=10):
    """Politely, then by force."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
