#!/usr/bin/env python3
"""A folder of small seeds for each kind of file: what there is of it in DATA and in the fixtures, and one made here.

    tests/extended/fuzz_seeds.py DATA OUT
"""

import gzip
import shutil
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Files of a kind: many small tries find more than few large ones.
FILES_MAX = 60
OFFICE = "urn:oasis:names:tc:opendocument:xmlns"
NAMESPACES = " ".join(f'xmlns:{name}="{OFFICE}:{path}:1.0"' for name, path in (("office", "office"), ("table", "table"), ("text", "text"), ("draw", "drawing")))
TABLE = '<table:table table:name="S"><table:table-row table:number-rows-repeated="3"><table:table-cell table:number-columns-repeated="2"><text:p>x</text:p></table:table-cell></table:table-row></table:table>'
SLIDE = '<draw:page draw:name="one"><draw:frame><draw:text-box><text:p>Slide</text:p><text:list><text:list-item><text:p>i</text:p></text:list-item></text:list></draw:text-box></draw:frame></draw:page>'
MADE = {
    "a.srt": "1\n00:00:01,000 --> 00:00:04,000\n<i>Hello</i> there\n\n2\n00:00:05,000 --> 00:00:08,000\nand bye\n",
    "a.vtt": "WEBVTT\n\nNOTE x\n\n00:01.000 --> 00:04.000 align:start\n<v Ann>Hello\n\nid\n00:05.000 --> 00:08.000\nBye\n",
    "a.yaml": "a: 1\nb:\n  - x\n  - {y: z, w: [1, 2]}\nc: |\n  long\n  text\n---\nd: &a e\nf: *a\n",
    "a.toml": 'title = "x"\n[a.b]\nc = [1, 2]\nd = 1979-05-27T07:32:00Z\n[[e]]\nf = {g = "h"}\n',
    "a.tex": "\\documentclass{article}\\title{T}\\begin{document}\\section{One}Text $x^2$ \\emph{it}\\begin{itemize}\\item a\\end{itemize}\\begin{tabular}{ll}a&b\\\\c&d\\end{tabular}\\end{document}",
    "a.rss": '<rss version="2.0"><channel><title>T</title><item><title>I</title><description>&lt;p&gt;x&lt;/p&gt;</description></item></channel></rss>',
    "a.atom": '<feed xmlns="http://www.w3.org/2005/Atom"><title>T</title><entry><title>E</title><content type="html">&lt;b&gt;x&lt;/b&gt;</content></entry></feed>',
    "a.tsv": "a\tb\n1\t2\n3\t4\n",
    "a.rs": "//! Doc.\n\n/// Says hello.\npub fn hello() -> &'static str {\n    \"hello\"\n}\n",
    "a.gz": gzip.compress(b"hello text " * 50),
}


def main(data, out):
    by_kind = {}
    folders = [folder for folder in (data / "documents").iterdir() if folder.is_dir() and folder.name != "hostile"]
    for folder in [*folders, ROOT / "tests/fixtures"]:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix:
                by_kind.setdefault(path.suffix[1:].lower(), []).append(path)
    for kind, paths in by_kind.items():
        if kind.isalnum():
            (out / kind).mkdir(exist_ok=True)
            for number, path in enumerate(paths[:FILES_MAX]):
                shutil.copy(path, out / kind / f"{number}-{path.name}")
    for name, content in MADE.items():
        write(out, name, content if isinstance(content, bytes) else content.encode())
    for name, kind, body in (("a.ods", "spreadsheet", TABLE), ("a.odp", "presentation", SLIDE)):
        folder = out / name.split(".")[1]
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{kind}")
            archive.writestr("content.xml", f"<office:document-content {NAMESPACES}><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>")


def write(out, name, content):
    folder = out / name.split(".")[1]
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
