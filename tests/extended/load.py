#!/usr/bin/env python3
"""Overload: what is accepted stays fast, the rest is told at once to come again, and slow clients hurt nobody.

    tests/extended/load.py DATA

    DURATION  seconds at 0.8 of saturation, a minute at a time, and of every other stage up to 30   (default: 15; the long run sets 600)
    MODEL     embedding model            (default: test-hash)

The load comes from a process of its own at a constant rate (open loop: it does not wait for answers
before it asks again), over raw sockets, and reports its own lateness: where the generator was late,
the figures say little about the server.
"""

import asyncio
import json
import math
import multiprocessing
import os
import resource
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from ragstone import Report, Server, read_lines, until

DURATION_S = float(os.environ.get("DURATION", 15))
STAGE_S = min(DURATION_S, 30)
MODEL = os.environ.get("MODEL", "test-hash")
PATH = "/v1/collections/abstracts/query"
DOCUMENTS = 3000
FILES = 64
# Clients that find out how much the server takes: as many as its lane computes at a time.
CLOSED_CLIENTS = (os.cpu_count() or 1) + 1
# Connections of the open loop: more than the server ever works on, so that none waits for one.
CONNECTIONS = 600
SLOW_CLIENTS = 1000
# Seconds for each measurement of saturation.
SATURATE_S = 10
# p99 of a fast server is a few scheduler ticks: below this, twice as much is noise.
P99_FLOOR_MS = 5.0
SHED_MS = 20.0
WARM_UP = 0.2


def main(data):
    report = Report()
    questions = [line["text"] for line in read_lines(data / "retrieval/scifact-train/queries.jsonl")][:200]
    with Server(f'[embedding]\nmodel = "{MODEL}"\n') as server:
        fill(server, read_lines(data / "retrieval/scifact-train/corpus.jsonl")[:DOCUMENTS])
        address = urlsplit(server.base).hostname, urlsplit(server.base).port
        run(closed_loop, address, questions, CLOSED_CLIENTS, min(STAGE_S, 10))
        closed = run(closed_loop, address, questions, CLOSED_CLIENTS, STAGE_S)
        report.expect(not closed.errors, f"{CLOSED_CLIENTS} clients that wait: {closed}")
        full, calm = almost_full(report, address, questions, 2 * closed.rate)
        before = server.resident_mib()
        allowed = 2 * max(calm.p99, P99_FLOOR_MS)
        for factor in (2, 5):
            high = run(open_loop, address, questions, factor * full.rate, STAGE_S)
            report.expect(not high.errors and high.shed and high.shed_without_time == 0, f"{factor} ×: {high}")
            report.expect(high.p99 <= allowed, f"{factor} ×: accepted p99 {high.p99:.1f} ms, at most {allowed:.1f} ms")
            report.expect(high.shed_p99 <= SHED_MS, f"{factor} ×: shed p99 {high.shed_p99:.1f} ms, at most {SHED_MS} ms")
        time.sleep(2)
        after = server.resident_mib()
        report.expect(after <= 1.1 * before, f"memory: {before:.0f} MiB at 0.8 ×, {after:.0f} MiB after 5 ×")
        slow(report, address, questions)
        share(report, server, address, questions, read_lines(data / "retrieval/scifact-train/corpus.jsonl")[DOCUMENTS:])
        report.none(server.complaints(), "no errors in the log")
    report.end()


def fill(server, documents):
    server.post("/v1/collections", {"name": "abstracts"})
    upload(server, documents)
    until(lambda: server.backlog() == 0, 3600, "processing")


def upload(server, documents):
    files = [(f"{document['_id']}.txt", f"{document['title']}\n\n{document['text']}".encode()) for document in documents]
    for first in range(0, len(files), FILES):
        server.upload("abstracts", files[first : first + FILES])


def almost_full(report, address, questions, rate):
    """0.8 of saturation for DURATION. A shared machine is a quarter faster or slower from one minute to the
    next, so saturation (what is answered beside a generator that asks for more) is measured before and after
    each: a minute that shed is made again if it turns out to have been above 0.9 of what the machine then gave."""
    calm, full, left = [], saturate(report, address, questions, rate), 3 * math.ceil(DURATION_S / 60)
    while len(calm) < math.ceil(DURATION_S / 60):
        asked = 0.8 * full.rate
        outcome = run(open_loop, address, questions, asked, min(DURATION_S, 60), 0.0)
        full = saturate(report, address, questions, rate)
        left -= 1
        if outcome.shed and not outcome.errors and asked > 0.9 * full.rate and left:
            print(f"  again   {asked:.0f} a second were {asked / full.rate:.2f} of saturation: {outcome}", flush=True)
            continue
        calm.append(outcome)
        report.expect(not outcome.errors and not outcome.shed, f"0.8 ×, minute {len(calm)}: {outcome}")
    return full, sorted(calm, key=lambda outcome: outcome.p99)[len(calm) // 2]


def saturate(report, address, questions, rate):
    full = run(open_loop, address, questions, rate, SATURATE_S)
    report.expect(not full.errors, f"saturation: {full}")
    time.sleep(2)
    return full


def slow(report, address, questions):
    """A normal client beside a thousand that send or read as slowly as they can."""
    alone = run(closed_loop, address, questions, 1, STAGE_S)
    ready, done = multiprocessing.Event(), multiprocessing.Event()
    crowd = multiprocessing.Process(target=crawl, args=(address, ready, done))
    crowd.start()
    try:
        if not ready.wait(60):
            raise RuntimeError("the slow clients could not connect")
        beside = run(closed_loop, address, questions, 1, STAGE_S)
    finally:
        done.set()
        crowd.join(30)
    allowed = 2 * max(alone.p99, P99_FLOOR_MS)
    report.expect(not beside.errors and not beside.shed, f"beside {SLOW_CLIENTS} slow clients: {beside}")
    report.expect(beside.p99 <= allowed, f"p99 of a normal client {alone.p99:.1f} ms alone, {beside.p99:.1f} ms beside them")


def share(report, server, address, questions, documents):
    """A normal client while documents come in: they take what it leaves."""
    alone = run(closed_loop, address, questions, 1, STAGE_S)
    upload(server, documents)
    waiting = server.backlog()
    beside = run(closed_loop, address, questions, 1, min(STAGE_S, 10))
    left = server.backlog()
    allowed = 2 * max(alone.p99, P99_FLOOR_MS)
    report.expect(not beside.errors and not beside.shed, f"while documents come in: {beside}")
    report.expect(left < waiting, f"{waiting:.0f} documents waited, {left:.0f} at the end")
    report.expect(beside.p99 <= allowed, f"p99 of a normal client {alone.p99:.1f} ms alone, {beside.p99:.1f} ms while documents come in")


class Outcome:
    """What one stage measured; times in milliseconds."""

    def __init__(self, answers, seconds, late_ms):
        accepted = [ms for status, ms, _ in answers if status == 200]
        refused = [(ms, has_time) for status, ms, has_time in answers if status == 503]
        self.rate = len(accepted) / seconds
        self.p50, self.p99 = percentile(accepted, 0.5), percentile(accepted, 0.99)
        self.shed = len(refused)
        self.shed_p99 = percentile([ms for ms, _ in refused], 0.99)
        self.shed_without_time = sum(not has_time for _, has_time in refused)
        self.errors = sorted({str(status) for status, _, _ in answers if status not in (200, 503)})
        self.late_ms = late_ms

    def __str__(self):
        shed = f", {self.shed} shed (p99 {self.shed_p99:.1f} ms)" if self.shed else ""
        errors = f", errors {self.errors}" if self.errors else ""
        return f"{self.rate:.0f} answers/s, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms{shed}{errors}; generator p99 {self.late_ms:.1f} ms late"


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def run(loop, *arguments):
    """`loop` in a process of its own."""
    with multiprocessing.Pool(1) as pool:
        return pool.apply(in_process, (loop, arguments))


def in_process(loop, arguments):
    raise_files()
    return asyncio.run(loop(*arguments))


def raise_files():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def requests_of(questions):
    bodies = [json.dumps({"question": question, "cache": "bypass"}).encode() for question in questions]
    return [f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


class Client(asyncio.Protocol):
    """One connection, kept alive; opened again when the server closes it. Protocols cost the generator
    a third of what streams do, and the server shares the processors with it."""

    def __init__(self, address):
        self.address, self.transport, self.answer, self.received = address, None, None, b""

    async def ask(self, request):
        """(status, milliseconds, whether a time to come again was named)"""
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        try:
            if self.transport is None:
                await loop.create_connection(lambda: self, *self.address)
            self.received, self.answer = b"", loop.create_future()
            self.transport.write(request)
            head = await self.answer
            status, has_time = int(head[9:12]), b"\r\nretry-after:" in head
        except OSError as error:
            status, has_time, self.transport = type(error).__name__, False, None
        return status, (time.monotonic() - began) * 1e3, has_time

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        head, is_whole, body = self.received.partition(b"\r\n\r\n")
        if is_whole and not self.answer.done():
            head = head.lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(body) >= length:
                self.answer.set_result(head)

    def connection_lost(self, error):
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionResetError())


async def closed_loop(address, questions, clients, seconds):
    """Each client asks again as soon as it is answered."""
    requests, answers, end = requests_of(questions), [], time.monotonic() + seconds

    async def go(number):
        client = Client(address)
        while time.monotonic() < end:
            answers.append(await client.ask(requests[number % len(requests)]))
            number += clients

    await asyncio.gather(*(go(number) for number in range(clients)))
    return Outcome(answers, seconds, 0.0)


async def open_loop(address, questions, rate, seconds, warm_up=WARM_UP):
    """`rate` questions a second, evenly, whatever becomes of those before. The first part warms up and is not counted."""
    requests, answers, late = requests_of(questions), [], []
    free = [Client(address) for _ in range(CONNECTIONS)]
    running = set()

    async def go(client, number, counts):
        answer = await client.ask(requests[number % len(requests)])
        free.append(client)
        if counts:
            answers.append(answer)

    began, number, count = time.monotonic(), 0, int(rate * seconds)
    counted_from = began + warm_up * seconds
    while number < count:
        due = began + number / rate
        now = time.monotonic()
        if due > now:
            await asyncio.sleep(due - now)
            continue
        if not free:
            await asyncio.sleep(0)
            continue
        counts = number >= warm_up * count
        if counts:
            late.append((now - due) * 1e3)
        # The client that was used last: its connection is open.
        task = asyncio.create_task(go(free.pop(), number, counts))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
    await asyncio.gather(*running)
    # Longer than asked for, if neither server nor generator kept up.
    return Outcome(answers, time.monotonic() - counted_from, percentile(late, 0.99))


def crawl(address, ready, done):
    """A quarter each: silent from the start, a header in drops, a body in drops, an answer never read."""
    raise_files()
    body = b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{"
    openings = [b"", b"GET / HTTP/1.1\r\nX-Slow: ", body, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40]
    sockets = [None] * SLOW_CLIENTS
    began = False
    while not done.is_set():
        for place, connection in enumerate(sockets):
            opening = openings[place % len(openings)]
            try:
                if connection is None:
                    sockets[place] = socket.create_connection(address, 10)
                    sockets[place].setblocking(False)
                    sockets[place].send(opening)
                elif place % len(openings) in (1, 2):
                    connection.send(b"x")
            except OSError:
                # Cut by the server, as it should be: it comes again.
                if sockets[place] is not None:
                    sockets[place].close()
                sockets[place] = None
        if not began:
            began = True
            ready.set()
        done.wait(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
