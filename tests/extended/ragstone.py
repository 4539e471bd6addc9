"""A real server process for the extended checks, a small HTTP client for it, and a list of expectations.

The program is the one that the environment variable RAGSTONE names; data goes to a folder that is
removed at the end. Standard library only.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("RAGSTONE", str(ROOT / "target/release/ragstone"))
# Longer than any single request may take, so that a hang fails instead of hanging.
PATIENCE_S = 900


class Refused(Exception):
    """An answer other than 2xx."""

    def __init__(self, status, body, what):
        super().__init__(f"{what}: {status} {body[:500].decode(errors='replace')}")
        self.status = status
        try:
            self.problem = json.loads(body)
        except ValueError:
            self.problem = {}


class Server:
    """`ragstone serve` on a free port. As a context manager it stops and removes its data.

    `under` is a command that runs it (strace), `data` a folder that is copied and served, `at` where the
    data lies if it is not to lie in a temporary folder. One that has not said where it listens after
    `patience` seconds is killed. `log` says which events are logged.
    """

    def __init__(self, config="", under=(), data=None, at=None, patience=PATIENCE_S, log="info,request=warn"):
        self.under = list(under)
        self.patience = patience
        self.log = log
        self.temporary = tempfile.TemporaryDirectory(prefix="ragstone-extended-", ignore_cleanup_errors=True)
        self.folder = Path(self.temporary.name)
        self.log_path = self.folder / "log"
        if data is not None:
            shutil.copytree(data, self.folder / "data")
        if at is not None:
            (self.folder / "data").symlink_to(at)
        self.start(config)

    def start(self, config=None):
        """Starts the process and returns when it has named its port. `began` is the moment before exec."""
        if config is not None:
            (self.folder / "ragstone.toml").write_text(config, encoding="utf-8")
        command = [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--config", self.folder / "ragstone.toml", "--data-dir", self.folder / "data"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAGSTONE_")}
        environment |= {"RAGSTONE_MODELS_DIR": str(ROOT / "models"), "RAGSTONE_LOG": self.log}
        self.began = time.monotonic()
        self.process = subprocess.Popen(self.under + command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
        log = open(self.log_path, "a", encoding="utf-8")
        watch = threading.Timer(self.patience, self.kill)
        watch.start()
        for line in self.process.stderr:
            log.write(line)
            if found := re.search(r"listens on (http://[^\s\"]+)", line):
                watch.cancel()
                self.base = found[1]
                threading.Thread(target=drain, args=(self.process.stderr, log), daemon=True).start()
                return
        watch.cancel()
        log.close()
        raise RuntimeError(f"the server ended before it listened:\n{self.log_path.read_text(encoding='utf-8')}")

    def stop(self):
        """SIGTERM; the data stays."""
        self.process.terminate()
        self.process.wait(60)

    def kill(self):
        """kill -9, of what `under` runs too; the data stays."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split() if self.under else []
        for child in children:
            # It may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self.process.kill()
        self.process.wait(60)
        until(lambda: not any(is_alive(child) for child in children), 60, "the end of a killed server")

    def restart_after_kill(self, probe):
        """Seconds from exec to /readyz and to the first success of `probe`, after a kill -9."""
        self.kill()
        self.start()
        ready = self.first_success(lambda: self.get("/readyz"))
        return ready, self.first_success(probe)

    def first_success(self, probe):
        while time.monotonic() - self.began < 60:
            try:
                probe()
                return time.monotonic() - self.began
            except (Refused, OSError):
                time.sleep(0.002)
        raise RuntimeError("the server did not come back within 60 s")

    def resident_mib(self):
        """Memory of the process; mapped files count where they were read."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def complaints(self):
        """Lines of the log that no sound run has."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "panicked" in line or re.search(r"\bERROR\b", line)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        self.temporary.cleanup()

    def request(self, method, path, body=None, content_type=None):
        """The bytes of a successful answer; waits and asks again where the server says so."""
        headers = {"Content-Type": content_type} if content_type else {}
        while True:
            request = urllib.request.Request(self.base + path, data=body, headers=headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                    return answer.read()
            except urllib.error.HTTPError as error:
                content = error.read()
                if error.code not in (429, 503) or "Retry-After" not in error.headers:
                    raise Refused(error.code, content, f"{method} {path}") from None
                time.sleep(float(error.headers["Retry-After"]))

    def get(self, path):
        return json.loads(self.request("GET", path))

    def post(self, path, body):
        return json.loads(self.request("POST", path, json.dumps(body).encode(), "application/json"))

    def upload(self, collection, files, external_id=None, wait=False):
        """Files as (name, bytes) in one form; what the server says of each."""
        boundary = uuid.uuid4().hex
        parts = [(f'name="file"; filename="{name}"', content) for name, content in files]
        if external_id is not None:
            parts.insert(0, ('name="external_id"', external_id.encode()))
        body = b"".join(
            f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts
        )
        path = f"/v1/collections/{quote(collection)}/documents" + ("?wait=true" if wait else "")
        answer = self.request("POST", path, body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")
        return json.loads(answer)["documents"]

    def pages(self, path):
        """Every item of a list."""
        cursor = None
        while True:
            page = self.get(f"{path}?limit=1000" + (f"&cursor={quote(cursor)}" if cursor else ""))
            yield from page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def backlog(self):
        """Documents that wait or are being processed."""
        metrics = self.request("GET", "/metrics").decode()
        return float(re.search(r"^ragstone_ingest_backlog (\S+)$", metrics, re.MULTILINE)[1])


class Report:
    """Expectations, printed as they are looked at; `end` leaves with 1 if one was not met."""

    def __init__(self):
        self.failed = 0

    def expect(self, is_met, sentence):
        print(f"  {'ok    ' if is_met else 'FAILED'}  {sentence}", flush=True)
        self.failed += not is_met

    def none(self, faults, sentence, shown=20):
        """Expects an empty list; shows what is in it."""
        self.expect(not faults, f"{sentence}: {len(faults)}" if faults else sentence)
        for fault in faults[:shown]:
            print(f"          {fault}")

    def end(self):
        sys.exit(1 if self.failed else 0)


def is_alive(pid):
    """Whether the process still holds anything: a zombie whose threads are gone doesn't."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def drain(source, log):
    """A full pipe would stop the server."""
    with log:
        for line in source:
            log.write(line)
            log.flush()


def quote(text):
    return urllib.parse.quote(text, safe="")


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def until(is_true, seconds, what):
    """Looks until it is true; an error after so many seconds."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.1)
