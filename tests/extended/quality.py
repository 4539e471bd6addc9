#!/usr/bin/env python3
"""The gate before a change that makes retrieval or answers worse: figures against those of quality.json.

    tests/extended/quality.py DATA [--record]

`ragstone eval retrieval` and `ragstone eval answers` on a part of the judged sets, with the default settings. A figure
that is worse than the recorded one by more than its tolerance fails; a better one is told of. `--record` writes the
figures of now into quality.json and keeps its sets and tolerances.
"""

import argparse
import json
import subprocess
from pathlib import Path

from ragstone import PROGRAM, Report, Server

RECORDED = Path(__file__).parent / "quality.json"
# Less is better.
FAULTS = {"false_abstentions"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    sets = arguments.data.resolve() / "retrieval"
    gate = json.loads(RECORDED.read_text(encoding="utf-8"))
    report = Report()
    with Server() as server:
        for entry in gate["retrieval"]:
            modes = evaluate(server, ["retrieval", sets / entry["set"], "--queries-max", entry["queries"]])["modes"]
            for mode in sorted(modes | entry["figures"]):
                recorded = entry["figures"].setdefault(mode, {})
                compare(f"{entry['set']} {mode}", modes.get(mode, {}), recorded, gate["tolerances"], None if arguments.record else report)
        for entry in gate["answers"]:
            unanswerable = ["--unanswerable", sets / entry["unanswerable"]]
            means = evaluate(server, ["answers", sets / entry["set"], "--limit", entry["questions"], *unanswerable])["answers"]
            compare(f"{entry['set']} answers", means, entry["figures"], gate["tolerances"], None if arguments.record else report)
        report.none(server.complaints(), "no errors in the log")
    if arguments.record:
        RECORDED.write_text(json.dumps(gate, indent=2) + "\n", encoding="utf-8")
        print(f"\n  recorded in {RECORDED.name}")
        return
    report.end()


def evaluate(server, arguments):
    command = [PROGRAM, "eval", *map(str, arguments), "--json", "--server", server.base]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)["sets"][0]


def compare(what, measured, recorded, tolerances, report):
    """Each figure against the recorded one; without a report it takes that one's place."""
    for name, tolerance in tolerances.items():
        now, before = measured.get(name), recorded.get(name)
        if report is None:
            recorded.pop(name, None)
            recorded |= {} if now is None else {name: round(now, 4)}
        elif now is None and before is None:
            continue
        elif now is None or before is None:
            report.expect(False, f"{what}: {name} is {now}, recorded {before}; quality.py DATA --record")
        else:
            better = before - now if name in FAULTS else now - before
            remark = ", better: record it" if better > tolerance else ""
            report.expect(better >= -tolerance, f"{what}: {name} {now:.4f}, recorded {before:.4f}, tolerance {tolerance}{remark}")


if __name__ == "__main__":
    main()
