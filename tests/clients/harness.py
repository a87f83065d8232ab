"""What the client programs share: a world without inherited AWS settings, checks that count, and processes that end."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback

BIN = os.path.dirname(sys.executable)
_passed = 0
_failed = 0
# Some programs check from several threads.
_counting = threading.Lock()


class Unmet(Exception):
    """Counted already: what follows in this part of the program cannot hold either."""


def check(what, condition, detail=""):
    """One fact. Answers it, so that a part may go on without it."""
    global _passed, _failed
    with _counting:
        _passed += bool(condition)
        _failed += not condition
    if not condition:
        print(f"FAILED: {what} {detail}".rstrip(), flush=True)
    return bool(condition)


def require(what, condition, detail=""):
    """One fact that the rest of this part stands on."""
    if not check(what, condition, detail):
        raise Unmet(what)


@contextlib.contextmanager
def part(name):
    """A part that breaks off is a failure, says so, and the next part runs all the same."""
    began = time.monotonic()
    try:
        yield
    except Unmet as what:
        print(f"   {name}: broke off at `{what}`; the rest of this part did not run", flush=True)
    except Exception:
        check(f"{name}: broke off; the rest of this part did not run", False, "\n" + traceback.format_exc())
    finally:
        print(f"   {name}: {time.monotonic() - began:.1f} s", flush=True)


def done():
    """Ends the program; its last line is what `run` counts."""
    print(f"{_passed} passed, {_failed} failed", flush=True)
    sys.exit(1 if _failed or not _passed else 0)


def end_by_signals():
    """A program that is told to end leaves by its `finally`s, which end what it started."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def clean_env(home, **more):
    """An environment with nothing of this machine's AWS settings, proxies or session in it."""
    ours = ("AWS_", "DEVSUP", "XDG_", "MINISTACK", "GITHUB_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) and "proxy" not in k.lower()}
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


def run(argv, env, cwd, timeout=60, **more):
    """(exit code, stdout, stderr) of one command; one that hangs is ended, and answers 124 as timeout(1) does."""
    try:
        done = subprocess.run(
            argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **more
        )
    except subprocess.TimeoutExpired as hung:
        said = [(stream or b"").decode(errors="replace") for stream in (hung.stdout, hung.stderr)]
        return 124, said[0], f"{said[1]}\n(no end within {timeout} s)"
    return done.returncode, done.stdout, done.stderr


def refused(call, *args, **kwargs):
    """The code with which AWS refuses a call, or `ok`."""
    from botocore.exceptions import ClientError

    try:
        call(*args, **kwargs)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"


def wait_until(what, condition, seconds=30, pause=0.1):
    """Polls a condition; one that never comes ends this part."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        require(f"within {seconds} s: {what}", time.monotonic() <= end)
        time.sleep(pause)


def first_line(process, seconds=30):
    """The next line of a process's stdout (a pipe, unbuffered)."""
    line = b""
    end = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        byte = process.stdout.read(1) if ready else b""
        require("a whole line from a program", byte, f"{process.args[0]} said {line!r}")
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
