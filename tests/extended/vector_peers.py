#!/usr/bin/env python3
"""The vector index beside other libraries, on the same vectors in the same run, and the ratios.

    tests/extended/vector_peers.py DATA [PEER ...]

DATA/../peers holds the scripts that measure peers; the default peers are the fastest of them. Rounds
are interleaved, and the medians over them count. Prints a table and, last, one line of JSON.

    ROUNDS  (default 5)
    ROWS    vectors made out of the real ones by adding noise (default: the real 100,000)
    FILTERS not empty: also searches among 50, 10 and 1 % of the vectors, for peers that can
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = int(os.environ.get("ROUNDS", "5"))
ROWS = os.environ.get("ROWS")
FILTERS = (50, 10, 1) if os.environ.get("FILTERS") else ()
RECALLS = (0.95, 0.99)
# What to install for a peer, by the beginning of its name.
PACKAGES = {"faiss": "faiss-cpu", "svs": "scalable-vs", "hnswlib": "hnswlib", "usearch": "usearch", "qdrant": "qdrant-edge-py", "zvec": "zvec"}
FASTEST = ["svs-f16", "faiss-ivfpqfs+r"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ragstone/peer-packages"


def main(data, peers):
    scripts = data.parent / "peers"
    environment = os.environ | {"PYTHONPATH": str(install(scripts / "requirements-ann.txt", peers))}
    with tempfile.TemporaryDirectory(prefix="ragstone-peers-") as folder:
        prepare(data / "ann", scripts, folder, environment)
        measured = {name: [] for name in ("ragstone", *peers)}
        for number in range(ROUNDS):
            measured["ragstone"].append(ours(folder))
            for peer in peers:
                command = [sys.executable, scripts / "peer_ann.py", "--dir", folder, "--tag", f".{number}", *([] if FILTERS else ["--quick"]), peer]
                subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
                measured[peer].append(theirs(Path(folder) / f"raw/{peer}.{number}.jsonl"))
    print_table({name: medians(rounds) for name, rounds in measured.items()})


def prepare(vectors, scripts, folder, environment):
    """What the peers' script reads: the vectors as float32, and the truth."""
    if ROWS:
        subprocess.run([sys.executable, scripts / "prepare.py", folder, ROWS], check=True, env=environment)
        return
    sys.path.insert(0, str(CACHE))
    import numpy as np

    np.save(f"{folder}/base.f32.npy", np.load(vectors / "base.f16.npy").astype(np.float32))
    for theirs, ours in {"queries.f32": "queries.f32", "labels": "labels", "gt": "gt", **{f"gtf{percent}": f"gt.filter{percent}" for percent in (50, 10, 1)}}.items():
        np.save(f"{folder}/{theirs}.npy", np.load(vectors / f"{ours}.npy"))


def install(requirements, peers):
    wanted = {package for name, package in PACKAGES.items() if any(peer.startswith(name) for peer in peers)} | {"numpy"}
    lines = [line for line in requirements.read_text(encoding="utf-8").split() if line.split("==")[0] in wanted]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", CACHE, "--upgrade", *lines], check=True)
    return CACHE


def ours(folder):
    command = [os.environ["RAGSTONE"], "bench", "index", "--rounds", "3", "--threads", "1,2", "--json"]
    command += ["--select", ",".join(str(percent) for percent in FILTERS)] if FILTERS else []
    command += ["--base", f"{folder}/base.f32.npy", "--queries", f"{folder}/queries.f32.npy", "--truth", f"{folder}/gt.npy"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    def selected(threads, percent):
        return [point for point in report["points"] if (point["threads"], point["selected"]) == (threads, percent)]

    points = {threads: selected(threads, 100) for threads in (1, 2)}
    figures = {f"qps{threads}@{recall}": at(points[threads], "recall_at_10", recall, "qps") for threads in (1, 2) for recall in RECALLS}
    figures |= {f"{name}@0.95": at(points[1], "recall_at_10", 0.95, name) for name in ("p50_us", "p99_us")}
    figures |= {f"qps1@0.99/{percent}%": at(selected(1, percent), "recall_at_10", 0.99, "qps") for percent in FILTERS}
    return figures | {"build_s": report["build_s"], "ram_mb": report["resident_mb"], "open_ms": report["open_ms"], "exact_ms": report["exact"]["ms"]}


def theirs(path):
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    points = [line for line in lines if line["kind"] == "ann"]
    figures = {f"qps{threads}@{recall}": at(points, "recall", recall, f"qps{threads}") for threads in (1, 2) for recall in RECALLS}
    figures |= {f"{name}@0.95": at(points, "recall", 0.95, name) for name in ("p50_us", "p99_us")}
    for percent in FILTERS:
        filtered = [line for line in lines if line["kind"] == f"filter{percent}" and "recall" in line]
        figures[f"qps1@0.99/{percent}%"] = at(filtered, "recall", 0.99, "qps1")
    info = {name: value for line in lines if line["kind"] == "info" for name, value in line.items()}
    return figures | {"build_s": info["build2_s"], "ram_mb": info["rss_mb"]}


def at(points, recall_name, recall, name):
    """A figure at a recall, between the two nearest points of the sweep (logarithms lie on a line)."""
    line = sorted((point[recall_name], point[name]) for point in points)
    if not line or line[-1][0] < recall:
        return None
    if line[0][0] >= recall:
        return line[0][1]
    for (low, a), (high, b) in zip(line, line[1:]):
        if low < recall <= high:
            return math.exp(math.log(a) + (math.log(b) - math.log(a)) * (recall - low) / (high - low))
    return None


def medians(rounds):
    names = dict.fromkeys(name for figures in rounds for name in figures)
    values = {name: [figures[name] for figures in rounds if figures.get(name) is not None] for name in names}
    return {name: statistics.median(found) for name, found in values.items() if found}


def print_table(measured):
    names = list(measured["ragstone"])
    print(f"{'':>16} " + " ".join(f"{name:>11}" for name in names))
    for who, figures in measured.items():
        print(f"{who:>16} " + " ".join(f"{figures[name]:>11,.1f}" if name in figures else f"{'-':>11}" for name in names))
    ratios = {}
    for name in names:
        others = [figures[name] for who, figures in measured.items() if who != "ragstone" and name in figures]
        if others:
            ratios[name] = measured["ragstone"][name] / (max(others) if name.startswith("qps") else min(others))
    print(f"{'to the best':>16} " + " ".join(f"{ratios[name]:>10.2f}×" if name in ratios else f"{'-':>11}" for name in names))
    print(json.dumps({"measured": measured, "ratios": ratios}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:] or FASTEST)
