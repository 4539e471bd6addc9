#!/usr/bin/env python3
"""Exact retrieval figures with the reference encoder: what the server's vector search must reach.

    tests/reference/exact_ndcg.py CHUNKS_JSONL QUERIES_JSONL QRELS_TSV --cache vectors.npz

CHUNKS_JSONL: {"document", "text"} a line, the chunks as the server cut them.
QUERIES_JSONL: {"_id", "text"} a line (BEIR). QRELS_TSV: query-id, corpus-id, score, with a header (BEIR).
A document scores by its best chunk; ties are broken by id. Prints one JSON object. Linear gain,
discount log2(rank + 1), means over the queries that have a relevant document.
"""

import argparse
import csv
import functools
import hashlib
import json
import math
import multiprocessing
import sys
from pathlib import Path

import minilm
import numpy as np

DEPTH = 10
PROCESSES = 2
SHARE = 128


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chunks", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("qrels", type=Path)
    parser.add_argument("--cache", type=Path, help="npz that keeps embeddings between runs")
    parser.add_argument("--model", help="a model of models/manifest.toml (default: its default)")
    arguments = parser.parse_args()
    relevant = read_qrels(arguments.qrels)
    queries = [query for query in read_lines(arguments.queries) if query["_id"] in relevant]
    chunks = read_lines(arguments.chunks)
    encoder = Cached(arguments.model, arguments.cache)
    chunk_vectors = encoder.embed([chunk["text"] for chunk in chunks], "document")
    query_vectors = encoder.embed([query["text"] for query in queries], "query")
    documents = sorted({chunk["document"] for chunk in chunks})
    place = {document: index for index, document in enumerate(documents)}
    places = np.array([place[chunk["document"]] for chunk in chunks])
    figures = []
    for query, vector in zip(queries, query_vectors):
        scores = np.full(len(documents), -np.inf, np.float32)
        np.maximum.at(scores, places, chunk_vectors @ vector)
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        figures.append(measure([documents[index] for index in best], relevant[query["_id"]]))
    means = {name: float(np.mean([figure[name] for figure in figures])) for name in figures[0]}
    print(json.dumps({"documents": len(documents), "chunks": len(chunks), "queries": len(queries), **means}))


class Cached:
    """The encoder with its vectors kept in a file, by text, purpose and model."""

    def __init__(self, model, path):
        self.encoder = minilm.Encoder(model)
        self.path = path
        self.known = {}
        if path and path.exists():
            with np.load(path) as stored:
                self.known = dict(zip(stored["keys"].tolist(), stored["vectors"]))

    def embed(self, texts, purpose):
        name = self.encoder.entry["name"]
        keys = [hashlib.sha256(f"{name}\0{purpose}\0{text}".encode()).hexdigest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts) if key not in self.known}
        if missing:
            self.known.update(zip(missing, self.embed_in_processes(list(missing.values()), purpose)))
            if self.path:
                np.savez(self.path, keys=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))
        return np.stack([self.known[key] for key in keys])

    def embed_in_processes(self, texts, purpose):
        """Shares of neighbouring lengths, so that a batch pads little; two processes."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        shares = [order[start : start + SHARE] for start in range(0, len(order), SHARE)]
        vectors = np.zeros((len(texts), self.encoder.entry["dimension"]), np.float32)
        work = [(self.encoder.entry["name"], [texts[place] for place in share], purpose) for share in shares]
        with multiprocessing.Pool(PROCESSES) as pool:
            for done, (share, part) in enumerate(zip(shares, pool.imap(embed_share, work)), 1):
                vectors[share] = part
                print(f"embedded share {done:,} of {len(shares):,}", file=sys.stderr, flush=True)
        return vectors


@functools.cache
def encoder_of(model):
    return minilm.Encoder(model)


def embed_share(work):
    model, texts, purpose = work
    return encoder_of(model).embed(texts, purpose)


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_qrels(path):
    """Gain by document by query; only positive ones."""
    relevant = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in list(csv.reader(file, delimiter="\t"))[1:]:
            if len(row) >= 3 and float(row[2]) > 0:
                relevant.setdefault(row[0], {})[row[1]] = float(row[2])
    return relevant


def measure(ranked, gains):
    """nDCG, recall and reciprocal rank at DEPTH for one query."""
    def discounted(values):
        return sum(value / math.log2(rank + 2) for rank, value in enumerate(values))

    hits = [rank for rank, document in enumerate(ranked) if document in gains]
    ideal = sorted(gains.values(), reverse=True)[:DEPTH]
    return {
        "ndcg_at_10": discounted([gains.get(document, 0.0) for document in ranked]) / discounted(ideal),
        "recall_at_10": len(hits) / len(gains),
        "mrr_at_10": 1 / (hits[0] + 1) if hits else 0.0,
    }


if __name__ == "__main__":
    main()
