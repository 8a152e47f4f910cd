"""Company reports (FinanceBench): is the page that holds the evidence among the pages of the best five passages?

Beside it BM25 over the bare pages, as a short script does it: pypdf's text of each page, lower-case words, k1 1.5 and
b 0.75, the best five pages. And what the context of a chunk brings: its document's title, its heading path and its
table's header row, over the same chunks.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdf

from benchmarks.context import CONTEXTS, ChunkIndex, PageOf, Search
from benchmarks.results import Result, Row
from benchmarks.server import BenchmarkError, Server, running_server

_DEPTH = 5
_TARGET = 1.5  # times the hits of BM25 over bare pages
_COLLECTION = "reports"
_PLACES = {"own report": True, "all reports": False}
_K1, _B = 1.5, 0.75
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    report: str
    evidence: frozenset[PageOf]


def run(data: Path, *, quick: bool) -> Result:
    """Every question over its own report, then over all of them."""
    folder = data / "financebench"
    questions = _read_questions(folder / "questions.jsonl")[: 3 if quick else None]
    reports = sorted({question.report for question in questions})
    pages = _PagesAlone([folder / f"{report}.pdf" for report in reports])
    with running_server() as server:
        ids = _upload(server, [folder / f"{report}.pdf" for report in reports])
        names = {document: report for report, document in ids.items()}

        def footnote(query: str, report: str | None) -> list[PageOf]:
            body: dict[str, Any] = {"query": query, "collection": _COLLECTION, "top_k": _DEPTH}
            if report is not None:
                body["filters"] = {"document_id": ids[report]}
            passages = server.call("POST", "/search", json=body)["passages"]
            # The page that a passage begins on: where it runs over to another one, that is not counted.
            return [(names[passage["document_id"]], passage["page"]) for passage in passages]

        measured = {"Footnote": _measure(questions, footnote), "BM25": _measure(questions, pages.search)}
        chunks = ChunkIndex.of(server, names)
    for name, context in CONTEXTS.items():
        with chunks.indexed(context) as search:
            measured[name] = _measure(questions, search)
    return Result(_rows(measured, len(questions)), measured)


def _rows(measured: Mapping[str, Any], questions: int) -> list[Row]:
    rows = []
    for where in _PLACES:
        found, by_pages = measured["Footnote"][where]["hits"], measured["BM25"][where]["hits"]
        least = math.ceil(_TARGET * by_pages)
        what = f"{where}: the evidence's page in the best {_DEPTH}"
        rows.append(Row(what, f"{found} of {questions}", f"≥ {least}", found >= least))
        rows.append(Row(f"{where}: BM25 over bare pages", f"{by_pages} of {questions}"))
        for name in CONTEXTS:
            figures = measured[name][where]
            rows.append(Row(f"{where}, {name}", f"{figures['hits']} of {questions}, MRR {figures['mrr']:.3f}"))
    return rows


def _read_questions(path: Path) -> list[_Question]:
    """The data counts pages from 0."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        places = [doc_id.rsplit("#p", 1) for doc_id in record["doc_id"]]
        evidence = frozenset((report, int(page) + 1) for report, page in places)
        found.append(_Question(record["question"], places[0][0], evidence))
    return found


def _upload(server: Server, paths: Sequence[Path]) -> dict[str, str]:
    server.call("POST", "/collections", json={"name": _COLLECTION})
    ids = {}
    for path in paths:
        file = {"file": (path.name, path.read_bytes(), "application/pdf")}
        answer = server.call("POST", "/documents", files=file, data={"collection": _COLLECTION})
        ids[path.stem] = answer["documents"][0]["id"]
    server.wait_until(lambda: not server.unfinished_jobs())
    documents = server.call("GET", "/documents", params={"collection": _COLLECTION})["documents"]
    failed = [document for document in documents if document["status"] != "ready"]
    if failed:
        raise BenchmarkError(f"{failed[0]['filename']} failed: {failed[0]['error']}")
    return ids


def _measure(questions: Sequence[_Question], search: Search) -> dict[str, Any]:
    measured = {}
    for where, is_own in _PLACES.items():
        ranks = []
        for question in questions:
            best = search(question.text, question.report if is_own else None)[:_DEPTH]
            ranks.append(next((at for at, page in enumerate(best, start=1) if page in question.evidence), None))
        mrr = sum(1 / rank for rank in ranks if rank) / len(ranks)
        measured[where] = {"hits": sum(rank is not None for rank in ranks), "mrr": round(mrr, 4), "ranks": ranks}
    return measured


class _PagesAlone:
    """BM25 over the text of whole pages."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._pages: list[PageOf] = []
        self._terms: list[Counter[str]] = []
        for path in paths:
            for number, page in enumerate(pypdf.PdfReader(path).pages, start=1):
                self._pages.append((path.stem, number))
                self._terms.append(_terms(page.extract_text()))
        self._mean = sum(terms.total() for terms in self._terms) / len(self._terms)
        holding = Counter(term for terms in self._terms for term in terms)
        count = len(self._pages)
        self._rarity = {term: math.log(1 + (count - n + 0.5) / (n + 0.5)) for term, n in holding.items()}

    def search(self, query: str, report: str | None) -> list[PageOf]:
        wanted = _terms(query)
        scored = [
            (-self._score(wanted, terms), page)
            for page, terms in zip(self._pages, self._terms, strict=True)
            if report is None or page[0] == report
        ]
        return [page for _, page in sorted(scored)]

    def _score(self, wanted: Counter[str], terms: Counter[str]) -> float:
        normalised = _K1 * (1 - _B + _B * terms.total() / self._mean)
        return sum(
            times * self._rarity[term] * terms[term] * (_K1 + 1) / (terms[term] + normalised)
            for term, times in wanted.items()
            if term in terms
        )


def _terms(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.lower()))
