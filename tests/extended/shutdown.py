#!/usr/bin/env python3
"""SIGTERM with open streams and jobs under way: a last event for everybody, exit 0 in time, nothing lost.

    tests/extended/shutdown.py DATA

Fifty clients listen to job events while documents wait in the queue, and some upload in the very
moment. After the next start every document that was acknowledged becomes ready.
"""

import http.client
import os
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from ragstone import Refused, Report, Server, read_lines, until

STREAMS = 50
JOBS = 20
UPLOADERS = 4
END_S = 25.0
CONFIG = f'[embedding]\nmodel = "{os.environ.get("MODEL", "test-hash")}"\n[ingest]\nworkers = 1\n'


def main(data):
    report = Report()
    abstracts = [f"{line['title']}\n\n{line['text']}" for line in read_lines(data / "retrieval/scifact-train/corpus.jsonl")]
    with Server(CONFIG) as server:
        acknowledged = [upload(server, long_text(abstracts, number)) for number in range(JOBS)]
        listeners = [Listener(server.base, acknowledged[number % JOBS]["job_id"]) for number in range(STREAMS)]
        until(lambda: all(listener.has_begun() for listener in listeners), 60, "the streams")
        uploaders = [Uploader(server, abstracts[number::UPLOADERS]) for number in range(UPLOADERS)]
        until(lambda: all(uploader.acknowledged for uploader in uploaders), 60, "the uploads")
        waiting = server.backlog()
        began = time.monotonic()
        server.process.terminate()
        code = server.process.wait(60)
        seconds = time.monotonic() - began
        report.expect(code == 0 and seconds < END_S, f"with {STREAMS} streams and {waiting} jobs: exit {code} after {seconds:.1f} s")
        told = [listener.end() for listener in listeners]
        report.expect(all(told), f"{sum(told)} of {STREAMS} streams ended with a last event")
        for uploader in uploaders:
            uploader.thread.join(30)
            acknowledged += uploader.acknowledged
        server.start()
        until(lambda: server.backlog() == 0, 600, "the jobs")
        states = ended(server, [document["id"] for document in acknowledged])
        report.expect(set(states) == {"ready"}, f"all {len(states)} acknowledged documents became ready: {sorted(set(states))}")
        report.none(server.complaints(), "no errors in the log")
    report.end()


def long_text(abstracts, number):
    """Enough for a worker to be in the middle of it."""
    return f"{number}\n\n" + "\n\n".join(abstracts[number :: JOBS])


def upload(server, text):
    return server.post("/v1/collections/default/documents", {"text": text, "name": "report.md"})["documents"][0]


def ended(server, documents):
    """Their states, once search has followed the last commit."""

    def look():
        return [server.get(f"/v1/collections/default/documents/{document}")["status"] for document in documents]

    until(lambda: "indexing" not in look(), 60, "the views")
    return look()


class Uploader:
    """Uploads one small document after another until the server is gone."""

    def __init__(self, server, texts):
        self.server, self.texts, self.acknowledged = server, texts, []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for text in self.texts:
            try:
                self.acknowledged.append(upload(self.server, text))
            except (Refused, OSError, http.client.HTTPException):
                return


class Listener:
    """One open event stream."""

    def __init__(self, base, job):
        address = urlsplit(base)
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        self.connection.request("GET", f"/v1/jobs/{job}/events")
        self.heard = b""
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        answer = self.connection.getresponse()
        while piece := answer.read1(65536):
            self.heard += piece

    def has_begun(self):
        return b"event: progress" in self.heard or b"event: done" in self.heard

    def end(self):
        """Whether the stream is over and said why."""
        self.thread.join(30)
        last = self.heard.rsplit(b"event: ", 1)[-1]
        return not self.thread.is_alive() and (last.startswith(b"done") or b"shutting_down" in last)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
