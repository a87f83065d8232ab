"""No request fails while a service is replaced: a Python and a Node web server, on a passed socket and behind the forwarder,
each by restart and by overlap, with callers that come at a fixed rate; and what the same callers meet without a handover.

20 rotations of each, or DEVSUP_ROTATIONS.

usage: handover.py DEVSUP
"""

import asyncio
import itertools
import json
import os
import shutil
import sys
import tempfile
import threading
import time

from harness import check, clean_env, done, end_by_signals, part, require, run, wait_until

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "handover")
ROTATIONS = int(os.environ.get("DEVSUP_ROTATIONS", "20"))
MANIFEST = """
name = "load"
aws = {{ region = "ap-southeast-2", role_prefix = "arn:aws:iam::033145145979:role/" }}
[services.a]
command = {command}
role = "service-a"
ready = {ready}
replace = "{replace}"
stop_timeout = "{grace}"
ports.http = {{ listen = "127.0.0.1:auto", handover = "{handover}"{wait} }}
[sandbox]
lease = "12h"
"""
# Requests a second; every so many of them is an upload, of the others every second one is on a used connection.
RATE, UPLOAD = 60, 30
PARTS, PART, PAUSE = 16, b"x" * 65536, 0.019
# Used in turn, each rests longer than the second after which a connection is at rest.
KEPT = 45
LIMIT = 45


class Lost(Exception):
    def __init__(self, why, answered):
        super().__init__(why)
        self.answered = answered


class Load(threading.Thread):
    """An open loop: each request's time counts from the instant it was due."""

    def __init__(self, address):
        super().__init__()
        self.host, port = address.rsplit(":", 1)
        self.port = int(port)
        self.over, self.latest, self.idle = False, 0, []
        self.answered, self.retries, self.failed, self.waits = {"one-shot": 0, "kept": 0, "upload": 0}, 0, [], []

    def run(self):
        asyncio.run(self.come())

    async def come(self):
        began, asked = time.monotonic(), set()
        for number in itertools.count(1):
            due = began + number / RATE
            await asyncio.sleep(max(0, due - time.monotonic()))
            if self.over:
                break
            kind = "upload" if number % UPLOAD == 0 else "kept" if number % 2 == 0 else "one-shot"
            task = asyncio.create_task(self.one(kind, due))
            asked.add(task)
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)
        for _, writer in self.idle:
            writer.close()

    async def one(self, kind, due):
        try:
            await asyncio.wait_for(self.ask(kind), LIMIT)
        except (Lost, OSError, asyncio.TimeoutError) as why:
            self.failed.append(f"{kind} after {time.monotonic() - due:.2f} s: {why!r}")
            return
        self.answered[kind] += 1
        if kind != "upload":
            self.waits.append(time.monotonic() - due)

    async def ask(self, kind):
        if kind == "kept" and len(self.idle) >= KEPT:
            try:
                return await self.exchange(*self.idle.pop(0), kind)
            except Lost as lost:
                # As HTTP clients do: it was closed while it was idle (RFC 9112, 9.3.1).
                if lost.answered:
                    raise
                self.retries += 1
        return await self.exchange(*await asyncio.open_connection(self.host, self.port), kind)

    async def exchange(self, reader, writer, kind):
        kept = False
        try:
            kept = await self.spoken(reader, writer, kind)
        finally:
            if kept:
                self.idle.append((reader, writer))
            else:
                writer.close()

    async def spoken(self, reader, writer, kind):
        """Whether the connection may be used again."""
        head = b""
        try:
            if kind == "upload":
                writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (PARTS * len(PART)))
                for _ in range(PARTS):
                    writer.write(PART)
                    await writer.drain()
                    await asyncio.sleep(PAUSE)
            else:
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n" % (b"" if kind == "kept" else b"Connection: close\r\n"))
            # The first byte by itself: whether there was one decides.
            head = await reader.readexactly(1)
            head += await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
            body = (await reader.readexactly(int(fields["content-length"]))).decode()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Lost(repr(error), bool(head)) from error
        words = body.split()
        if not head.startswith(b"HTTP/1.1 200 ") or words[0] != ("length" if kind == "upload" else "run"):
            raise Lost(repr(head + body.encode()), True)
        if kind == "upload":
            if int(words[1]) != PARTS * len(PART):
                raise Lost(body, True)
        else:
            self.latest = max(self.latest, int(words[1]))
        return kind == "kept" and fields.get("connection") != "close"

    def told(self):
        waits = sorted(self.waits)
        at = lambda share: waits[int(len(waits) * share)] * 1000 if waits else 0
        return (
            f"{sum(self.answered.values()) + len(self.failed)} requests, {len(self.failed)} failed, {self.answered}, "
            f"{self.retries} retried; p50 {at(0.5):.1f} ms, p99 {at(0.99):.0f} ms, worst {waits[-1] * 1000 if waits else 0:.0f} ms"
        )


def rotate(devsup, program, handover, replace, times):
    """What came of it: the load, and devsup's `replaced` events."""
    home = tempfile.mkdtemp(prefix="handover-")
    env = clean_env(home, XDG_STATE_HOME=os.path.join(home, "state"))
    command, ready = {
        "python": ([sys.executable, "-B", os.path.join(HERE, "web.py")], "{ notify = true }"),
        "node": ([shutil.which("node"), os.path.join(HERE, "web.mjs")], '{ log = "^ready" }'),
    }[program]
    # What is forwarded is drained so long, and then told to stop.
    grace, wait = ("3s", ', wait = "30s"') if handover == "forward" else ("10s", "")
    with open(os.path.join(home, "services.toml"), "w") as file:
        words = {"command": json.dumps(command), "ready": ready, "replace": replace, "handover": handover}
        file.write(MANIFEST.format(**words, grace=grace, wait=wait))

    def do(*words):
        code, out, err = run([devsup, *words], env, home)
        require(f"devsup {' '.join(words)}", code == 0, out + err)
        return [json.loads(line) for line in out.splitlines()] if "json" in words else out

    def service():
        return do("ps", "--format", "json")[0]

    load = None
    try:
        do("up", "-d", "--wait", "--sandbox")
        load = Load(service()["ports"][0]["listen"])
        load.start()
        for turn in range(1, times + 1):
            wait_until(f"run {turn} to be called", lambda: load.latest >= turn, 60, 0.02)
            do(*(("restart", "a") if turn % 2 == 0 else ("creds", "a", "--refresh")))

            def over():
                a = service()
                return a["run"] == turn + 1 and a["ready"] and any(past["run"] == turn for past in a["exits"])

            wait_until(f"run {turn + 1} to take the place of the one before", over, 60, 0.25)
        wait_until("the last run to be called", lambda: load.latest == times + 1, 60, 0.02)
        load.over = True
        load.join()
        events = do("events", "--format", "json")
        return load, [event for event in events if event["event"] == "replaced"]
    finally:
        if load is not None:
            load.over = True
            load.join()
        run([devsup, "down"], env, home)
        # The daemon takes its socket away in the same moment.
        while os.path.exists(home):
            shutil.rmtree(home, ignore_errors=True)


def proves(devsup, program, handover, replace):
    name = f"{program}, {handover}, {replace}"
    with part(name):
        times = ROTATIONS if handover != "none" else min(ROTATIONS, 5)
        load, replaced = rotate(devsup, program, handover, replace, times)
        seen = [event[key] for event in replaced for key in ("waited_ms", "gap_ms") if event.get(key) is not None]
        print(f"   {name}, {times} rotations: {load.told()}; devsup saw {max(seen, default=None)} ms at worst", flush=True)
        check(f"{name}: each rotation is told", len(replaced) == times, replaced)
        if handover == "none":
            check(f"{name}: requests fail", any("Refused" in why for why in load.failed), load.failed[:10])
        else:
            check(f"{name}: requests of each kind were answered", all(load.answered.values()), load.answered)
            check(f"{name}: no request fails", not load.failed, load.failed[:10])


def main(devsup):
    end_by_signals()
    programs = ["python"]
    if shutil.which("node"):
        programs.append("node")
    else:
        print("SKIPPED handover of a Node server: there is no node", flush=True)
    ways = [("socket", "restart"), ("socket", "overlap"), ("forward", "restart"), ("forward", "overlap"), ("none", "restart")]
    cases = [(program, *way) for way in ways for program in programs]
    # Most of a rotation is waiting: two are done at once. More would make the callers late, and that would be measured.
    each = threading.Semaphore(2)

    def case(words):
        with each:
            proves(devsup, *words)

    threads = [threading.Thread(target=case, args=(words,)) for words in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
