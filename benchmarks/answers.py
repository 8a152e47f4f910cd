"""How often an extractive answer of `POST /ask` holds the right one, and whether every quote is exact."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets import DataSet, read_set
from benchmarks.results import Result, Row, quantiles_ms
from benchmarks.server import Server, running_server

_SETS = {"English": "xquad_en", "Chinese": "xquad_zh"}
_TARGET = 0.90
_MOST_SENTENCES = 3
_MARKER = re.compile(r"\[\d+\]")


def run(data: Path, *, quick: bool) -> Result:
    """XQuAD: every question has an answer in its paragraphs."""
    rows: list[Row] = []
    details = {}
    with running_server() as server:
        for language, name in _SETS.items():
            asked = read_set(data, name, 60 if quick else None)
            server.ingest(name, asked.documents)
            measured = details[language] = _measure(server, asked)
            rows += _rows(language, measured)
    return Result(rows, details)


def _rows(language: str, measured: dict[str, Any]) -> list[Row]:
    share, quotes, wrong = measured["right"], measured["quotes"], measured["inexact_quotes"]
    latency = measured["latency_ms"]
    return [
        Row(
            f"{language}, at most 3 sentences hold a gold answer", f"{share:.3f}", f"≥ {_TARGET:.2f}", share >= _TARGET
        ),
        Row(f"{language}, quotes equal to `text[start:end]`", f"{quotes - wrong} of {quotes}", "all", not wrong),
        Row(f"{language}, answerable but refused", f"{measured['refused']:.3f}"),
        Row(f"{language}, `POST /ask` p50 / p95, one client", f"{latency['p50']:.0f} / {latency['p95']:.0f} ms"),
    ]


def _measure(server: Server, asked: DataSet) -> dict[str, Any]:
    right = refused = quotes = inexact = 0
    seconds = []
    texts: dict[str, str] = {}
    for question in asked.questions:
        started = time.perf_counter()
        body = {"question": question.text, "collection": asked.name, "mode": "extract"}
        answer = server.call("POST", "/ask", json=body)
        seconds.append(time.perf_counter() - started)
        refused += not answer["answerable"]
        right += is_right(answer, question.answers)
        for citation in answer["citations"]:
            document = citation["document_id"]
            if document not in texts:
                texts[document] = server.call("GET", f"/documents/{document}/text")["text"]
            quotes += 1
            inexact += citation["quote"] != texts[document][citation["start"] : citation["end"]]
    total = len(asked.questions)
    return {
        "questions": total,
        "right": round(right / total, 4),
        "refused": round(refused / total, 4),
        "quotes": quotes,
        "inexact_quotes": inexact,
        "latency_ms": quantiles_ms(seconds),
    }


def is_right(answer: dict[str, Any], gold: Sequence[str]) -> bool:
    """Short enough, and a gold answer is in it."""
    if not answer["answerable"] or len(answer["sentences"]) > _MOST_SENTENCES:
        return False
    said = _letters(_MARKER.sub("", answer["answer"]))
    return any(_letters(one) in said for one in gold)


def _letters(text: str) -> str:
    """NFKC, lower case, without white space and punctuation."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(c for c in folded if not c.isspace() and not unicodedata.category(c).startswith("P"))
