#!/usr/bin/env python3
"""The gate before a change that makes retrieval or answers worse: figures against those of quality.json.

    tests/extended/quality.py DATA [--record]

`ragstone eval retrieval` and `ragstone eval answers` on a part of the judged sets, with the default settings. A figure
that is worse than the recorded one by more than its tolerance fails; a better one is told of. `--record` writes the
figures of now into quality.json and keeps its sets and tolerances. The same program gives the same figures: what the
tolerances leave is another processor's rounding. The citation gate and the guards have floors, their targets.
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
            found = evaluate(server, ["answers", sets / entry["set"], "--limit", entry["questions"], *unanswerable])
            report.expect(found["failed"] == 0, f"{entry['set']} answers: {found['failed']} questions failed")
            means = found["answers"]
            compare(f"{entry['set']} answers", means, entry["figures"], gate["tolerances"], None if arguments.record else report)
        report.none(server.complaints(), "no errors in the log")
    check_citations(sets, gate["citations"], report)
    check_guards(arguments.data.resolve() / "safety", gate["guards"], report)
    if arguments.record:
        RECORDED.write_text(json.dumps(gate, indent=2) + "\n", encoding="utf-8")
        print(f"\n  recorded in {RECORDED.name}")
        return
    report.end()


def check_citations(sets, floors, report):
    for judged in run(["citations", *[sets / name for name in floors["sets"]], "--cases", floors["cases"]])["sets"]:
        found, false_alarms = judged["found"], judged["false_alarms"]
        report.expect(found >= floors["found"], f"{judged['name']}: {found:.3f} of altered quotes found, at least {floors['found']}")
        remark = f"{judged['name']}: {false_alarms:.3f} of true quotes doubted, at most {floors['false_alarms']}"
        report.expect(false_alarms <= floors["false_alarms"], remark)


def check_guards(safety, floors, report):
    for judged in run(["guards", "--presidio", safety / "presidio" / "synth_dataset_v2.json"])["personal_data"]:
        for kind in judged["kinds"]:
            if kind["kind"] in floors["kinds"]:
                least = min(kind["precision"], kind["recall"])
                report.expect(least >= floors["least"], f"{kind['kind']}: precision {kind['precision']:.3f}, recall {kind['recall']:.3f}")


def evaluate(server, arguments):
    return run([*arguments, "--server", server.base])["sets"][0]


def run(arguments):
    command = [PROGRAM, "eval", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


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
