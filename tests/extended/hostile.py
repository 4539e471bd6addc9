#!/usr/bin/env python3
"""Files that attack an ingester, through HTTP: each ends in time and within its memory, and the server doesn't notice.

    tests/extended/hostile.py DATA

The files are made by DATA/documents/hostile/make_hostile.py in a folder of their own. Memory is what
the kernel holds against each parser: the most that was resident (VmHWM, looked at every 20 ms) and
the limit of its address space, which bounds that whenever nobody looks.
MODEL names the embedding model.
"""

import collections
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from ragstone import Refused, Report, Server

# MODEL=test-hash leaves the time of embedding out: for work on parsers and on this script.
MODEL = os.environ.get("MODEL", "all-MiniLM-L6-v2")
EACH_S = 10
# A file that takes longer than allowed is waited for so long, to say how it ended.
PATIENCE_S = 60
MEMORY_MAX = 512 << 20
LOOK_S = 0.02
ENDS = ("ready", "failed", "cancelled")
# Where the address that some of the files ask for would be listened to.
LURE = ("127.0.0.1", 9)
ESCAPES = [Path("/tmp/evil-traversal.txt"), Path("/abs/evil.txt"), Path("/tmp/evil.txt")]


def main(data):
    report = Report()
    for escaped in ESCAPES:
        report.expect(not escaped.exists(), f"{escaped} is not there before")
    with tempfile.TemporaryDirectory(prefix="ragstone-hostile-") as folder, Lure() as lure:
        files = make(data, folder)
        with Server(f'[embedding]\nmodel = "{MODEL}"\n') as server, Parsers(server) as parsers, Pulse(server) as pulse:
            ends = {path.name: ingest(server, path) for path in files}
            judge(ends, report)
            judge_parsers(parsers, report)
            report.none(pulse.missed, f"/readyz said ok {pulse.beats} times, at most after {pulse.longest_s * 1000:.0f} ms")
            judge_texts(server, report)
            report.expect(server.process.poll() is None, "the server runs")
            report.none(server.complaints(), "no errors in the log")
        report.expect(lure.visitors == 0, f"nobody called at {LURE[0]}:{LURE[1]}" if lure.is_set else "no lure could be set at port 9")
    report.none([path for path in ESCAPES if path.exists()], "nothing was written outside")
    report.end()


def make(data, folder):
    """The files, in a folder that goes away."""
    maker = data / "documents/hostile/make_hostile.py"
    subprocess.run([sys.executable, maker, folder], check=True, capture_output=True, timeout=300)
    return sorted(path for path in Path(folder).iterdir() if path.name != "MANIFEST.tsv")


def ingest(server, path):
    """How a file ended, and after how many seconds."""
    began = time.monotonic()
    try:
        end = server.upload("default", [(path.name, path.read_bytes())], external_id=path.name)[0]
        while end["status"] not in ENDS and time.monotonic() - began < PATIENCE_S:
            time.sleep(LOOK_S)
            end = server.get(f"/v1/collections/default/documents/{end['id']}")
    except Refused as refused:
        problem = refused.problem
        end = {"status": "failed", "code": problem.get("code"), "reason": problem.get("detail")}
    seconds = time.monotonic() - began
    print(f"    {seconds:6.2f} s  {path.name[:24]:<24} {end['status']:<8} {end.get('code') or '':<14} {end.get('reason') or ''}"[:160], flush=True)
    return end | {"seconds": seconds}


def judge(ends, report):
    print(f"  {len(ends)} files: {dict(collections.Counter(end['status'] for end in ends.values()))}")
    late = [f"{name}: {end['seconds']:.1f} s" for name, end in ends.items() if end["seconds"] > EACH_S]
    report.none(late, f"each ends within {EACH_S} s")
    silent = [name for name, end in ends.items() if end["status"] != "ready" and not (end["status"] == "failed" and end.get("code") and end.get("reason"))]
    report.none(silent, "each is ready, or failed with a reason")
    crashed = [f"{name}: {end['reason']}" for name, end in ends.items() if end.get("code") in ("crashed", "internal_error", "abandoned")]
    report.none(crashed, "no parser crashed")
    report.none([name for name, end in ends.items() if name.startswith("control.") and end["status"] != "ready"], "the control files are ready")


def judge_parsers(parsers, report):
    peak = max(parsers.peaks.values(), default=0)
    report.expect(0 < peak <= MEMORY_MAX, f"{len(parsers.peaks)} parsers, resident at most {peak / 2**20:.0f} MiB")
    unbounded = [f"{pid}: {limit}" for pid, limit in parsers.limits.items() if limit > MEMORY_MAX]
    report.none(unbounded, f"the address space of each is limited to {MEMORY_MAX >> 20} MiB")


def judge_texts(server, report):
    """Nothing of this machine and nothing that no reader sees is in any text."""
    hits = []
    for query in ("root:", "root:x:0:0", "needle_in_script", "needle-in-style"):
        found = server.post("/v1/collections/default/search", {"query": query, "mode": "lexical", "top_k": 100})["hits"]
        hits += [f"{query}: {hit['document_name']}" for hit in found if re.search(r"root:|needle[_-]in[_-]s", hit["text"])]
    report.none(hits, "a lexical search finds no accounts, scripts or styles")
    accounts = Path("/etc/passwd").read_text(encoding="utf-8", errors="replace").splitlines()
    secrets = [account for account in accounts if account.startswith("root:")] + ["needle_in_script"]
    ready = [document for document in server.pages("/v1/collections/default/documents") if document["status"] == "ready"]
    texts = {document["name"]: server.request("GET", f"/v1/collections/default/documents/{document['id']}/text").decode() for document in ready}
    report.none([f"{name}: {secret}" for name, text in texts.items() for secret in secrets if secret in text], f"nor do the {len(texts)} texts hold any")


class Parsers(threading.Thread):
    """Watches the memory of the server's children as long as the context is open."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.parent = server.process.pid
        self.peaks, self.limits, self.is_over = {}, {}, threading.Event()

    def run(self):
        while not self.is_over.wait(LOOK_S):
            for pid in children_of(self.parent):
                self.look(pid)

    def look(self, pid):
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
        except OSError:
            return
        resident = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        limit = re.search(r"^Max address space\s+(\d+)\s", limits, re.MULTILINE)
        # In its first moment, before it is limited, a child still shares its parent's memory.
        if resident and limit:
            self.peaks[pid] = max(self.peaks.get(pid, 0), int(resident[1]) << 10)
            self.limits[pid] = int(limit[1])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()


def children_of(parent):
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2]
        except OSError:
            continue
        if after_name.split()[1:2] == [str(parent)]:
            yield stat.parent.name


class Pulse(threading.Thread):
    """Asks for /readyz over and over."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.beats, self.missed, self.longest_s = server, 0, [], 0.0
        self.is_over = threading.Event()

    def run(self):
        while not self.is_over.wait(0.05):
            began = time.monotonic()
            try:
                self.server.get("/readyz")
                self.beats += 1
            except (Refused, OSError) as error:
                self.missed.append(str(error))
            self.longest_s = max(self.longest_s, time.monotonic() - began)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()


class Lure:
    """Listens where hostile files would have a parser call, if it may."""

    def __init__(self):
        self.visitors, self.is_set = 0, True
        self.socket = socket.socket()
        try:
            self.socket.bind(LURE)
            self.socket.listen()
            self.socket.settimeout(0)
        except OSError:
            self.is_set = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Who called waits in the queue until here."""
        while self.is_set:
            try:
                self.socket.accept()[0].close()
                self.visitors += 1
            except OSError:
                break
        self.socket.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
