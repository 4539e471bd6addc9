#!/usr/bin/env python3
"""A plain numpy BERT encoder, written apart from the Rust one, to check it against.

As a program: JSON strings, one a line, on stdin; one JSON object a line on stdout:
{"text", "tokens", "truncated", "vector"}. With --goldens: the fixture of the Rust tests.

    pip install -r tests/reference/requirements.txt
    models/pull
    tests/reference/minilm.py --goldens > tests/fixtures/minilm_goldens.json

It pads and masks, computes in f32 and takes no short cut that the Rust encoder takes.
"""

import argparse
import json
import math
import os
import struct
import sys
import tomllib
from pathlib import Path

# One BLAS thread a process: its threads cost more than they bring at these matrix sizes.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from tokenizers import Tokenizer

MODELS = Path(__file__).resolve().parents[2] / "models"
BATCH_TOKENS = 1024

GOLDEN_TEXTS = [
    "Granite is an intrusive igneous rock.",
    "",
    "?!… — (;) #$% ***",
    "The quick brown fox jumps over the lazy dog, and then it does it again because nobody was looking the first time.",
    "石头很硬，但是水滴石穿。",
    "Café naïveté, ÅNGSTRÖM, straße: accents and capitals are folded.",
    "fn main() { println!(\"{}\", 0xFF_u8 as f64 / 3.0); }",
    "Antidisestablishmentarianism and pneumonoultramicroscopicsilicovolcanoconiosis",
    "emoji 🙂 and rare 𒀀 signs\tand\ncontrol\u0007characters",
    "a",
    "Sediment is carried by rivers, laid down in layers, buried, pressed and cemented; millions of years later it is "
    "sandstone, shale or limestone, and the fossils in it tell the age of each bed. " * 3,
    "A long text loses its end. " * 60,
    "1999-12-31T23:59:59Z costs 3,141.59 € (≈ $3.4k) at 50%",
]


class Encoder:
    """One model folder of models/, as its manifest entry describes it."""

    def __init__(self, name=None):
        manifest = tomllib.loads((MODELS / "manifest.toml").read_text(encoding="utf-8"))
        self.entry = next(m for m in manifest["model"] if m["name"] == (name or manifest["default"]))
        folder = MODELS / self.entry["name"]
        if not folder.is_dir():
            sys.exit(f"{folder} is missing: run models/pull {self.entry['name']}")
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.weights = read_safetensors(folder / "model.safetensors")

    def tokenise(self, text, purpose="document"):
        """Ids cut to the model's length, and the length of the whole."""
        ids = self.tokenizer.encode(self.entry.get(f"{purpose}_prefix", "") + text).ids
        most = self.entry["max_tokens"]
        return (ids if len(ids) <= most else ids[: most - 1] + ids[-1:]), len(ids)

    def embed(self, texts, purpose="document"):
        """Unit vectors, one row a text. Batches hold texts of similar length."""
        ids = [self.tokenise(text, purpose)[0] for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(ids[i]))
        vectors = np.zeros((len(texts), self.entry["dimension"]), np.float32)
        while order:
            count = max(1, BATCH_TOKENS // len(ids[order[-1]]))
            batch, order = order[-count:], order[:-count]
            vectors[batch] = self.forward([ids[i] for i in batch])
        return vectors

    def forward(self, ids):
        longest = max(map(len, ids))
        padded = np.array([row + [0] * (longest - len(row)) for row in ids])
        mask = np.array([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in ids], np.float32)
        w, config = self.weights, self.config
        x = w["embeddings.word_embeddings.weight"][padded]
        x = x + w["embeddings.position_embeddings.weight"][:longest] + w["embeddings.token_type_embeddings.weight"][0]
        x = self.layer_norm(x, "embeddings.LayerNorm")
        for layer in range(config["num_hidden_layers"]):
            x = self.block(x, mask, f"encoder.layer.{layer}.")
        if self.entry["pooling"] == "cls":
            pooled = x[:, 0]
        else:
            pooled = (x * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def block(self, x, mask, prefix):
        batch, length, hidden = x.shape
        heads = self.config["num_attention_heads"]

        def split(name):
            projected = self.dense(x, f"{prefix}attention.self.{name}")
            return projected.reshape(batch, length, heads, hidden // heads).transpose(0, 2, 1, 3)

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(hidden // heads))
        scores = scores + (1.0 - mask)[:, None, None, :] * np.float32(-1e9)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(batch, length, hidden)
        x = self.layer_norm(x + self.dense(mixed, f"{prefix}attention.output.dense"), f"{prefix}attention.output.LayerNorm")
        wide = gelu(self.dense(x, f"{prefix}intermediate.dense"))
        return self.layer_norm(x + self.dense(wide, f"{prefix}output.dense"), f"{prefix}output.LayerNorm")

    def dense(self, x, name):
        flat = x.reshape(-1, x.shape[-1]) @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def layer_norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(self.config["layer_norm_eps"]))
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


# Values of x·Φ(x) at steps of 1/8192 over [-8, 8] from the C library's erf in f64, interpolated:
# numpy has no erf, and a polynomial could share its fault with the encoder under test.
GELU_STEPS = 8192
GELU_GRID = np.arange(-8 * GELU_STEPS, 8 * GELU_STEPS + 1) / GELU_STEPS
GELU_TABLE = np.array([0.5 * x * math.erfc(-x / math.sqrt(2)) for x in GELU_GRID])
GELU_RISE = np.diff(GELU_TABLE, append=8 + 1 / GELU_STEPS).astype(np.float32)
GELU_TABLE = GELU_TABLE.astype(np.float32)


def gelu(x):
    scaled = np.clip(x, -8, 8) * np.float32(GELU_STEPS)
    index = np.floor(scaled)
    scaled -= index
    index = index.astype(np.int32) + 8 * GELU_STEPS
    inside = GELU_TABLE.take(index) + GELU_RISE.take(index) * scaled
    return inside + np.maximum(x - 8, 0)


def read_safetensors(path):
    """All f32 tensors of the file; the names without a leading `bert.`."""
    blob = path.read_bytes()
    (size,) = struct.unpack("<Q", blob[:8])
    tensors = {}
    for name, info in json.loads(blob[8 : 8 + size]).items():
        if name != "__metadata__" and info["dtype"] == "F32":
            begin, end = info["data_offsets"]
            data = np.frombuffer(blob, np.float32, (end - begin) // 4, 8 + size + begin)
            tensors[name.removeprefix("bert.")] = data.reshape(info["shape"])
    return tensors


def main():
    parser = argparse.ArgumentParser(description="Embed JSON strings (one a line) with a plain numpy encoder.")
    parser.add_argument("--model", help="a model of models/manifest.toml (default: its default)")
    parser.add_argument("--purpose", choices=["query", "document"], default="document")
    parser.add_argument("--goldens", action="store_true", help="embed the fixed texts of the Rust tests, print one JSON list")
    arguments = parser.parse_args()
    encoder = Encoder(arguments.model)
    texts = GOLDEN_TEXTS if arguments.goldens else [json.loads(line) for line in sys.stdin if line.strip()]
    records = []
    for text, vector in zip(texts, encoder.embed(texts, arguments.purpose)):
        ids, whole = encoder.tokenise(text, arguments.purpose)
        rounded = [round(float(component), 6) for component in vector]
        records.append(json.dumps({"text": text, "tokens": whole, "truncated": whole > len(ids), "vector": rounded}, ensure_ascii=False))
    if arguments.goldens:
        print("[\n" + ",\n".join(records) + "\n]")
    else:
        print("\n".join(records))


if __name__ == "__main__":
    main()
