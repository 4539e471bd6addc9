#!/usr/bin/env python3
"""Chinese questions about Chinese guides, answered without a language model.

    tests/extended/chinese.py DATA

The guides are DATA/../seeds/*.txt; chinese_questions.json names for each question the one guide that
answers it and a phrase there that proves it.
"""

import json
import sys
from pathlib import Path

from ragstone import Report, Server

FIRST = 3


def main(data):
    report = Report()
    guides = {path.name: path.read_bytes() for path in sorted((data.parent / "seeds").glob("*.txt"))}
    questions = json.loads((Path(__file__).parent / "chinese_questions.json").read_text(encoding="utf-8"))
    report.none(unproven(questions, guides), "the phrase that proves a question's guide stands in that guide and in no other")
    with Server() as server:
        documents = server.upload("default", list(guides.items()), wait=True)
        report.none([document for document in documents if document["status"] != "ready"], f"all {len(guides)} guides are ready")
        names = {document["id"]: document["name"] for document in documents}
        right = {"answer": 0, "hybrid": 0, "lexical": 0}
        for number, question in enumerate(questions, 1):
            print(f"\n  {number}. {question['question']}  [{question['guide']}]")
            right["answer"] += answers(server, question, names)
            for mode in ("hybrid", "lexical"):
                right[mode] += finds(server, question, mode)
        print()
        count = len(questions)
        report.expect(right["answer"] == count, f"answered with the right guide among the first {FIRST} citations: {right['answer']} of {count}")
        for mode in ("hybrid", "lexical"):
            report.expect(right[mode] == count, f"{mode} search has the right guide among the first {FIRST} hits: {right[mode]} of {count}")
        report.none(server.complaints(), "no errors in the log")
    report.end()


def unproven(questions, guides):
    holders = lambda proof: [name for name, content in guides.items() if proof in content.decode()]
    return [question for question in questions if holders(question["proof"]) != [question["guide"]]]


def answers(server, question, names):
    answer = server.post("/v1/collections/default/query", {"question": question["question"]})
    cited = [names[citation["document_id"]] for citation in answer["citations"][:FIRST]]
    is_right = not answer["abstained"] and question["guide"] in cited
    is_proven = any(question["proof"] in citation["quote"] for citation in answer["citations"])
    verdict = "right" if is_right else "WRONG"
    print(f"     answer   {verdict}{', abstained' if answer['abstained'] else ''}, cites {cited}{', with the proof' if is_proven else ''}")
    print("              " + " ⏎ ".join(answer["answer"].splitlines())[:300])
    return is_right


def finds(server, question, mode):
    found = server.post("/v1/collections/default/search", {"query": question["question"], "mode": mode, "top_k": FIRST})
    names = [hit["document_name"] for hit in found["hits"]]
    is_right = question["guide"] in names
    print(f"     {mode:<8} {'right' if is_right else 'WRONG'}, finds {names}")
    return is_right


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
