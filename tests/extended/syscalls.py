#!/usr/bin/env python3
"""A server that is killed, or told that the disk failed, at one system call after the other.

    tests/extended/syscalls.py DATA

Three documents are uploaded, one replaced, one deleted, under strace, which kills the process at the
N-th call of a kind in any thread, or fails that call with ENOSPC or EIO. Then the server is started
again without strace: what it acknowledged must be there, what it did not is absent or whole, every
job ends, and a retry under the same idempotency key is one document. A run without faults tells how
many calls there are; threads share the work differently each time, so the last few may not come.

    STEP  takes every STEP-th N (default 8; 1 takes every call)

Needs strace and the right to trace.
"""

import json
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from ragstone import Refused, Report, Server, until

CONFIG = '[embedding]\nmodel = "test-hash"\n[chunking]\nmax_tokens = 24\noverlap_tokens = 0\n'
COLLECTION = "/v1/collections/notes"
KILLED_AT = ["openat", "write", "pwrite64", "fsync", "fdatasync", "sync_file_range", "rename", "unlink", "mkdir", "ftruncate"]
FAILED_AT = ["openat", "write", "pwrite64", "fsync", "fdatasync", "sync_file_range", "rename", "mkdir"]
# Of the faults of a series, the share that must be met at least.
MET_MIN = 0.5
ENDED = ("ready", "failed", "cancelled")
# For answers: a server whose own wake-up call was failed may never give one.
PATIENCE_S = 8
STEP = int(os.environ.get("STEP", "8"))
# One was there before, three come.
TEXTS = {name: "\n\n".join(f"Paragraph {number} of {name} speaks of {name}{number}." for number in range(6)) for name in ("old", "one", "two", "three")}
DOOMED = "This one will be deleted."
NEWER = "A later version of old, which speaks of newer."


def main():
    report = Report()
    if not shutil.which("strace"):
        report.expect(False, "strace is missing: apt-get install strace")
        report.end()
    with Server(CONFIG) as template:
        template.post("/v1/collections", {"name": "notes"})
        for name, text in (("old", TEXTS["old"]), ("doomed", DOOMED)):
            template.post(f"{COLLECTION}/documents?wait=true", {"text": text, "external_id": name})
        template.stop()
        calls = count_calls(template.folder / "data")
        series = [(call, "signal=KILL") for call in KILLED_AT]
        series += [(call, f"error={error}") for error in ("ENOSPC", "EIO") for call in FAILED_AT]
        series = [(call, fault) for call, fault in series if calls[call]]
        for call, fault in series:
            runs, met, faults = inject(template.folder / "data", call, fault, calls[call])
            report.none(faults, f"{fault} at {call}: {runs} runs, met in {met}")
            report.expect(met >= MET_MIN * runs, f"{fault} at {call} was met")
    report.end()


def count_calls(data):
    """How often a call of each kind is made by the thread that makes it most."""
    with Server(CONFIG, traced("-e", f"trace={','.join(KILLED_AT)}"), data) as server:
        sent = send_all(server)
        if not sent["all"]:
            raise RuntimeError("not everything was acknowledged without faults")
        lines = trace_of(server)
        os.unlink(trace_path(server.under))
    made = Counter(tuple(line.split("(")[0].split()) for line in lines if "(" in line and " resumed" not in line)
    return {call: max((count for (_, name), count in made.items() if name == call), default=0) for call in KILLED_AT}


def traced(*options):
    """The command that traces. Without --seccomp-bpf: with it, strace 6.1 counts and kills at the wrong calls."""
    descriptor, trace = tempfile.mkstemp(prefix="ragstone-strace-")
    os.close(descriptor)
    return ["strace", "-f", "-qq", "-o", trace, *options]


def trace_path(under):
    return under[under.index("-o") + 1]


def trace_of(server):
    return Path(trace_path(server.under)).read_text(encoding="utf-8", errors="replace").splitlines()


def inject(data, call, fault, calls):
    """Runs with the fault at each call; in how many it was met, and what was wrong afterwards."""
    faults, runs, met = [], 0, 0
    for number in range(1, calls + 1, STEP):
        under = traced("-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={number}")
        runs += 1
        try:
            found, was_met = one_run(data, under)
        finally:
            os.unlink(trace_path(under))
        met += was_met
        faults += [f"{call} {number}: {fault_found}" for fault_found in found]
    return runs, met, faults


def one_run(data, under):
    """What was wrong, and whether the fault was met at all."""
    try:
        server = Server(CONFIG, under, data, patience=PATIENCE_S)
    except RuntimeError:
        # The fault fell into the start, or into the line that says where it listens: nothing was
        # acknowledged, and the folder is lost with the object.
        return start_again(data, under)
    with server:
        sent = send_all(server)
        # Before it is killed for the end.
        mark = "killed by SIGKILL" if any("signal=KILL" in option for option in under) else "(INJECTED)"
        was_met = any(mark in line for line in trace_of(server))
        if server.process.poll() is None:
            server.kill()
        server.under = []
        try:
            server.start()
        except RuntimeError as error:
            return [f"did not start again: {str(error).strip().splitlines()[-1]}"], was_met
        return check(server, sent), was_met


def start_again(data, under):
    """A start that is cut off must leave a folder that starts."""
    with tempfile.TemporaryDirectory(prefix="ragstone-cut-") as folder:
        cut = Path(folder) / "data"
        shutil.copytree(data, cut)
        try:
            # It may be met later this time.
            Server(CONFIG, under, at=cut, patience=PATIENCE_S).kill()
        except RuntimeError:
            pass
        try:
            with Server(CONFIG, at=cut) as server:
                return check(server, {"acknowledged": {}, "deleted": False, "all": False}), True
        except RuntimeError as error:
            return [f"after a start that was cut off: {str(error).strip().splitlines()[-1]}"], True


def send_all(server):
    """Sends everything once, without retries; what was acknowledged. Stops when the server does not answer at all."""
    sent = {"acknowledged": {}, "deleted": False, "all": False}
    deadline = time.monotonic() + PATIENCE_S
    steps = [(name, lambda name=name: send(server, name), TEXTS[name]) for name in ("one", "two", "three")]
    steps.append(("old", lambda: attempt(server, "PUT", f"{COLLECTION}/documents/old?wait=true", {"text": NEWER}), NEWER))
    for name, step, text in steps:
        if time.monotonic() > deadline:
            return sent
        if step():
            sent["acknowledged"][name] = text
    sent["deleted"] = attempt(server, "DELETE", f"{COLLECTION}/documents/doomed") is not None
    sent["all"] = sent["deleted"] and len(sent["acknowledged"]) == len(steps)
    return sent


def send(server, name):
    body = {"text": TEXTS[name], "external_id": name}
    return attempt(server, "POST", f"{COLLECTION}/documents?wait=true", body, {"Idempotency-Key": name})


def attempt(server, method, path, body=None, headers=None):
    """The answer, or nothing if there was none or it was a refusal."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.base + path, content, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, OSError, ValueError):
        return None


def check(server, sent):
    faults = []
    try:
        until(lambda: all(document["status"] in ENDED for document in server.pages(f"{COLLECTION}/documents")), 60, "processing")
    except TimeoutError:
        faults.append("a document's job does not end")
    documents = {document["external_id"]: document for document in server.pages(f"{COLLECTION}/documents")}
    for name, text in sent["acknowledged"].items():
        faults += [f"{name} was acknowledged and is gone"] * (name not in documents)
    if "old" not in documents:
        faults.append("old, which was there before, is gone")
    if sent["deleted"] and "doomed" in documents:
        faults.append("a deleted document is back")
    for name, document in documents.items():
        faults += look_at(server, name, document, sent["acknowledged"].get(name))
    for name in ("one", "two", "three"):
        answer = send(server, name)
        if not answer:
            faults.append(f"{name} can't be sent again")
        elif name in documents and answer["documents"][0]["id"] != documents[name]["id"]:
            faults.append(f"{name} became another document")
    return faults


def look_at(server, name, document, acknowledged):
    """One document after the restart: whole, ended, found by its words."""
    path = f"{COLLECTION}/documents/{document['id']}"
    if document["status"] == "failed" and is_excused(server, document["code"]):
        return []
    if document["status"] != "ready":
        return [f"{name} is {document['status']}: {document.get('reason')}"]
    content = server.request("GET", f"{path}/content").decode()
    allowed = [acknowledged] if acknowledged else [TEXTS.get(name, DOOMED), NEWER if name == "old" else None]
    faults = [f"{name} holds {content[:60]!r}"] * (content not in allowed)
    try:
        text = server.request("GET", f"{path}/text").decode()
        hits = server.post(f"{COLLECTION}/search", {"query": text[:200], "top_k": 20})["hits"]
    except Refused as error:
        return [*faults, f"{name}: {error}"]
    return faults + [f"{name} is ready and not found"] * all(hit["document_id"] != document["id"] for hit in hits)


def is_excused(server, code):
    """strace reaches what no disk does: the process that parses, and the runtime's own event descriptor."""
    return code == "crashed" or (code == "internal_error" and "failed to wake I/O driver" in server.log_path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
