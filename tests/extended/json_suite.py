#!/usr/bin/env python3
"""JSONTestSuite through HTTP: valid JSON is read, invalid JSON has a true reason, nothing crashes.

    tests/extended/json_suite.py DATA

Files: DATA/documents/json-suite/test_parsing. Names say what is right: `y_` is JSON, `n_` is not, `i_`
may be either. A `y_` file that holds only brackets and empty strings holds no text that a question
could be about: it must fail as empty, which is not the same as damaged. An `n_` file may be ready
(what is no JSON may be JSON Lines, and a reader of text may be more tolerant than a reader of data)
or fail with a reason; so may an `i_` file.
"""

import collections
import json
import sys
from pathlib import Path

from ragstone import Refused, Report, Server, until

END_S = 300
ENDS = ("ready", "failed", "cancelled")
# Reasons that are about the document, not about the server.
TRUE_REASONS = {"corrupt", "empty", "empty_file", "unsupported"}


def main(data):
    report = Report()
    paths = sorted((data / "documents/json-suite/test_parsing").glob("*.json"))
    report.expect(len(paths) > 300, f"{len(paths)} files")
    with Server() as server:
        ends = ingest(server, paths)
        report.none([f"{path.name}: {end['status']}" for path, end in ends.items() if end["status"] not in ENDS], "none hangs")
        judge(ends, report)
        server.get("/readyz")
        report.none(server.complaints(), "no errors in the log")
    report.end()


def ingest(server, paths):
    """How every file ended, by path."""
    ends = {}
    for path in paths:
        try:
            ends[path] = server.upload("default", [(path.name, path.read_bytes())], external_id=path.name)[0]
        except Refused as refused:
            problem = refused.problem
            ends[path] = {"id": None, "status": "failed", "code": problem.get("code", "?"), "reason": problem.get("detail", str(refused))}
        server.get("/readyz")
    waiting = {path: end["id"] for path, end in ends.items() if end["status"] not in ENDS}

    def all_ended():
        now = {document["id"]: document for document in server.pages("/v1/collections/default/documents")}
        ends.update({path: now[identity] for path, identity in waiting.items()})
        return all(end["status"] in ENDS for end in ends.values())

    try:
        until(all_ended, END_S, "the end of every file")
    except TimeoutError as error:
        print(f"  {error}")
    return ends


def judge(ends, report):
    by_kind = collections.defaultdict(list)
    for path, end in ends.items():
        by_kind[path.name[:2]].append((path, end))
    for kind, members in sorted(by_kind.items()):
        counts = collections.Counter(said(end) for _, end in members)
        print(f"  {kind}: {dict(counts)}")
    wrong = [
        f"{path.name}: {said(end)} ({end.get('reason', '')}), right is {right}"
        for path, end in by_kind["y_"]
        if said(end) not in (right := {"ready"} if holds_text(path) else {"empty", "empty_file"})
    ]
    report.none(wrong, f"each of {len(by_kind['y_'])} y_ files is ready, or empty if it holds no text")
    untrue = [f"{path.name}: {said(end)} ({end.get('reason', '')})" for path, end in ends.items() if said(end) != "ready" and said(end) not in TRUE_REASONS]
    report.none(untrue, "every failure is about the document: no crash, no limit, no server's fault")
    mute = [path.name for path, end in ends.items() if end["status"] == "failed" and not end.get("reason")]
    report.none(mute, "every failure has a reason in words")


def said(end):
    return "ready" if end["status"] == "ready" else end.get("code", end["status"])


def holds_text(path):
    """Whether a valid file has a name, a number, a literal, or a string that isn't empty."""
    return words(json.loads(path.read_bytes()))


def words(value):
    if isinstance(value, dict):
        return any(key.strip() or words(member) for key, member in value.items())
    if isinstance(value, list):
        return any(words(member) for member in value)
    return bool(value.strip()) if isinstance(value, str) else True


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
