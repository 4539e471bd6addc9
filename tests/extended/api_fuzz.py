#!/usr/bin/env python3
"""The OpenAPI document against the server: schemathesis makes requests of it, right and wrong ones.

    tests/extended/api_fuzz.py DATA

    EXAMPLES  requests made up for each operation and phase   (default: 25; the long run sets 1000)
    SEED      of the random numbers                            (default: 1)

No server error, no status, media type, header or shape that the document doesn't have, no wrong
request that is taken. Schemathesis goes into a folder of its own in the cache, like the packages of
tests/reference/requirements.txt.
"""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from ragstone import Report, Server

SCHEMATHESIS = "schemathesis==4.32.5"
EXAMPLES = os.environ.get("EXAMPLES", "25")
SEED = os.environ.get("SEED", "1")
PACKAGES = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ragstone" / SCHEMATHESIS.replace("==", "-")
RULES = Path(__file__).with_name("schemathesis.toml")
# Nothing waits longer, so that a made-up `wait=true` ends soon.
CONFIG = '[embedding]\nmodel = "test-hash"\n[server]\nwait_timeout_s = 5\nupload_bytes_max = 1048576\n'


def main():
    report = Report()
    install()
    with Server(CONFIG) as server:
        seed_data(server)
        began = subprocess.run(command(server), env=environment(), cwd=server.folder, check=False)
        report.expect(began.returncode == 0, f"schemathesis with {EXAMPLES} examples: exit {began.returncode}")
        report.expect(server.get("/readyz")["status"] == "ok", "the server is ready afterwards")
        report.none(server.complaints(), "no errors in the log")
    report.end()


def install():
    if not (PACKAGES / "schemathesis").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--upgrade", "--target", PACKAGES, SCHEMATHESIS], check=True)


def environment():
    return os.environ | {"PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}


def seed_data(server):
    """Something that made-up requests can find by the names that the document gives as examples."""
    server.post("/v1/collections", {"name": "handbooks"})
    body = {"text": "# Returns\n\nParcels can be returned within 30 days.", "name": "returns.md", "external_id": "returns"}
    server.post("/v1/collections/handbooks/documents?wait=true", body)


def command(server):
    document = server.folder / "openapi.json"
    with urllib.request.urlopen(f"{server.base}/openapi.json", timeout=60) as answer:
        document.write_bytes(answer.read())
    start = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file", RULES]
    run = [*start, "run", document, "--url", server.base]
    limits = ["--max-examples", EXAMPLES, "--seed", SEED, "--generation-database", "none", "--request-timeout", "30"]
    return [*map(str, run), *limits, "--checks", "all", "--mode", "all", "--suppress-health-check", "all", "--continue-on-failure"]


if __name__ == "__main__":
    main()
