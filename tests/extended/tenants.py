#!/usr/bin/env python3
"""Three tenants under random operations: what one sees is never touched by what the others have.

    tests/extended/tenants.py [DATA]

Every tenant has an oracle here that knows what it put in. From a printed seed, OPERATIONS operations
(uploads, new versions, deletes, searches, questions, lists, filters, ACLs) go to tenants at random,
some at once from several threads; every answer is compared with the oracle of the tenant that asked.
Before and after, tenant A alone, then beside full tenants B and C, is asked the same: the answers
must be equal to the bit, scores and counts too. Texts are made up from the seed, so DATA is not read;
the hash embedder stands in for a model. SEED=n and OPERATIONS=n choose.

Statistics of words (BM25) are of one collection: documents that an ACL hides from a key still weigh
on the scores of those that it sees, in that collection only. This is known, and stated in the end.
"""

import collections
import hashlib
import json
import os
import random
import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from ragstone import PATIENCE_S, Report, Server, quote

SEED = int(os.environ.get("SEED", "20261121"))
OPERATIONS = int(os.environ.get("OPERATIONS", "1500"))
IN_FLIGHT = 6
TENANTS = ("a", "b", "c")
COLLECTIONS = ("notes", "plans")
PRINCIPALS = ("ann", "bob")
WORDS = "harbour lantern gravel orchard signal velvet copper meadow thunder ribbon anchor saddle compass timber quarry pepper".split()
QUESTIONS = ["harbour lantern", "gravel orchard signal", "velvet", "where is the copper meadow?", "thunder ribbon anchor saddle"]
OWN_TO_REQUEST = {"trace_id", "timings_ms", "request_id"}


class Client:
    """One key. An answer is its status and its JSON."""

    def __init__(self, server, key):
        self.server, self.key = server, key

    def send(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.key}"} | ({"Content-Type": "application/json"} if body is not None else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server.base + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def ok(self, method, path, body=None):
        status, content = self.send(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {content[:300]}")
        return json.loads(content)

    def pages(self, path, limit):
        cursor = ""
        while True:
            page = self.ok("GET", f"{path}?limit={limit}{cursor}")
            yield from page["data"]
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={quote(page['next_cursor'])}"


class Tenant:
    """A tenant's keys, and the oracle: what it put in and did not delete."""

    def __init__(self, server, name):
        self.name = name
        self.whole = Client(server, f"{name}-whole-key-of-the-test")
        self.bounded = {principal: Client(server, f"{name}-{principal}-key-of-the-test") for principal in PRINCIPALS}
        # collection → external id → {id, text, mark, acl, metadata}
        self.documents = {collection: {} for collection in COLLECTIONS}

    def seen_by(self, collection, principal=None, group=None):
        """What a key must find, by document id."""
        documents = self.documents[collection].values()
        may_read = lambda acl: principal is None or not acl or principal in acl
        is_wanted = lambda document: group is None or document["metadata"]["group"] == group
        return {document["id"]: document for document in documents if may_read(document["acl"]) and is_wanted(document)}


def configuration():
    lines = ['[embedding]\nmodel = "test-hash"\n']
    for tenant in TENANTS:
        lines.append(key_lines(f"{tenant}-whole-key-of-the-test", tenant, ""))
        lines += [key_lines(f"{tenant}-{principal}-key-of-the-test", tenant, f'principals = ["{principal}"]') for principal in PRINCIPALS]
    return "".join(lines)


def key_lines(key, tenant, bounds):
    return f'[[auth.keys]]\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\ntenant = "{tenant}"\n{bounds}\n'


def fill(tenant, dice, count):
    for _ in range(count):
        put(tenant, dice, dice.choice(COLLECTIONS), f"d{dice.randrange(1000)}")


def put(tenant, dice, collection, name):
    """A new document or a new version, waited for. Each version's text has a mark that nothing else has."""
    mark = f"mark{tenant.name}{dice.randrange(1 << 60):015x}"
    text = " ".join(dice.choices(WORDS, k=dice.randrange(8, 60))) + f". {mark} belongs here."
    acl = dice.choice([[], [], [], ["ann"], ["bob"], ["ann", "bob"], ["eve"]])
    metadata = {"group": dice.randrange(3), "tenant": tenant.name}
    body = {"text": text, "name": f"{name}.md", "metadata": metadata, "acl": acl}
    path = f"/v1/collections/{collection}/documents/{name}?wait=true"
    document = tenant.whole.ok("PUT", path, body)["documents"][0]
    if document["status"] != "ready":
        raise RuntimeError(f"{document}")
    tenant.documents[collection][name] = {"id": document["id"], "text": text, "mark": mark, "acl": acl, "metadata": metadata}


def delete(tenant, dice, collection):
    if tenant.documents[collection]:
        name = dice.choice(sorted(tenant.documents[collection]))
        tenant.whole.ok("DELETE", f"/v1/collections/{collection}/documents/{name}")
        del tenant.documents[collection][name]


def look(tenant, dice, collection, faults):
    """One read by a key of the tenant, compared with its oracle."""
    principal = dice.choice([None, None, *PRINCIPALS])
    client = tenant.bounded[principal] if principal else tenant.whole
    kind = dice.choice(["search", "filter", "query", "list", "mark", "stranger"])
    who = f"{tenant.name}/{principal or 'whole'} {kind} in {collection}"
    if kind == "list":
        listed = [document["id"] for document in client.pages(f"/v1/collections/{collection}/documents", dice.choice([1, 3, 1000]))]
        expect(faults, who, sorted(listed) == sorted(tenant.seen_by(collection, principal)), "the list is another")
    elif kind == "query":
        answer = client.ok("POST", f"/v1/collections/{collection}/query", {"question": dice.choice(QUESTIONS), "top_k": 20})
        check_hits(faults, who, answer["sources"], tenant.seen_by(collection, principal), None)
        check_marks(faults, who, json.dumps(answer), tenant.seen_by(collection, principal))
    elif kind == "mark":
        # A word that stands in one document of one tenant, asked for by all.
        target = dice.choice(everything(TENANT_LIST))
        answer = search(client, collection, {"query": target["mark"], "mode": "lexical"})
        seen = tenant.seen_by(collection, principal)
        expect(faults, who, len(answer["hits"]) == (target["id"] in seen), f"{target['mark']}: {len(answer['hits'])} hits")
    elif kind == "stranger":
        check_stranger(faults, who, client, collection, dice, tenant.seen_by(collection, principal))
    else:
        group = dice.randrange(3) if kind == "filter" else None
        ask = {"query": dice.choice(QUESTIONS), "mode": dice.choice(["hybrid", "vector", "lexical"]), "top_k": 100, "explain": True}
        if group is not None:
            ask["filter"] = {"type": "eq", "key": "group", "value": group}
        answer = search(client, collection, ask)
        seen = tenant.seen_by(collection, principal, group)
        check_hits(faults, who, answer["hits"], seen, answer["explain"]["allowed_rows"])
        check_marks(faults, who, json.dumps(answer), seen)


def check_stranger(faults, who, client, collection, dice, seen):
    """An id of anybody's, which must be found only where it may be, else answered as if it never was."""
    target = dice.choice(everything(TENANT_LIST))["id"]
    never = "doc_01jzzzzzzzzzzzzzzzzzzzzzzz"
    for part in ("", "/text", "/content", "/chunks"):
        found = client.send("GET", f"/v1/collections/{collection}/documents/{target}{part}")
        if target in seen:
            expect(faults, who, found[0] == 200, f"{target}{part} is not found: {found[0]}")
            continue
        missing = client.send("GET", f"/v1/collections/{collection}/documents/{never}{part}")
        same = (found[0], told(found[1], target)) == (missing[0], told(missing[1], never))
        expect(faults, who, same and found[0] == 404, f"{target}{part} is not as if it never was: {found} {missing}")


def told(content, name):
    body = json.loads(content)
    return json.dumps({field: value for field, value in body.items() if field not in OWN_TO_REQUEST}).replace(name, "NAME")


def search(client, collection, ask):
    return client.ok("POST", f"/v1/collections/{collection}/search", ask)


def check_hits(faults, who, hits, seen, rows):
    strangers = [hit["document_id"] for hit in hits if hit["document_id"] not in seen]
    expect(faults, who, not strangers, f"hits that are not its own: {strangers}")
    texts = [hit["text"] for hit in hits if hit["document_id"] in seen and hit["text"] not in seen[hit["document_id"]]["text"]]
    expect(faults, who, not texts, f"texts that are not its own: {texts}")
    if rows is not None:
        # Each document is one chunk.
        expect(faults, who, rows == len(seen), f"{rows} rows allowed, {len(seen)} documents")


def check_marks(faults, who, text, seen):
    known = {document["mark"] for document in seen.values()}
    strangers = set(re.findall(r"mark[abc][0-9a-f]{15}", text)) - known
    expect(faults, who, not strangers, f"texts of others: {strangers}")


def expect(faults, who, is_met, what):
    if not is_met:
        faults.append(f"{who}: {what}")


def everything(tenants):
    # Copies: other threads put and delete meanwhile.
    return [document for tenant in tenants for documents in tenant.documents.values() for document in list(documents.values())]


def portrait(tenant):
    """Everything that a tenant can ask without changing anything, as bytes without what is the request's own."""
    answers = []
    for client in (tenant.whole, *tenant.bounded.values()):
        answers.append(client.ok("GET", "/v1/collections"))
        answers.append(client.ok("GET", "/v1/quotas"))
        for collection in COLLECTIONS:
            answers.append(client.ok("GET", f"/v1/collections/{collection}"))
            answers.append(list(client.pages(f"/v1/collections/{collection}/documents", 7)))
            for question in QUESTIONS:
                for mode in ("hybrid", "vector", "lexical"):
                    answers.append(search(client, collection, {"query": question, "mode": mode, "top_k": 100, "explain": True, "exact": True}))
                answers.append(client.ok("POST", f"/v1/collections/{collection}/query", {"question": question, "cache": "bypass"}))
    return [json.dumps(strip(answer), sort_keys=True) for answer in answers]


def strip(value):
    if isinstance(value, dict):
        return {name: strip(inner) for name, inner in value.items() if name not in OWN_TO_REQUEST}
    return [strip(inner) for inner in value] if isinstance(value, list) else value


def without_sizes(answers):
    """How the text index lies on disk and what the tables of the vector index take in memory are no
    answers: starting anew tidies both up."""
    return [re.sub(r'"text": \{[^}]*\}|"bytes": \d+, "engine"', "", answer) for answer in answers]


def differences(before, after):
    return [apart(one, other) for one, other in zip(before, after) if one != other] + ["another number"] * (len(before) != len(after))


def apart(one, other):
    """Both from shortly before where they part."""
    start = max(0, len(os.path.commonprefix([one, other])) - 80)
    return f"{one[start:][:200]} … {other[start:][:200]}"


def work(tenant, seed, count, faults, counts):
    """One tenant's operations, one after another; the tenants go at the same time."""
    dice = random.Random(seed)
    for _ in range(count):
        collection = dice.choice(COLLECTIONS)
        kind = dice.choices(["put", "delete", "look"], [25, 10, 65])[0]
        counts[kind] += 1
        if kind == "put":
            put(tenant, dice, collection, f"d{dice.randrange(60)}")
        elif kind == "delete":
            delete(tenant, dice, collection)
        else:
            look(tenant, dice, collection, faults)


TENANT_LIST = []


def main():
    print(f"SEED={SEED} OPERATIONS={OPERATIONS}")
    report = Report()
    dice = random.Random(SEED)
    with Server(configuration()) as server:
        TENANT_LIST.extend(Tenant(server, name) for name in TENANTS)
        first, *others = TENANT_LIST
        for tenant in TENANT_LIST:
            for collection in COLLECTIONS:
                tenant.whole.ok("POST", "/v1/collections", {"name": collection})
        fill(first, dice, 40)
        alone = portrait(first)
        report.none(differences(alone, portrait(first)), "asked twice, tenant A is told the same")
        for tenant in others:
            fill(tenant, dice, 120)
        report.none(differences(alone, portrait(first)), f"{len(alone)} answers to tenant A are equal to the bit before and after B and C are filled")

        faults, counts = [], collections.Counter()
        quiet = portrait(first)
        # The others at work do not show to the first, which only asks.
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            working = [pool.submit(work, tenant, dice.random(), OPERATIONS // 6, faults, counts) for tenant in others]
            while not all(job.done() for job in working):
                faults += [f"A beside work of others: {difference}" for difference in differences(quiet, portrait(first))]
            [job.result() for job in working]
        # Then all three at once.
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            working = [pool.submit(work, tenant, dice.random(), OPERATIONS // 6 * (1 + (tenant is first)), faults, counts) for tenant in TENANT_LIST]
            [job.result() for job in working]
        report.none(faults, f"{sum(counts.values())} operations ({dict(counts)}): never an id, text or count of another tenant, nor of what an ACL hides")

        before = {tenant.name: portrait(tenant) for tenant in TENANT_LIST}
        server.kill()
        server.start()
        after = {tenant.name: portrait(tenant) for tenant in TENANT_LIST}
        for name in TENANTS:
            report.none(differences(*map(without_sizes, (before[name], after[name]))), f"tenant {name} is told the same after a kill -9")
        scores(report, first)
        report.none(server.complaints(), "no errors in the log")
    report.end()


def scores(report, tenant):
    """What an ACL hides is in the statistics of its collection: only order and choice of hits are without it."""
    ask = {"query": QUESTIONS[0], "mode": "lexical", "top_k": 100}
    of = lambda client: {hit["document_id"]: hit["score"] for hit in search(client, "notes", ask)["hits"]}
    whole, part = of(tenant.whole), of(tenant.bounded["ann"])
    same = sum(whole.get(document) == score for document, score in part.items())
    report.expect(same == len(part), f"known: word statistics are of the collection, so {same} of {len(part)} scores are those of the whole key")


if __name__ == "__main__":
    main()
