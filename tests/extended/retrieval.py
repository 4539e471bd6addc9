#!/usr/bin/env python3
"""Retrieval figures through the API, against a computation by other means, and recall of the graph.

    tests/extended/retrieval.py DATA [--reference recorded|run] [--sets scifact-train,hotpotqa-100]

For each set `ragstone eval retrieval` fills a server with its default chunking and measures the three
modes. Hybrid must beat both of its parts (on scifact-train), and exact vector search must agree with
tests/reference/exact_ndcg.py on the same chunks. That program takes long on a large set: its figures
are kept in reference.json with the hash of the chunks they belong to, and `--reference run` makes them
anew. Small sets are always computed. It needs tests/reference/requirements.txt.
Then the server is killed and must be back on this data in time, with the real model. At last it starts
with engine hnsw_rs on the data of scifact-train, and the recall of its graph is measured.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ragstone import PROGRAM, ROOT, Report, Server, read_lines, until

JUDGED = "scifact-train"
NDCG_TOLERANCE = 0.003
SMALL_DOCUMENTS = 1000
BACK_S = 2.0
RECALL_MIN = 0.95
EF_DEFAULT = 64
# Rows up to which the engine scans instead, being faster so: ef * m * HOP_COST of crates/index/src/vector/graph.rs.
SCANNED_ROWS_PER_EF = 16 * 6
QUERIES_MAX = 1000
RECORDED = Path(__file__).parent / "reference.json"
EXACT = "tests/reference/exact_ndcg.py"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--reference", choices=["recorded", "run"], default="recorded")
    parser.add_argument("--sets", type=lambda names: names.split(","), default=[JUDGED, "hotpotqa-100"])
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="ragstone-chunks-") as dumps, Server() as server:
        for name in arguments.sets:
            folder = arguments.data.resolve() / "retrieval" / name
            dump = Path(dumps) / f"{name}.chunks.jsonl"
            modes = measure(server, folder, dump, report)
            compare(folder, dump, modes["vector"]["ndcg_at_10"], arguments.reference, report)
        restart(server, arguments.sets[0], report)
        if JUDGED in arguments.sets:
            server.stop()
            server.start('[index]\nengine = "hnsw_rs"\n')
            graph_recall(server, arguments.data.resolve() / "retrieval" / JUDGED, report)
        report.none(server.complaints(), "no errors in the log")
    report.end()


def measure(server, folder, dump, report):
    """Prints and returns the figures of each mode."""
    began = time.monotonic()
    command = [PROGRAM, "eval", "retrieval", folder, "--exact", "--json", "--dump-chunks", dump.parent, "--server", server.base]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured = json.loads(done.stdout)["sets"][0]
    chunks = server.get(f"/v1/collections/eval-{folder.name}")["stats"]["chunks"]
    print(f"\n  {folder.name}: {measured['documents']} documents, {chunks} chunks, {measured['queries']} queries, {time.monotonic() - began:.0f} s")
    print(f"    {'mode':<8} {'nDCG@10':>8} {'recall@10':>10} {'MRR@10':>8}")
    modes = measured["modes"]
    for mode, figures in modes.items():
        print(f"    {mode:<8} {figures['ndcg_at_10']:>8.4f} {figures['recall_at_10']:>10.4f} {figures['mrr_at_10']:>8.4f}")
    dumped = len(read_lines(dump))
    report.expect(dumped == chunks, f"chunks written for the reference: {dumped} of {chunks}")
    if folder.name == JUDGED:
        for part in ("lexical", "vector"):
            report.expect(modes["hybrid"]["ndcg_at_10"] > modes[part]["ndcg_at_10"], f"hybrid beats {part} in nDCG@10")
    return modes


def compare(folder, dump, ndcg, how, report):
    """The server's exact vector search against the reference encoder on the same chunks."""
    digest = hashlib.sha256(dump.read_bytes()).hexdigest()
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    is_small = len(read_lines(folder / "corpus.jsonl")) < SMALL_DOCUMENTS
    if is_small or how == "run":
        began = time.monotonic()
        reference = compute(folder, dump)
        print(f"    reference computed in {time.monotonic() - began:.0f} s")
        if not is_small:
            recorded[folder.name] = record(folder, digest, reference)
            RECORDED.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
    else:
        reference = recorded.get(folder.name, {})
        is_current = reference.get("chunks_sha256") == digest
        report.expect(is_current, f"the recorded reference is of these chunks (sha256 {digest[:12]}…); if not: retrieval.py DATA --reference run")
        if not is_current:
            return
    print(f"    reference nDCG@10 {reference['ndcg_at_10']:.4f}, recall@10 {reference['recall_at_10']:.4f}, MRR@10 {reference['mrr_at_10']:.4f}")
    difference = abs(ndcg - reference["ndcg_at_10"])
    report.expect(difference <= NDCG_TOLERANCE, f"exact vector nDCG@10 differs from the reference by {difference:.5f}, at most {NDCG_TOLERANCE}")


def compute(folder, dump):
    command = [sys.executable, ROOT / EXACT, dump, folder / "queries.jsonl", folder / "qrels.tsv"]
    # A long run keeps its vectors, so that a second one over nearly the same chunks is short.
    if cache := os.environ.get("REFERENCE_CACHE"):
        command += ["--cache", cache]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout)


def record(folder, digest, reference):
    names = f"{folder.name}.chunks.jsonl {folder.name}/queries.jsonl {folder.name}/qrels.tsv"
    return {"command": f"{EXACT} {names}", "chunks_sha256": digest, **reference}


def restart(server, name, report):
    """kill -9, then the time to the first search, the model's loading included."""
    search = lambda: server.post(f"/v1/collections/eval-{name}/search", {"query": "white matter"})["hits"][0]
    ready, searched = server.restart_after_kill(search)
    print(f"\n  {name} after kill -9: /readyz after {ready:.3f} s, first search after {searched:.3f} s")
    report.expect(searched < BACK_S, f"back within {BACK_S} s with the real model")


def graph_recall(server, folder, report):
    collection = f"eval-{folder.name}"

    def vector():
        return server.get(f"/v1/collections/{collection}")["stats"]["vector"]

    began = time.monotonic()
    # The last rows wait outside the graph, scanned exactly, until there are enough of them to link.
    until(lambda: not (now := vector())["building"] and now["rows_in_graph"] >= 0.85 * now["rows"], 600, "building the graph")
    stats = vector()
    print(f"\n  {folder.name}: {stats['engine']} with {stats['rows_in_graph']} of {stats['rows']} rows, built in at most {time.monotonic() - began:.1f} s")
    queries = [query["text"] for query in read_lines(folder / "queries.jsonl")][:QUERIES_MAX]
    body = {"collection": collection, "k": 10, "queries": queries, "ef": [16, 32, EF_DEFAULT, 128, 256]}
    path = f"/v1/benchmarks/{server.post('/v1/benchmarks', body)['id']}"
    until(lambda: server.get(path)["status"] != "running", 600, "the benchmark")
    benchmark = server.get(path)
    report.expect(benchmark["status"] == "succeeded", f"the benchmark with {len(queries)} queries {benchmark['status']} {benchmark['reason'] or ''}")
    print(f"    {'ef':>8} {'recall@10':>10} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'queries/s':>10}")
    for point in benchmark["points"] or []:
        is_scanned = point["exact"] or point["ef"] * SCANNED_ROWS_PER_EF > stats["rows"]
        name = "exact" if point["exact"] else f"{point['ef']}{' scan' if is_scanned else ''}"
        print(f"    {name:>8} {point['recall']:>10.4f} {point['p50_ms']:>8.3f} {point['p95_ms']:>8.3f} {point['p99_ms']:>8.3f} {point['qps']:>10.0f}")
    recall = next((point["recall"] for point in benchmark["points"] or [] if point["ef"] == EF_DEFAULT), 0)
    report.expect(stats["rows"] > EF_DEFAULT * SCANNED_ROWS_PER_EF, f"{stats['rows']} rows are enough for the graph to be searched at ef {EF_DEFAULT}")
    report.expect(stats["engine"] == "hnsw_rs" and stats["unreachable"] == 0, f"the graph serves, unreachable rows: {stats['unreachable']}")
    report.expect(recall >= RECALL_MIN, f"recall@10 at ef {EF_DEFAULT}: {recall:.4f}, at least {RECALL_MIN}")


if __name__ == "__main__":
    main()
