#!/usr/bin/env python3
"""A disk of 64 MiB, filled and freed 20 times during uploads.

    tests/extended/full_disk.py DATA

Full means 507 and nothing else; reading and searching go on; what was acknowledged stays; uploads work
again as soon as there is room, without a restart; `ragstone verify` finds nothing wrong at the end.
Mounts a tmpfs: not run where that is not allowed. ROUNDS and SEED set how often and which.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from http.client import HTTPException
from pathlib import Path

from ragstone import PROGRAM, Refused, Report, Server, until

ROUNDS = int(os.environ.get("ROUNDS", 20))
SEED = int(os.environ.get("SEED", 20261121))
DISK_MIB = 64
WRITERS = 2
CONFIG = f'[embedding]\nmodel = "test-hash"\n[index]\ndisk_reserve_bytes = {8 << 20}\n'
DOCUMENTS = "/v1/collections/default/documents"


class Disk:
    """A tmpfs, and a file that takes its room."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.ballast = folder / "ballast"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", folder], check=True, capture_output=True)

    def fill(self):
        # Unbuffered: a buffer would be written once more when the file closes.
        with open(self.ballast, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                return

    def free(self):
        self.ballast.unlink(missing_ok=True)

    def unmount(self):
        subprocess.run(["umount", "-l", self.folder], check=False)


class Writers:
    """Clients that upload, replace and delete until stopped. By name: what was acknowledged, and what was
    asked for since, which may have happened or not."""

    def __init__(self, server):
        self.server, self.acknowledged, self.attempted = server, {}, {}
        self.refusals, self.surprises, self.stopped = 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(number,), daemon=True) for number in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def write(self, number):
        chance = random.Random(SEED + number)
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            name = f"w{number}-{chance.randrange(12)}"
            text = f"Text {turn} of {name}. " + " ".join(f"word{chance.randrange(1000)}" for _ in range(chance.randrange(20, 1500)))
            text = None if chance.random() < 0.2 else text
            self.attempted.setdefault(name, []).append(text)
            try:
                if text is None:
                    self.server.request("DELETE", f"{DOCUMENTS}/{name}")
                else:
                    self.server.post(DOCUMENTS, {"text": text, "external_id": name, "name": name})
                self.acknowledged[name] = text
                self.attempted[name] = []
            except Refused as refused:
                self.refused(name, refused)
            except (OSError, HTTPException):
                # The server was killed.
                self.stopped.wait(0.1)

    def refused(self, name, refused):
        if refused.status == 507:
            self.refusals += 1
            self.stopped.wait(0.05)
        elif refused.status != 404:
            self.surprises.append(f"{name}: {refused}")
            self.stopped.wait(0.2)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def main(_):
    if os.geteuid() != 0:
        print("  not run: mounting a tmpfs needs root")
        return
    report = Report()
    folder = Path(tempfile.mkdtemp(prefix="ragstone-full-"))
    try:
        disk = Disk(folder / "disk")
    except subprocess.CalledProcessError as error:
        print(f"  not run: mount said: {error.stderr.decode().strip()}")
        return
    try:
        run(report, disk)
    finally:
        disk.unmount()
        shutil.rmtree(folder, ignore_errors=True)
    report.end()


def run(report, disk):
    (disk.folder / "data").mkdir()
    with Server(CONFIG, at=disk.folder / "data") as server:
        server.post("/v1/collections", {"name": "default"}) if not has_default(server) else None
        writers = Writers(server)
        chance = random.Random(SEED)
        print(f"  seed {SEED}, {ROUNDS} rounds")
        for number in range(ROUNDS):
            before = writers.refusals
            disk.fill()
            until(lambda: writers.refusals > before, 60, f"round {number}: a refusal")
            server.get("/readyz")
            if chance.random() < 0.3:
                server.kill()
                server.start()
            disk.free()
            served = len(writers.acknowledged)
            until(lambda: uploads(server, number), 60, f"round {number}: an upload after the disk was freed ({served} names)")
        writers.stop()
        report.expect(writers.refusals >= ROUNDS, f"{writers.refusals} requests were refused with 507")
        report.none(writers.surprises, "no other refusal")
        until(lambda: server.backlog() == 0, 300, "processing")
        report.none(lost(server, writers), f"all {len(writers.acknowledged)} names are as acknowledged")
        server.stop()
    done = subprocess.run([PROGRAM, "verify", "--json", "--data-dir", disk.folder / "data"], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["findings"] if done.returncode < 2 else [{"code": "refused", "severity": "error", "detail": done.stderr}]
    # A kill between writing a file and its commit leaves a file that nothing uses.
    report.none([one for one in found if one["severity"] != "note" and one["code"] != "file_orphan"], "verify finds nothing lost or wrong")


def has_default(server):
    return any(one["name"] == "default" for one in server.get("/v1/collections")["data"])


def uploads(server, number):
    try:
        server.post(DOCUMENTS, {"text": f"round {number}", "external_id": f"round-{number}", "name": "round"})
        return True
    except (Refused, OSError, HTTPException):
        return False


def lost(server, writers):
    faults = []
    for name, text in writers.acknowledged.items():
        try:
            found = server.request("GET", f"{DOCUMENTS}/{name}/content").decode()
        except Refused as refused:
            found = None if refused.status == 404 else f"{refused}"
        if found != text and found not in writers.attempted[name]:
            faults.append(f"{name}: {str(found)[:60]!r} instead of {str(text)[:60]!r}")
    return faults


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
