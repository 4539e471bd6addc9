#!/usr/bin/env python3
"""From files to searchable: `ragstone ingest` beside sentence-transformers and chromadb, on the same abstracts.

    tests/extended/ingest_peer.py DATA

Every abstract of scifact-train is a text file. Ours starts a server for the time of the command and ends when
every document is durable and searchable, with the default configuration; the peers' script lies beside DATA
and needs chromadb and sentence-transformers, best in a folder that PYTHONPATH names. Prints both times and
their ratio.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ragstone import PROGRAM, ROOT, read_lines


def main(data):
    corpus = data / "retrieval/scifact-train/corpus.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        files.mkdir()
        for line in read_lines(corpus):
            (files / f"{line['_id']}.txt").write_text(f"{line['title']} {line['text']}".strip(), encoding="utf-8")
        command = [PROGRAM, "ingest", "--json", "--data-dir", Path(folder) / "data", files]
        environment = os.environ | {"RAGSTONE_MODELS_DIR": str(ROOT / "models")}
        ours = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout)
    print(json.dumps(ours, indent=2), flush=True)
    peer = [sys.executable, data.parent / "peers/peer_ingest.py", ROOT / "models/all-MiniLM-L6-v2", corpus]
    said = subprocess.run(peer, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(said)
    theirs = float(re.search(r"documents: ([0-9.]+) s", said)[1])
    print(f"{ours['ready']} documents: {ours['seconds']:.1f} s, the peer {theirs:.1f} s, ratio {theirs / ours['seconds']:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
