#!/usr/bin/env python3
"""What the gateway adds to an answer, beside what LiteLLM's proxy adds, over one scripted provider in one run.

    tests/extended/gateway_overhead.py [DATA]

The same load (`ragstone bench chat`: open, counted from when a request was due) goes straight to the provider, through
Ragstone and through LiteLLM, in turns; the overhead is the difference of the percentiles, its median over the rounds.
Then many requests go through Ragstone, and its memory is looked at before and after. LiteLLM is installed into a folder
in the cache if it is not there; without pip it is left out, loudly. Both log warnings only. DATA is not read.

    ROUNDS       (default 2; long 5)
    SECONDS_EACH of each measurement (default 3; long 10)
    RATE         requests a second (default 500)
    PEER_RATE    for LiteLLM, if it can't hold that (default: the highest of 500, 200, 100, 50, 25 that it holds)
    MANY         requests for the memory (default 4000; long 100000), MANY_RATE of them a second (default 1000)
    LATENCY_MS   of the provider (default 20)
    LONG=1       minutes instead of seconds, with LiteLLM, and with the limits that the server is held to
"""

import hashlib
import json
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from ragstone import PROGRAM, Report, Server, drain

SHORT = not os.environ.get("LONG")
ROUNDS = int(os.environ.get("ROUNDS", "2" if SHORT else "5"))
SECONDS = float(os.environ.get("SECONDS_EACH", "3" if SHORT else "10"))
RATE = float(os.environ.get("RATE", "500"))
MANY = int(os.environ.get("MANY", "4000" if SHORT else "100000"))
LATENCY_MS = int(os.environ.get("LATENCY_MS", "20"))
# Beside other checks on the same processors a millisecond says little.
P50_MS_MAX, P99_MS_MAX = (3.0, 50.0) if SHORT else (0.3, 2.0)
GROWTH_MIB_MAX = 8
MANY_RATE = float(os.environ.get("MANY_RATE", "1000"))
# The load's own program: another build than the server's, while one of them is worked on.
LOAD = os.environ.get("LOAD", PROGRAM)
PEER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ragstone/litellm"
# Of this run alone: both gateways look at keys, as they would anywhere but in a test.
KEY = "sk-" + secrets.token_hex(32)
PEER_RATES = [float(os.environ["PEER_RATE"])] if "PEER_RATE" in os.environ else [500.0, 200.0, 100.0, 50.0, 25.0]


class Mock:
    """`ragstone mock-provider` on a free port."""

    def __init__(self, *arguments):
        command = [PROGRAM, "mock-provider", "--listen", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.base = re.search(r"listens on (http://\S+)", self.process.stderr.readline())[1]
        threading.Thread(target=drain, args=(self.process.stderr, open(os.devnull, "w")), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


class LiteLlm:
    """LiteLLM's proxy with one model on the same provider; quiet, one worker, as its documents advise for a core."""

    def __init__(self, provider):
        self.folder = tempfile.TemporaryDirectory(prefix="ragstone-litellm-")
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        config = {
            "model_list": [{"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": f"{provider}/v1", "api_key": "none"}}],
            "general_settings": {"master_key": KEY},
            "litellm_settings": {"telemetry": False, "num_retries": 0},
        }
        path = Path(self.folder.name) / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": str(PEER), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
        command = [sys.executable, PEER / "bin/litellm", "--config", path, "--host", "127.0.0.1", "--port", str(self.port)]
        self.log = open(Path(self.folder.name) / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, env=environment)
        self.wait()

    def wait(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                return urllib.request.urlopen(f"{self.base}/health/liveliness", timeout=5).read()
            except OSError:
                time.sleep(0.2)
        self.log.seek(0)
        raise RuntimeError(f"LiteLLM did not start:\n{self.log.read()[-3000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.folder.cleanup()


def main():
    report = Report()
    has_peer = not SHORT and install_peer(report)
    with Mock("--latency-ms", str(LATENCY_MS)) as mock, Server(config(mock.base), log="warn,ragstone::cli=info") as server:
        report_streams = []
        for stream in (False, True):
            if has_peer:
                with LiteLlm(mock.base) as peer:
                    report_streams.append(compare(report, mock, server, stream, peer))
            else:
                report_streams.append(compare(report, mock, server, stream, None))
        memory = look_at_memory(report, server)
        report.none(server.complaints(), "the log has no complaints")
    print(json.dumps({"latency_ms": LATENCY_MS, "rate": RATE, "rounds": ROUNDS, "overhead": report_streams, "memory": memory}))
    report.end()


def config(provider):
    return (
        # At 1,000 requests a second a pause of the machine of some 40 ms fills the 64 places of the default.
        '[embedding]\nmodel = "test-hash"\n[server]\nconcurrent_answers_max = 400\n'
        f'[[llm.deployments]]\nname = "mock"\nprovider = "compatible"\nmodel = "m"\nbase_url = "{provider}/v1"\nconcurrent_max = 1000\n'
        '[[llm.models]]\nname = "m"\nladder = [["mock"]]\n'
        f'[[auth.keys]]\nsha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"\ntenant = "bench"\nscopes = ["query"]\n'
    )


def install_peer(report):
    """Whether LiteLLM is there, after installing it if it was not."""
    if not (PEER / "bin/litellm").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", PEER, "litellm[proxy]"]
        if subprocess.run(command).returncode != 0:
            print("  !!!!  LITELLM COULD NOT BE INSTALLED: nothing is compared with it", flush=True)
            return False
    return True


def compare(report, mock, server, stream, peer):
    """Overheads in ms by percentile: of ours, and of the peer's at a rate that it holds."""
    targets = {"direct": mock.base, "ragstone": server.base}
    peer_rate = None
    for base in targets.values():
        load(base, RATE, 1, stream)
    if peer:
        load(peer.base, 20, 3, stream)
        peer_rate = next((rate for rate in PEER_RATES if holds(peer.base, rate, stream)), None)
        report.expect(peer_rate is not None, f"LiteLLM holds {peer_rate}/s")
    rounds = []
    for _ in range(ROUNDS):
        figures = {name: load(base, RATE, SECONDS, stream) for name, base in targets.items()}
        if peer_rate:
            slower = {"direct, slower": mock.base, "ragstone, slower": server.base} if peer_rate < RATE else {}
            figures |= {name: load(base, peer_rate, SECONDS, stream) for name, base in (slower | {"litellm": peer.base}).items()}
        rounds.append(figures)
    return judge(report, rounds, stream, peer_rate)


def judge(report, rounds, stream, peer_rate):
    kind = "streamed" if stream else "whole"
    print_table(rounds, kind)
    ours = overhead(rounds, "ragstone", "direct")
    of = ", ".join(f"{name} {value:.3f} ms" for name, value in ours.items())
    faults = [f"{name}: {figures['errors']} of {figures['requests']}: {figures['first_error']}" for run in rounds for name, figures in run.items() if figures["errors"]]
    report.none(faults, f"{kind}: no request failed")
    report.expect(ours["p50"] <= P50_MS_MAX, f"{kind}: overhead at {RATE:.0f}/s: {of}; p50 at most {P50_MS_MAX} ms")
    report.expect(ours["p99"] <= P99_MS_MAX, f"{kind}: p99 at most {P99_MS_MAX} ms")
    result = {"streamed": stream, "ragstone": ours}
    if peer_rate:
        base = "direct" if peer_rate == RATE else "direct, slower"
        same = ours if peer_rate == RATE else overhead(rounds, "ragstone, slower", base)
        theirs = overhead(rounds, "litellm", base)
        ratio = {name: round(theirs[name] / max(same[name], 0.001), 1) for name in ("p50", "p95", "p99")}
        result |= {"litellm": theirs, "litellm_rate": peer_rate, "ragstone_at_that_rate": same, "ratio": ratio}
        at = ", ".join(f"{name} {theirs[name]:.2f} ms = {ratio[name]} × ours" for name in ratio)
        report.expect(theirs["p50"] > same["p50"], f"{kind}: LiteLLM's overhead at {peer_rate:.0f}/s: {at}")
    return result


def overhead(rounds, through, direct):
    """Median over the rounds of the differences."""
    difference = lambda name: statistics.median(run[through]["latency_ms"][name] - run[direct]["latency_ms"][name] for run in rounds)
    figures = {name: difference(name) for name in ("p50", "p95", "p99")}
    if rounds[0][direct]["first_token_ms"]:
        figures["first_token_p50"] = statistics.median(run[through]["first_token_ms"]["p50"] - run[direct]["first_token_ms"]["p50"] for run in rounds)
    return {name: round(value, 3) for name, value in figures.items()}


def print_table(rounds, kind):
    print(f"  {kind:>18} {'asked/s':>8} {'got/s':>8} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'max ms':>8} {'errors':>7}")
    for name in rounds[0]:
        runs = [run[name] for run in rounds]
        middle = lambda key: statistics.median(run["latency_ms"][key] for run in runs)
        got = statistics.median(run["achieved_rate"] for run in runs)
        figures = " ".join(f"{middle(key):8.3f}" for key in ("p50", "p95", "p99", "max"))
        print(f"  {name:>18} {runs[0]['rate']:8.0f} {got:8.1f} {figures} {sum(run['errors'] for run in runs):7}", flush=True)


def holds(base, rate, stream):
    """Whether answers come as fast as requests, and not ever later."""
    figures = load(base, rate, 5, stream)
    return figures["errors"] == 0 and figures["latency_ms"]["p99"] < 1000 and figures["achieved_rate"] > 0.9 * rate


def look_at_memory(report, server):
    """Of two halves the first may fill pools and caches; the second must add nothing."""
    figures = [server.resident_mib()]
    runs = []
    for _ in range(4):
        runs.append(load(server.base, MANY_RATE, MANY / 4 / MANY_RATE, False))
        figures.append(server.resident_mib())
    growth = figures[-1] - figures[1]
    shown = " → ".join(f"{figure:.1f}" for figure in figures)
    faults = [f"{run['errors']} of {run['requests']}: {run['first_error']}" for run in runs if run["errors"]]
    report.none(faults, f"none of {MANY} requests at {MANY_RATE:.0f}/s failed")
    report.expect(growth <= GROWTH_MIB_MAX, f"memory stays flat: {shown} MiB, {growth:+.1f} after the first quarter, at most {GROWTH_MIB_MAX}")
    return {"requests": MANY, "resident_mib": figures}


def load(base, rate, seconds, stream):
    command = [LOAD, "bench", "chat", "--base-url", f"{base}/v1", "--model", "m", "--rate", str(rate), "--duration", f"{seconds}s", "--json"]
    with tempfile.NamedTemporaryFile("w") as key:
        key.write(KEY)
        key.flush()
        command += ["--api-key-file", key.name] + ["--stream"] * stream
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        # Nothing was answered at all.
        nothing = dict.fromkeys(("p50", "p95", "p99", "max"), float("inf"))
        return {"requests": 0, "errors": 1, "first_error": done.stderr.strip(), "rate": rate, "achieved_rate": 0, "latency_ms": nothing, "first_token_ms": nothing}
    return json.loads(done.stdout)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


if __name__ == "__main__":
    main()
