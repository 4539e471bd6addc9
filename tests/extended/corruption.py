#!/usr/bin/env python3
"""500 random corruptions of a data directory: each is either harmless or reported, never silently lost.

    tests/extended/corruption.py DATA

Bits flipped, blocks zeroed, ends cut off, files emptied or removed: in the store's own files, in
originals and texts, in views. After each `ragstone verify` must end in time with one of its exit codes:
0 only if every document and chunk is still there, 1 with findings, 2 with a sentence. STATES and SEED
set how many and which.
"""

import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ragstone import PROGRAM, Report, Server, read_lines, until

STATES = int(os.environ.get("STATES", 500))
SEED = int(os.environ.get("SEED", 20261121))
DOCUMENTS = 60
# Longer than any verification of so little data may take.
PATIENCE_S = 60
BLOCK = 4096
CONFIG = '[embedding]\nmodel = "test-hash"\n[chunking]\nmax_tokens = 32\noverlap_tokens = 0\n'


def main(data):
    report = Report()
    chance = random.Random(SEED)
    with Server(CONFIG) as server:
        fill(server, read_lines(data / "retrieval/scifact-train/corpus.jsonl")[:DOCUMENTS])
        server.stop()
        source = server.folder / "data"
        code, sound = verify(source)
        report.expect(code == 0 and sound["documents"] == DOCUMENTS, f"before: exit {code}, {sound['documents']} documents, {sound['chunks']} chunks")
        print(f"  seed {SEED}, {STATES} corruptions")
        faults, outcomes = [], collections.Counter()
        for number in range(STATES):
            with tempfile.TemporaryDirectory(prefix="ragstone-corrupt-") as folder:
                copy = Path(folder) / "data"
                # The reserve file is 16 MiB of nothing.
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("store.reserve"))
                what = corrupt(copy, chance)
                outcome, fault = judge(copy, sound)
                outcomes[outcome] += 1
                faults += [f"{number}: {what}: {fault}"] if fault else []
        print(f"  {dict(outcomes)}")
        report.none(faults, "every corruption is harmless or reported")
    report.end()


def fill(server, documents):
    server.post("/v1/collections", {"name": "c"})
    server.upload("c", [(f"{one['_id']}.txt", f"{one['title']}\n\n{one['text']}".encode()) for one in documents])
    until(lambda: server.backlog() == 0, 300, "processing")
    server.post("/v1/collections/c/search", {"query": "cells"})


def verify(data):
    """Exit code and report, if there is one."""
    command = [PROGRAM, "verify", "--json", "--data-dir", data]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, {"said": done.stderr[-2000:]}


def judge(data, sound):
    """How it went, and what is wrong with that."""
    try:
        code, report = verify(data)
    except subprocess.TimeoutExpired:
        return "hangs", f"no end within {PATIENCE_S} s"
    if code == 0:
        lost = [f"{field}: {sound[field]}, then {report[field]}" for field in ("collections", "documents", "chunks", "blobs", "jobs") if sound[field] != report[field]]
        return "harmless", "; ".join(lost)
    if code == 1:
        return "found", "" if report.get("findings") else f"exit 1 without a finding: {report}"
    if code == 2:
        return "refused", "" if "ragstone: " in report.get("said", "") else f"exit 2 without a word: {report}"
    return f"exit {code}", report.get("said", "")


def corrupt(data, chance):
    """Damages one file; says how."""
    files = sorted(path for path in data.rglob("*") if path.is_file() and path.name != "store.lock")
    # Half of the time the main file: the others are many and small.
    path = data / "store/sled/db" if chance.random() < 0.5 else chance.choice(files)
    content = bytearray(path.read_bytes())
    # Where there is something; the rest of the main file is zeros.
    used = len(content.rstrip(b"\0")) or len(content)
    way = chance.choice(("flip", "flip", "zero", "cut", "empty", "remove", "noise"))
    at = chance.randrange(used) if used else 0
    if way == "flip" and content:
        content[at] ^= 1 << chance.randrange(8)
    elif way in ("zero", "noise"):
        start = at - at % BLOCK
        length = min(BLOCK, len(content) - start)
        content[start : start + length] = bytes(length) if way == "zero" else chance.randbytes(length)
    elif way == "cut":
        del content[at:]
    elif way == "empty":
        content.clear()
    if way == "remove":
        path.unlink()
    else:
        path.write_bytes(content)
    return f"{way} {path.relative_to(data)} at {at} of {len(content)}"


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
