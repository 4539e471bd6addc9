#!/usr/bin/env python3
"""The local encoder beside PyTorch and ONNX Runtime, on the same texts in the same run, and the ratios.

    tests/extended/embed_peers.py DATA

Needs torch, transformers, onnxruntime and onnx, best in a folder that PYTHONPATH names; the graphs are
exported once, with the peers' script beside DATA. Rounds are interleaved, and the medians over them count:
`ragstone bench embed`, then each peer at the same shapes and, for ONNX Runtime in 8 bits, over the same
real texts in batches of 32 padded to their longest. Prints a table and, last, one line of JSON.

    ROUNDS   (default 3)
    THREADS  (default: all cores)
    PEERS    (default "onnx-int8 torch-f32"; also onnx-f32, torch-bf16)
    WORK     keeps the exported graphs (default: a folder in the cache)
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ragstone import PROGRAM, ROOT, read_lines

ROUNDS = int(os.environ.get("ROUNDS", "3"))
THREADS = int(os.environ.get("THREADS", os.cpu_count()))
PEERS = os.environ.get("PEERS", "onnx-int8 torch-f32").split()
WORK = Path(os.environ.get("WORK", Path.home() / ".cache/ragstone/onnx-peers"))
MODEL = ROOT / "models/all-MiniLM-L6-v2"
TOKENS_MAX = 256
BATCH = 32
WATCHED_S = 2


def main(data):
    corpus = data / "retrieval/scifact-train/corpus.jsonl"
    texts = [f"{line['title']} {line['text']}".strip() for line in read_lines(corpus)][:2000]
    export(data.parent / "peers/peer_embed.py")
    peers = {name: open_peer(name) for name in PEERS}
    rounds = []
    for _ in range(ROUNDS):
        figures = {"ragstone": ours(corpus)}
        shapes = [(shape["tokens"], shape["batch"]) for shape in figures["ragstone"]["shapes"]]
        for name, run in peers.items():
            figures[name] = {"shapes": [{"median_ms": shape_ms(run, *shape)} for shape in shapes]}
            if name == "onnx-int8":
                figures[name]["real"] = {"seconds": real_s(run, texts)}
        rounds.append(figures)
    print_table(rounds, shapes)


def export(script):
    """The graphs that the peers' script makes before it measures."""
    WORK.mkdir(parents=True, exist_ok=True)
    if not (WORK / "minilm.int8.onnx").exists():
        subprocess.run([sys.executable, script, MODEL, WORK], check=True, stdout=sys.stderr)


def ours(corpus):
    command = [PROGRAM, "bench", "embed", "--json", "--threads", str(THREADS), "--texts", corpus, "--texts-max", "2000"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def open_peer(name):
    """A function of input ids and attention mask, both [batch, length]."""
    import numpy as np

    if name.startswith("onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        graph = WORK / ("minilm.int8.onnx" if name == "onnx-int8" else "minilm.onnx")
        session = onnxruntime.InferenceSession(str(graph), options)
        return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})[0]
    import torch
    from transformers import AutoModel

    torch.set_num_threads(THREADS)
    model = AutoModel.from_pretrained(MODEL).eval()

    def run(ids, mask):
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "torch-bf16"):
            return model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state

    return run


def shape_ms(run, tokens, batch):
    import numpy as np

    ids = np.random.default_rng(7).integers(1000, 20000, (batch, tokens))
    mask = np.ones_like(ids)
    run(ids, mask)
    times, began = [], time.perf_counter()
    while len(times) < 9 or time.perf_counter() - began < WATCHED_S:
        start = time.perf_counter()
        run(ids, mask)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def real_s(run, texts):
    """Tokenization, the model, the mean over tokens and the length 1."""
    import numpy as np
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS_MAX)
    tokenizer.enable_padding()
    start = time.perf_counter()
    for first in range(0, len(texts), BATCH):
        encoded = tokenizer.encode_batch(texts[first : first + BATCH])
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        states = run(ids, mask)
        mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    return time.perf_counter() - start


def print_table(rounds, shapes):
    def median(name, of):
        return statistics.median(of(figures[name]) for figures in rounds)

    def ratio(name, of):
        return statistics.median(of(figures[name]) / of(figures["ragstone"]) for figures in rounds)

    rows = {f"{tokens} tokens x {batch}, ms": (lambda figures, at=at: figures["shapes"][at]["median_ms"]) for at, (tokens, batch) in enumerate(shapes)}
    rows["2,000 real texts, s"] = lambda figures: figures["real"]["seconds"]
    result = {}
    print(f"{'':<24} {'ragstone':>10}" + "".join(f" {name:>10} {'ratio':>6}" for name in PEERS))
    for row, of in rows.items():
        there = [name for name in PEERS if name == "onnx-int8" or "real" not in row]
        result[row] = {"ragstone": median("ragstone", of), **{name: {"median": median(name, of), "ratio": ratio(name, of)} for name in there}}
        cells = "".join(f" {result[row][name]['median']:>10.2f} {result[row][name]['ratio']:>6.2f}" if name in there else " " * 18 for name in PEERS)
        print(f"{row:<24} {result[row]['ragstone']:>10.2f}{cells}")
    last = rounds[-1]["ragstone"]
    print(json.dumps({"rounds": ROUNDS, "threads": THREADS, "fidelity": last["fidelity"], "int8_peak_gops": last["int8_peak_gops"], "rows": result}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
