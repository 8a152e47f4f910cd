"""Whether `confidence` tells the questions that the documents answer from those that they do not, through `POST /ask`.

Of each set two collections are made, each without one half of the documents that answer, and every question is asked of
both. SQuAD 2.0 is asked with all its paragraphs there: half of its questions were written so that the very paragraph
seems to answer them, and does not.

With `--cache` the server's data stay there, and a later run finds its documents ingested; beside them what was asked,
with the features behind each confidence. `--set` asks some of the sets.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.evaluation.metrics import auroc, calibration_error, reliability, risk_coverage, selective_accuracy
from benchmarks.answers import is_right
from benchmarks.datasets import DataSet, Question, read_set
from benchmarks.results import Result, Row
from benchmarks.server import Server, running_server

_HALVES = {
    "XQuAD, English": ("xquad_en", 0.97),
    "XQuAD, Chinese": ("xquad_zh", 0.97),
    "LiHua-World": ("lihua_world_half", 0.90),
}
_HIGHEST_ERROR = 0.05
_ADVERSARIAL = "squad20_dev"
_ADVERSARIAL_SHARE = 6  # every sixth question
_LEXICAL_BASELINE = 0.61  # AUROC on SQuAD 2.0 of a logistic model over BM25 features
_COVERAGE = 0.8
_CALLERS = 4
_CURVE_POINTS = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question."""

    confidence: float
    answered: bool
    answerable: bool
    right: bool  # a gold answer is in the answer
    question: str
    features: dict[str, float] | None  # None where nothing was found


def run(data: Path, *, quick: bool, cache: Path | None = None, only: Sequence[str] = ()) -> Result:
    """The embedded default, extractive answers."""
    most = 60 if quick else None
    rows: list[Row] = []
    details: dict[str, Any] = {}
    keep = cache / "abstention" if cache and not quick else None
    with running_server(keep=keep) as server:
        for label, (name, target) in _HALVES.items():
            if only and name not in only:
                continue
            outcomes = _ask_halves(server, read_set(data, name, most))
            details[label] = measured = _measure(outcomes)
            rows += _rows(label, measured, target)
        if not only or _ADVERSARIAL in only:
            outcomes = _ask_adversarial(server, read_set(data, _ADVERSARIAL, most), most)
            details["SQuAD 2.0"] = measured = _measure(outcomes)
            area = f"{measured['auroc']:.3f}"
            rows.append(Row("SQuAD 2.0, AUROC of `confidence`", area, f"BM25 features: {_LEXICAL_BASELINE}"))
            rows += _rows("SQuAD 2.0", measured, None)
    return Result(rows, details)


def _rows(label: str, measured: dict[str, Any], target: float | None) -> list[Row]:
    rows = []
    if target is not None:
        area, error = measured["auroc"], measured["calibration_error"]
        rows = [
            Row(f"{label}, AUROC of `confidence`", f"{area:.3f}", f"≥ {target:.2f}", area >= target),
            Row(f"{label}, expected calibration error", f"{error:.3f}", f"≤ {_HIGHEST_ERROR}", error <= _HIGHEST_ERROR),
        ]
    return [
        *rows,
        Row(
            f"{label}, selective accuracy at 80 % coverage: decisions / right answers / at best",
            " / ".join(f"{measured[f'{what}_at_80']:.3f}" for what in ("decisions", "answers", "best_answers")),
        ),
        Row(
            f"{label}, refused: of those answered by a document / of the others",
            f"{measured['refused_answerable']:.3f} / {measured['refused_others']:.3f}",
        ),
    ]


def _ask_halves(server: Server, asked: DataSet) -> list[Outcome]:
    """Questions that name no document, but have answers, are left out: nobody knows what answers them."""
    questions = [question for question in asked.questions if question.doc_ids or not question.answers]
    answering = sorted({document for question in questions if question.answers for document in question.doc_ids})
    random.Random(1).shuffle(answering)
    middle = len(answering) // 2
    outcomes = []
    for number, left_out in enumerate((set(answering[:middle]), set(answering[middle:]))):
        collection = f"{asked.name}-{number}"
        server.ingest(collection, [document for document in asked.documents if document.doc_id not in left_out])
        outcomes += _ask(
            server, collection, questions, lambda q, gone=left_out: bool(q.answers) and gone.isdisjoint(q.doc_ids)
        )
    return outcomes


def _ask_adversarial(server: Server, asked: DataSet, most: int | None) -> list[Outcome]:
    server.ingest(asked.name, asked.documents[: most or None])
    return _ask(server, asked.name, asked.questions[::_ADVERSARIAL_SHARE], lambda q: bool(q.answers))


def _ask(server: Server, collection: str, questions: Sequence[Question], is_answerable: Any) -> list[Outcome]:
    def ask(question: Question) -> Outcome:
        body = {"question": question.text, "collection": collection, "mode": "extract", "explain": True}
        answer = server.call("POST", "/ask", json=body)
        return Outcome(
            answer["confidence"],
            answer["answerable"],
            is_answerable(question),
            is_right(answer, question.answers),
            question.text,
            (answer["explain"].get("confidence") or {}).get("features"),
        )

    with ThreadPoolExecutor(_CALLERS) as callers:
        outcomes = list(callers.map(ask, questions))
    server.keep(f"asked-{collection}.jsonl", (json.dumps(asdict(one), ensure_ascii=False) for one in outcomes))
    return outcomes


def _measure(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    confidence = np.array([one.confidence for one in outcomes])
    answerable = np.array([one.answerable for one in outcomes])
    answered = np.array([one.answered for one in outcomes])
    right = np.array([one.right and one.answerable for one in outcomes])
    covered, risks = risk_coverage(confidence, right)
    # A confidence of 0.1 is as sure a no as 0.9 is a yes.
    decisions = selective_accuracy(np.abs(confidence - 0.5), (confidence >= 0.5) == answerable, _COVERAGE)
    points = np.unique(np.searchsorted(covered, np.linspace(1 / _CURVE_POINTS, 1.0, _CURVE_POINTS) - 1e-9))
    return {
        "questions": len(outcomes),
        "answerable": int(answerable.sum()),
        "auroc": round(auroc(confidence, answerable), 4),
        "calibration_error": round(calibration_error(confidence, answerable), 4),
        "decisions_at_80": round(decisions, 4),
        "answers_at_80": round(selective_accuracy(confidence, right, _COVERAGE), 4),
        "best_answers_at_80": round(min(1.0, float(right.mean()) / _COVERAGE), 4),
        "refused_answerable": round(float(np.mean(~answered[answerable])), 4),
        "refused_others": round(float(np.mean(~answered[~answerable])), 4),
        "reliability": [
            {
                "share": round(each.share, 4),
                "confidence": round(each.probability, 4),
                "answerable": round(each.truth, 4),
            }
            for each in reliability(confidence, answerable)
        ],
        "risk_coverage": [[round(float(covered[p]), 4), round(float(risks[p]), 4)] for p in points],
    }
