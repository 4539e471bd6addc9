#!/usr/bin/env python3
"""Mails and archives through HTTP: every one ends for a true reason, and what is inside becomes documents.

    tests/extended/mail.py DATA

Files: DATA/documents/eml, markitdown's test_files.zip, and the containers of the hostile set. Whether a
mail holds text, and which files hang on it, is asked of Python's own mail parser.
"""

import email
import email.policy
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path

from ragstone import Refused, Report, Server, quote, until

CONFIG = '[embedding]\nmodel = "test-hash"\n'
DOCUMENTS = "/v1/collections/default/documents"
ENDS = ("ready", "failed", "cancelled")
END_S = 10
SHARE_MIN = 0.97
# Names that say nothing of a document's content, and what is no document.
NO_DOCUMENTS = {"ABOUT.md", "MIT-LICENSE", ".gitattributes"}
ZIP_FILES = ["test.docx", "test.jpg", "test.pptx", "test.xlsx", "test_blog.html", "test_serp.html", "test_wikipedia.html"]
# The ends that are right for the containers of the hostile set.
HOSTILE = {
    "mime-loop.eml": {"ready"},
    "header-bomb.eml": {"ready"},
    "bad-charset.eml": {"ready"},
    "path-traversal.zip": {"ready"},
    "nested-bomb.zip": {"ready"},
    "many-entries.zip": {"too_large"},
    "bomb.gz": {"too_large"},
}


def main(data):
    report = Report()
    with Server(CONFIG) as server:
        mails(server, data / "documents/eml", report)
        archive(server, next(data.glob("documents/markitdown/**/test_files.zip")), report)
        hostile(server, data / "documents/hostile/make_hostile.py", report)
        report.none(server.complaints(), "no errors in the log")
    report.end()


def mails(server, root, report):
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.name not in NO_DOCUMENTS)
    ends = {path: ingest(server, path, report) for path in paths}
    print("  not ready:")
    for path, end in ends.items():
        if end["status"] != "ready":
            print(f"    {path.relative_to(root)!s:<70} {end.get('code', end['status']):<12} {end.get('reason', '')}")
    holding = [path for path in paths if path.suffix == ".eml" and words(read(path))]
    ready = [path for path in holding if ends[path]["status"] == "ready"]
    report.expect(len(ready) >= SHARE_MIN * len(holding), f"mails with text that are ready: {len(ready)} of {len(holding)}")
    report.none([f"{path.name}: {end['status']}" for path, end in ends.items() if not is_true(end)], f"each of {len(paths)} files has a true end")
    attachments(server, root / "emails/attachment_emails", ends, report)


def ingest(server, path, report, external_id=None):
    """How a file and all that is inside it ended."""
    began = time.monotonic()
    try:
        end = server.upload("default", [(path.name, path.read_bytes())], external_id=external_id or str(path), wait=True)[0]
    except Refused as refused:
        return {"id": None, "status": "failed", "code": refused.problem.get("code", "?"), "reason": str(refused), "attachments": 0}
    seconds = time.monotonic() - began
    if seconds > END_S:
        report.expect(False, f"{path.name} took {seconds:.1f} s")
    return end


def is_true(end):
    return end["status"] == "ready" or (end["status"] == "failed" and len(end.get("reason", "")) > 10)


def read(path):
    return email.message_from_bytes(path.read_bytes(), policy=email.policy.compat32)


def words(mail):
    """Whether there is a word in a text of the mail that is no attachment."""
    texts = [part for part in mail.walk() if part.get_content_maintype() == "text" and not part.get_filename()]
    return any(byte > 0x40 for part in texts for byte in (part.get_payload(decode=True) or b""))


def attachments(server, folder, ends, report):
    """Files that hang on mails became documents with the mail as their parent."""
    total, faults = 0, []
    print("  attachments:")
    for path in sorted(folder.glob("*.eml")):
        end = ends[path]
        inside = children(server, end) if end["id"] else []
        total += len(inside)
        faults += [f"{path.name}: {child['name']}" for child in inside if not is_true(child)]
        for child in inside:
            print(f"    {child['name']:<80} {child['status']:<8} {child.get('code', '')}")
        faults += [f"{path.name}: {name} is missing" for name in names(read(path)) if not any(is_same(name, child["name"]) for child in inside)]
        if end["attachments"] != len(inside):
            faults.append(f"{path.name}: says {end['attachments']} attachments, there are {len(inside)}")
    report.expect(total > 0, f"attachments that became documents: {total}")
    report.none(faults, "every attachment that is declared as one is there and has ended")


def names(mail):
    """Plain names of declared attachments of the mail itself, not of mails inside it."""
    if mail.get_content_maintype() == "message":
        return []
    if mail.is_multipart():
        return [name for part in mail.get_payload() for name in names(part)]
    name = mail.get_filename()
    return [name] if name and name.isascii() and "=?" not in name and mail.get_content_disposition() == "attachment" else []


def is_same(name, document):
    return unicodedata.normalize("NFC", document).endswith("/" + name.replace("\\", "/").split("/")[-1])


def children(server, parent):
    return list(server.get(f"{DOCUMENTS}?parent_id={quote(parent['id'])}&limit=1000")["data"])


def archive(server, path, report):
    end = ingest(server, path, report)
    inside = children(server, end)
    found = sorted(child["name"].removeprefix("test_files.zip/") for child in inside)
    report.expect(found == ZIP_FILES, f"test_files.zip brings its {len(ZIP_FILES)} files: {found}")
    report.none([child["name"] for child in inside if not is_true(child)], "and each has a true end")
    ready = [child["name"] for child in inside if child["status"] == "ready"]
    report.expect(len(ready) >= 4, f"its documents are ready: {ready}")


def hostile(server, script, report):
    with tempfile.TemporaryDirectory(prefix="ragstone-hostile-") as folder:
        subprocess.run([sys.executable, script, folder], check=True, capture_output=True, timeout=600)
        for name, right in HOSTILE.items():
            began = time.monotonic()
            server.upload("default", [(name, (Path(folder) / name).read_bytes())], external_id=name)
            until(lambda name=name: document(server, name)["status"] in ENDS, 60, name)
            seconds, end = time.monotonic() - began, document(server, name)
            said = "ready" if end["status"] == "ready" else end.get("code")
            # What is inside has its own turn: the next file is not made to wait for it.
            until(lambda: server.backlog() == 0, 300, f"the end of all that is inside {name}")
            all_s = time.monotonic() - began
            report.expect(said in right and seconds < END_S, f"{name}: {said} after {seconds:.1f} s, all inside after {all_s:.1f} s {end.get('reason', '')}")
    inside = [one for name in HOSTILE for child in children(server, document(server, name)) for one in [child, *children(server, child)]]
    report.none([f"{one['name']}: {one['status']}" for one in inside if one["status"] not in ENDS], f"all {len(inside)} inside have ended")
    text = server.request("GET", f"{DOCUMENTS}/mime-loop.eml/text").decode()
    report.expect("needle-deep-mime" in text, "the words below 3,000 multiparts are there")
    report.expect(not Path("/tmp/evil-traversal.txt").exists(), "nothing was unpacked to where its name points")
    receipt = server.request("DELETE", f"{DOCUMENTS}/nested-bomb.zip").decode()
    print(f"  {receipt}")


def document(server, name):
    return server.get(f"{DOCUMENTS}/{quote(name)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
