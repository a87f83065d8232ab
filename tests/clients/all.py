"""Runs the client programs one after the other, each within its time, and counts.

Everything they start is a descendant of this process (it is their subreaper), so what one of them leaves behind is found
exactly, counted as a failure and ended; nothing else on the machine is touched.

usage: all.py DEVSUP PROGRAM.py ...
"""

import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import time

# Of one program. It is told to end at the first, and made to at the second.
SECONDS, GRACE = 170, 15
# Terraform loads a provider of hundreds of megabytes for each of its commands; a delivery is watched over the lives of leases.
LONGER = {"terraform.py": 900, "delivery_conformance.py": 300, "handover.py": 300}
if "DEVSUP_ROTATIONS" in os.environ:
    # As many as one likes.
    LONGER["handover.py"] = 24 * 3600
PR_SET_CHILD_SUBREAPER = 36


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def name(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return f"{file.read().strip()} (pid {pid})"
    except OSError:
        return f"pid {pid}"


def reap():
    """Orphans that ended are ours to collect."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def sweep(grace=3):
    """Waits a moment for what is ending anyway; what then still lives was left behind: named, and ended."""
    left = []
    for number, seconds in ((None, grace), (signal.SIGTERM, 15), (signal.SIGKILL, 15)):
        for pid in descendants(os.getpid()) if number else ():
            left.append(name(pid))
            os.kill(pid, number)
        end = time.monotonic() + seconds
        while True:
            reap()
            if not descendants(os.getpid()):
                return left
            if time.monotonic() > end:
                break
            time.sleep(0.05)
    return left


def told(process, limit):
    """Passes on what the program says until it has ended, which it must in time; answers its lines."""
    os.set_blocking(process.stdout.fileno(), False)
    said, orders = b"", iter(((limit, process.terminate), (limit + GRACE, process.kill)))
    began = time.monotonic()
    seconds, order = next(orders)
    # Its end and not the pipe's: what it leaves behind may hold that open.
    while True:
        ended = process.poll() is not None
        select.select([process.stdout], [], [], 0 if ended else 0.5)
        more = process.stdout.read()
        if more:
            said += more
            sys.stdout.buffer.write(more)
            sys.stdout.flush()
        elif ended:
            return said.decode(errors="replace").strip().splitlines() or [""]
        elif more == b"":
            # It closed its stdout: no more to select on.
            time.sleep(0.1)
        if not ended and order and time.monotonic() - began > seconds:
            print(f"FAILED: no end within {seconds} s", flush=True)
            order()
            seconds, order = next(orders, (0, None))


def one(program, devsup, skipped):
    """(passed, failed) of one program; what it left out is added to `skipped`."""
    here = os.path.dirname(os.path.abspath(__file__))
    print(f"== {program}", flush=True)
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-B", os.path.join(here, program), devsup], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    )
    lines = told(process, LONGER.get(program, SECONDS))
    skipped += [line for line in lines if line.startswith("SKIPPED ")]
    count = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1])
    passed, failed = (int(count[1]), int(count[2])) if count else (0, 0)
    if not count or process.returncode != (1 if failed else 0):
        failed += 1
        print(f"FAILED: {program} ended by {process.returncode} without a count that goes with it")
    left = sweep()
    if left:
        failed += 1
        print(f"FAILED: {program} left behind: {', '.join(left)}")
    print(f"== {program}: {passed} passed, {failed} failed, {time.monotonic() - began:.0f} s", flush=True)
    return passed, failed


def main(devsup, programs):
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    passed = failed = 0
    skipped = []
    try:
        for program in programs:
            of_one = one(program, devsup, skipped)
            passed, failed = passed + of_one[0], failed + of_one[1]
    finally:
        sweep(0)
    # Once more at the end, where it is seen.
    for line in skipped:
        print(line)
    print(f"clients: {passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), sys.argv[2:])
