#!/usr/bin/env python3
"""A server that is killed, or told that the disk failed, at one system call after the other.

    tests/extended/syscalls.py DATA

Three documents are uploaded, one replaced, one deleted, under strace, which kills the process at the
N-th call of a kind in any thread, or fails that call with ENOSPC or EIO. Then the server is started
again without strace: what it acknowledged must be there, what it did not is absent or whole, every
job ends, and a retry under the same idempotency key is one document.

    STEP  takes every STEP-th N (default 8; 1 takes every call)

Needs strace and the right to trace.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from ragstone import Refused, Report, Server, until

CONFIG = '[embedding]\nmodel = "test-hash"\n[chunking]\nmax_tokens = 24\noverlap_tokens = 0\n'
COLLECTION = "/v1/collections/notes"
KILLED_AT = ["openat", "write", "pwrite64", "fsync", "fdatasync", "sync_file_range", "rename", "unlink", "mkdir", "ftruncate"]
FAILED_AT = ["openat", "write", "pwrite64", "fsync", "fdatasync", "sync_file_range", "rename", "mkdir"]
# Calls of one kind in one thread; a run that meets no fault ends the series long before.
CALLS_MAX = 2000
ENDED = ("ready", "failed", "cancelled")
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
        series = [(call, "signal=KILL") for call in KILLED_AT]
        series += [(call, f"error={error}") for error in ("ENOSPC", "EIO") for call in FAILED_AT]
        for call, fault in series:
            runs, faults = inject(template.folder / "data", call, fault)
            report.none(faults, f"{fault} at {call}: {runs} runs")
    report.end()


def inject(data, call, fault):
    """Runs until N is past the last call; what was wrong afterwards."""
    faults, runs = [], 0
    for number in range(1, CALLS_MAX, STEP):
        under = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={number}"]
        runs += 1
        found, was_met = one_run(data, under)
        faults += [f"{call} {number}: {fault_found}" for fault_found in found]
        if not was_met:
            break
    return runs, faults


def one_run(data, under):
    """What was wrong, and whether the fault was met at all."""
    try:
        server = Server(CONFIG, under, data)
    except RuntimeError:
        # The fault fell into the start: nothing was acknowledged, and the folder is lost with the object.
        return start_again(data, under)
    with server:
        sent = send_all(server)
        was_met = not sent["all"] or server.process.poll() is not None or bool(server.complaints())
        if server.process.poll() is None:
            server.kill()
        server.under = []
        try:
            server.start()
        except RuntimeError as error:
            return [f"did not start again: {str(error).strip().splitlines()[-1]}"], True
        return check(server, sent), was_met


def start_again(data, under):
    """A start that is cut off must leave a folder that starts."""
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    try:
        shutil.copytree(data, folder / "data")
        program = os.environ["RAGSTONE"]
        (folder / "ragstone.toml").write_text(CONFIG)
        command = [*under, program, "serve", "--listen", "127.0.0.1:0", "--config", folder / "ragstone.toml", "--data-dir", folder / "data"]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        with Server(CONFIG, data=folder / "data") as server:
            return check(server, {"acknowledged": {}, "deleted": False, "all": False}), True
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return [f"after a start that was cut off: {str(error).strip().splitlines()[-1]}"], True
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def send_all(server):
    """Sends everything once, without retries; what was acknowledged."""
    sent = {"acknowledged": {}, "deleted": False, "all": True}
    for name in ("one", "two", "three"):
        answer = send(server, name)
        sent["all"] &= answer is not None
        if answer:
            sent["acknowledged"][name] = TEXTS[name]
    answer = attempt(server, "PUT", f"{COLLECTION}/documents/old?wait=true", {"text": NEWER})
    sent["all"] &= answer is not None
    if answer:
        sent["acknowledged"]["old"] = NEWER
    sent["deleted"] = attempt(server, "DELETE", f"{COLLECTION}/documents/doomed") is not None
    sent["all"] &= sent["deleted"]
    return sent


def send(server, name):
    body = {"text": TEXTS[name], "external_id": name}
    return attempt(server, "POST", f"{COLLECTION}/documents?wait=true", body, {"Idempotency-Key": name})


def attempt(server, method, path, body=None, headers=None):
    """The answer, or nothing if there was none or it was a refusal."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.base + path, content, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
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
