#!/usr/bin/env python3
"""10,000 collections cost what they should: memory and open files stay flat.

    tests/extended/many_collections.py DATA

Makes collections over HTTP with the hash embedder and puts a document into one in ten. Open files must stay few,
and from half-way to the end memory must not grow by more than a fixed amount and a little a collection: in the
first half the store's cache and the open collections fill up. COLLECTIONS sets the number; DATA is not used.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ragstone import Report, Server

COLLECTIONS = int(os.environ.get("COLLECTIONS", 10_000))
OPEN_MAX = 16
DOCUMENT_EVERY = 10
SAMPLES = 10
THREADS = 8
# Listener, store, connections of eight clients, and the files that the views are writing just now.
FILES_MAX = 128
# What the store's cache (ten times its 4 MiB) and the allocator's arenas may still take in the second half of a
# small run; measured 29 MB at 300, 82 MB at 3,000, 2 to 11 MB at 10,000. A leak of 20 KB a collection is past it.
RSS_GROWTH_BASE_MB = 96
RSS_PER_COLLECTION_KB = 2
CONFIG = f'[embedding]\nmodel = "test-hash"\n[index]\ncollections_open_max = {OPEN_MAX}\nstore_cache_bytes = 4194304\n'


def main(_):
    report = Report()
    step = max(1, COLLECTIONS // SAMPLES)
    with Server(CONFIG) as server, ThreadPoolExecutor(THREADS) as pool:
        samples, began = [], time.monotonic()
        for first in range(0, COLLECTIONS, step):
            last = min(first + step, COLLECTIONS)
            list(pool.map(lambda number: make(server, number), range(first, last)))
            samples.append((last, *usage(server.process.pid)))
            print(f"  {last:6} collections after {time.monotonic() - began:6.1f} s: {samples[-1][1]:7.1f} MB, {samples[-1][2]} open files", flush=True)
        early, late = samples[len(samples) // 2 - 1], samples[-1]
        most_files = max(files for _, _, files in samples)
        growth_max = RSS_GROWTH_BASE_MB + (late[0] - early[0]) * RSS_PER_COLLECTION_KB / 1024
        report.expect(late[1] - early[1] <= growth_max, f"memory grew by {late[1] - early[1]:.1f} MB since half-way, at most {growth_max:.0f}")
        report.expect(most_files <= FILES_MAX, f"open files: {most_files} at most, {FILES_MAX} allowed")
        report.expect(open_collections(server) <= OPEN_MAX, f"open collections: {open_collections(server):.0f}, at most {OPEN_MAX}")
        report.none(faults(server), "every tenth collection finds its document, the others nothing")
        report.expect(usage(server.process.pid)[1] - late[1] <= RSS_GROWTH_BASE_MB, "searching in them all costs no more memory")
        listed = sum(1 for _ in server.pages("/v1/collections"))
        report.expect(listed == COLLECTIONS, f"{listed} collections are listed")
        ready, _ = server.restart_after_kill(lambda: search(server, 0))
        report.expect(ready < 10, f"ready {ready:.2f} s after a kill -9")
        report.none(server.complaints(), "no errors in the log")
    report.end()


def make(server, number):
    server.post("/v1/collections", {"name": f"c{number}"})
    if number % DOCUMENT_EVERY == 0:
        body = {"text": f"the beacon of collection{number} burns", "external_id": "beacon", "name": "beacon.txt"}
        server.post(f"/v1/collections/c{number}/documents?wait=true", body)


def search(server, number):
    return server.post(f"/v1/collections/c{number}/search", {"query": f"collection{number}", "mode": "lexical"})["hits"]


def faults(server):
    """A sample of collections all over, with and without a document."""
    numbers = sorted({number + offset for number in range(0, COLLECTIONS - 1, max(DOCUMENT_EVERY, COLLECTIONS // 20 // 10 * 10)) for offset in (0, 1)})
    found = {number: len(search(server, number)) for number in numbers}
    return [f"c{number}: {hits} hits" for number, hits in found.items() if hits != (number % DOCUMENT_EVERY == 0)]


def open_collections(server):
    for line in server.request("GET", "/metrics").decode().splitlines():
        if line.startswith("ragstone_collections_open "):
            return float(line.split()[1])
    raise RuntimeError("ragstone_collections_open is missing")


def usage(pid):
    """Resident megabytes and open files."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    resident_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return resident_kb / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
