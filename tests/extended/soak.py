#!/usr/bin/env python3
"""Mixed work for a while: memory, descriptors and the data folder stay flat, and nothing fails.

    tests/extended/soak.py DATA

Four writers upload, replace and delete documents from a set of bounded size, four readers search and
ask; each waits a little, so that the server is busy and not overloaded. Jobs and receipts are kept for
a minute, so that the folder shows whether what is over goes and its space is used again.

    SOAK_S  seconds (default 300; the long run takes 1800). The store's cache fills for two minutes
"""

import json
import os
import random
import stat
import statistics
import sys
import threading
import time
from pathlib import Path

from ragstone import Refused, Report, Server, read_lines

SOAK_S = float(os.environ.get("SOAK_S", "300"))
SEED = int(os.environ.get("SEED", "1"))
WRITERS = READERS = 4
NAMES = 64
GROWTH_MAX = 1.10
DESCRIPTORS_MAX = 8
COLLECTION = "/v1/collections/soak"
SAMPLE_S = 2
RETENTION = "[retention]\njobs_s = 60\nreceipts_s = 60\ninterval_s = 20\n"


class Work:
    """What the clients share."""

    def __init__(self, server, documents, questions):
        self.server, self.documents, self.questions = server, documents, questions
        self.stop = threading.Event()
        self.faults, self.done = [], {"written": 0, "deleted": 0, "searched": 0, "asked": 0}
        self.lock = threading.Lock()

    def count(self, what):
        with self.lock:
            self.done[what] += 1

    def run(self, one, number):
        chance = random.Random(SEED * 1000 + number)
        while not self.stop.is_set():
            try:
                one(self, chance, number)
            except (Refused, OSError) as error:
                with self.lock:
                    self.faults.append(str(error)[:300])
            time.sleep(0.05)


def write(work, chance, number):
    name = f"{number}-{chance.randrange(NAMES)}"
    path = f"{COLLECTION}/documents/{name}"
    if chance.random() < 0.2:
        try:
            work.server.request("DELETE", path)
            work.count("deleted")
        except Refused as error:
            if error.status != 404:
                raise
        return
    document = chance.choice(work.documents)
    work.server.request("PUT", path, body(document), "application/json")
    work.count("written")


def body(document):
    return json.dumps({"text": f"{document['title']}\n\n{document['text']}", "name": document["_id"]}).encode()


def read(work, chance, _):
    question = chance.choice(work.questions)["text"]
    if chance.random() < 0.3:
        work.server.post(f"{COLLECTION}/query", {"question": question, "cache": "bypass"})
        work.count("asked")
    else:
        work.server.post(f"{COLLECTION}/search", {"query": question, "mode": chance.choice(["hybrid", "vector", "lexical"])})
        work.count("searched")


def sample(server):
    """Resident MiB of the server and its children, open descriptors, MiB on disk."""
    pids = [server.process.pid, *children(server.process.pid)]
    resident = sum(resident_kib(pid) for pid in pids) / 1024
    disk = sum(sizes_below(server.folder / "data")) / 2**20
    return resident, len(os.listdir(f"/proc/{server.process.pid}/fd")), disk


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def resident_kib(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def sizes_below(folder):
    """Files come and go meanwhile."""
    for path in folder.rglob("*"):
        try:
            found = path.lstat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            yield found.st_size


def main(data):
    report = Report()
    documents = read_lines(data / "retrieval/scifact-train/corpus.jsonl")
    questions = read_lines(data / "retrieval/scifact-train/queries.jsonl")
    with Server(RETENTION) as server:
        server.post("/v1/collections", {"name": "soak"})
        work = Work(server, documents, questions)
        clients = [threading.Thread(target=work.run, args=(write, number), daemon=True) for number in range(WRITERS)]
        clients += [threading.Thread(target=work.run, args=(read, WRITERS + number), daemon=True) for number in range(READERS)]
        for client in clients:
            client.start()
        samples = watch(server, time.monotonic() + SOAK_S)
        work.stop.set()
        for client in clients:
            client.join()
        print(f"  {work.done} in {SOAK_S:.0f} s")
        report.none(work.faults, "no request failed")
        judge(report, samples)
        report.none(server.complaints(), "no errors in the log")
    report.end()


def watch(server, deadline):
    samples = []
    while time.monotonic() < deadline:
        time.sleep(SAMPLE_S)
        samples.append(sample(server))
    return samples


def judge(report, samples):
    """The second quarter, when caches are warm, against the last."""
    quarter = len(samples) // 4
    for name, at in (("resident MiB", 0), ("MiB on disk", 2)):
        early = statistics.median(one[at] for one in samples[quarter : 2 * quarter])
        late = statistics.median(one[at] for one in samples[-quarter:])
        peak = max(one[at] for one in samples)
        report.expect(late <= early * GROWTH_MAX, f"{name}: {early:.0f} in the second quarter, {late:.0f} in the last, {peak:.0f} at most")
    descriptors = [one[1] for one in samples[quarter:]]
    report.expect(max(descriptors) - statistics.median(descriptors) <= DESCRIPTORS_MAX + WRITERS + READERS, f"descriptors: {statistics.median(descriptors):.0f}, {max(descriptors)} at most")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
