#!/usr/bin/env python3
"""kill -9 with 10,000 chunks: back in under two seconds, with everything there and nothing done again.

    tests/extended/restart.py DATA

The abstracts of SciFact in small chunks, embedded by hashing: the start reads vectors, it doesn't make any.
"""

import os
import sys
import time
from pathlib import Path

from ragstone import Report, Server, read_lines, until

CHUNKS_MIN = 10_000
BACK_S = 2.0
VIEWS_S = 5
FILES = 64
CONFIG = '[embedding]\nmodel = "test-hash"\n'
COLLECTION = "/v1/collections/abstracts"


def main(data):
    report = Report()
    documents = read_lines(data / "retrieval/scifact-train/corpus.jsonl")[: int(os.environ.get("LIMIT", 10**9))]
    with Server(CONFIG) as server:
        fill(server, documents)
        before = state(server)
        chunks = before["collection"]["stats"]["chunks"]
        report.expect(chunks >= CHUNKS_MIN, f"chunks: {chunks}, at least {CHUNKS_MIN}")
        report.expect(all(document["status"] == "ready" for document in before["documents"]), f"all {len(documents)} documents are ready")
        # The second start finds views that the first one may have rebuilt or replayed.
        for start in ("after the upload", "after the restart"):
            ready, searched = server.restart_after_kill(lambda: search(server))
            report.expect(ready < BACK_S, f"kill -9 {start}: /readyz after {ready:.3f} s")
            report.expect(searched < BACK_S, f"kill -9 {start}: first search after {searched:.3f} s")
            report.expect(server.backlog() == 0, "no job runs or waits")
            report.none(changes(before, state(server)), "chunks, documents and their jobs are as before the kill")
        report.none(server.complaints(), "no errors in the log")
    report.end()


def fill(server, documents):
    server.post("/v1/collections", {"name": "abstracts", "chunking": {"max_tokens": 64, "overlap_tokens": 0}})
    began = time.monotonic()
    files = [(f"{document['_id']}.txt", f"{document['title']}\n\n{document['text']}".encode()) for document in documents]
    for first in range(0, len(files), FILES):
        server.upload("abstracts", files[first : first + FILES])
    until(lambda: server.backlog() == 0, 600, "processing")
    # What is processed is shown with the views' next round.
    until(lambda: all(document["status"] == "ready" for document in server.pages(f"{COLLECTION}/documents")), VIEWS_S, "showing")
    search(server)
    print(f"  {len(files)} documents in {time.monotonic() - began:.1f} s")


def search(server):
    found = server.post(f"{COLLECTION}/search", {"query": "white matter of the newborn brain"})
    if not found["hits"]:
        raise OSError("nothing found")


def state(server):
    """What a restart must leave alone."""
    documents = sorted(server.pages(f"{COLLECTION}/documents"), key=lambda document: document["id"])
    jobs = [job(server, document["job_id"]) for document in documents[:: max(1, len(documents) // 200)]]
    return {"collection": server.get(COLLECTION), "documents": documents, "jobs": jobs}


def job(server, job_id):
    """A job without the trace id, which belongs to the request that read it."""
    return {key: value for key, value in server.get(f"/v1/jobs/{job_id}").items() if key != "trace_id"}


def changes(before, after):
    """Fields that differ; the view figures of a collection may."""
    faults = [f"documents: {len(before['documents'])}, then {len(after['documents'])}"] * (len(before["documents"]) != len(after["documents"]))
    for field in ("documents", "chunks", "bytes", "generation"):
        one, other = before["collection"]["stats"][field], after["collection"]["stats"][field]
        faults += [f"collection {field}: {one}, then {other}"] * (one != other)
    for kind in ("documents", "jobs"):
        faults += [f"{one} became {other}" for one, other in zip(before[kind], after[kind]) if one != other]
    return faults


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
