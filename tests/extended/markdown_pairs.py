#!/usr/bin/env python3
"""Sources with a known good Markdown, through HTTP: the words of the extracted text are the expected ones.

    tests/extended/markdown_pairs.py DATA

Pairs: every DATA/documents/markitdown/*/tests/test_files/expected_outputs/NAME.md and the PDF of that
name. Compared are the bags of lower-case alphanumeric words: their F1 must be at least 0.95 on each
pair. An expectation without words is a scan: the document must fail as such. Then test files of
other formats, of which it is known what they say.
"""

import collections
import re
import sys
from pathlib import Path

from ragstone import Report, Server

F1_MIN = 0.95
SHOWN = 12

# What must stand in the text, and what must not.
CONTENTS = {
    "test.pptx": (
        [
            "2cdda5c8-e50e-4db4-b5f0-9722a649f455",
            "04191ea8-5c73-4215-a1d3-1cfb43aaaf12",
            "44bf7d06-5e7a-4a40-a2e1-a2e42ef28c8a",
            "1b92870d-e3b5-4e65-8153-919f4ff45592",
            "AutoGen: Enabling Next-Gen LLM Applications via Multi-Agent Conversation",
            "a3f6004b-6f4f-4ea8-bee3-3741f4dc385f",
            "| 2003 |",
            "![This phrase of the caption is Human-written.](Picture4.jpg)",
        ],
        ["base64", "PK\x03\x04"],
    ),
    "test.xlsx": (["## 09060124-b5e7-4717-9d07-3c046eb", "6ff4173b-42a5-4784-9b19-f49caff4d93d", "affc7dad-52dc-4b98-9b5d-51e65d8a8ad0"], ["NaN", "Unnamed"]),
    "test.xls": (["## 09060124-b5e7-4717-9d07-3c046eb", "6ff4173b-42a5-4784-9b19-f49caff4d93d", "affc7dad-52dc-4b98-9b5d-51e65d8a8ad0"], ["NaN", "Unnamed"]),
    "test.epub": (
        [
            "**Authors:** Test Author",
            "A test EPUB document for MarkItDown testing",
            "# Chapter 1: Test Content",
            "This is a **test** paragraph with some formatting",
            "A bullet point",
            "Another point",
            "# Chapter 2: More Content",
            "*different* style",
            "> This is a blockquote for testing",
        ],
        ["<p>", "xmlns"],
    ),
    "test_outlook_msg.msg": (
        ["# Test Email Message", "test.sender@example.com", "test.recipient@example.com", "This is the body of the test email message"],
        ["__substg1.0"],
    ),
    "test.docx": (
        [
            "314b0a30-5b04-470b-b9f7-eed2c2bec74a",
            "49e168b7-d2ae-407f-a055-2167576f39a1",
            "## d666f1f7-46cb-42bd-9a39-9a39cf2a509f",
            "# Abstract",
            "# Introduction",
            "AutoGen: Enabling Next-Gen LLM Applications via Multi-Agent Conversation",
        ],
        ["base64"],
    ),
    "test.pdf": (["While there is contemporaneous exploration of multi-agent approaches"], []),
}


def main(data):
    report = Report()
    folders = sorted((data / "documents").glob("markitdown/*/tests/test_files"))
    pairs = [(find(folder, path.stem), path) for folder in folders for path in sorted((folder / "expected_outputs").glob("*.md"))]
    with Server() as server:
        for source, path in pairs:
            compare(server, source, path.read_text(encoding="utf-8"), report)
        for folder in folders:
            for name in sorted(CONTENTS.keys() & {path.name for path in folder.iterdir()}):
                look(server, folder / name, *CONTENTS[name], report)
        report.none(server.complaints(), "no errors in the log")
    report.end()


def find(folder, stem):
    """The PDF of that name: where there are several formats, the expectation is that of the PDF."""
    return folder / f"{stem}.pdf"


def compare(server, source, expected, report):
    document = ingest(server, source)
    if not words(expected):
        said = f"{document['status']} {document.get('code', '')}"
        report.expect(said == "failed image_only", f"{source.name}: a scan without text: {said} ({document.get('reason', '')})")
        return
    text = text_of(server, document)
    score, missing, surplus = f1(words(expected), words(text))
    report.expect(score >= F1_MIN, f"{source.name}: F1 {score:.3f}")
    for what, bag in (("missing", missing), ("surplus", surplus)):
        if score < F1_MIN and bag:
            print(f"          {what}: {', '.join(f'{word} ×{count}' for word, count in bag.most_common(SHOWN))}")


def look(server, source, held, absent, report):
    text = text_of(server, ingest(server, source))
    report.none([fact for fact in held if fact not in text], f"{source.name}: says what it is known to say")
    report.none([noise for noise in absent if noise in text], f"{source.name}: nothing that a reader doesn't see")


def ingest(server, source):
    return server.upload("default", [(source.name, source.read_bytes())], external_id=source.name, wait=True)[0]


def text_of(server, document):
    if document["status"] != "ready":
        print(f"          {document['name']}: {document['status']} {document.get('reason', '')}")
        return ""
    return server.request("GET", f"/v1/collections/default/documents/{document['id']}/text").decode()


def words(text):
    return collections.Counter(re.findall(r"[^\W_]+", text.lower()))


def f1(expected, found):
    """With the words that are missing and those that are too many."""
    common = (expected & found).total()
    score = 2 * common / (expected.total() + found.total()) if common else 0.0
    return score, expected - found, found - expected


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
