"""Fit the coefficients of `app.answering.confidence`, and report how well they tell answerable questions from others.

    python benchmarks/fit_confidence.py --spaced DATA/squad11_train --cjk DATA/drcd_test --cjk DATA/cmrc2018_trial \
        --report DATA/xquad_en --report DATA/xquad_zh

A set is two files, `NAME.docs.jsonl` (`doc_id`, `title`, `text`) and `NAME.qa.jsonl` (`question`, `doc_id`: the
documents that answer), each possibly gzipped. Documents are drawn into collections of several sizes; half of those
that answer are left out of each index, and the questions of both halves are asked through the real search.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.answering.confidence import Features, features, probability
from app.answering.evidence import read_passages
from app.config import Settings
from app.embedding import Embedder, load_embedder
from app.index.idset import IdSet
from app.index.local import LocalIndex
from app.index.protocol import IndexEntry
from app.retrieval.fusion import fuse
from app.retrieval.pipeline import DENSE_WEIGHT
from app.types import Passage, Scores
from ingest.chunking import chunk
from ingest.sections import Section, assemble

Array = npt.NDArray[np.float64]

COLLECTION_SIZES = {12: 20, 60: 8, 240: 4, 1000: 1}  # documents: how many such collections are drawn
MOST_QUESTIONS = 400  # of one collection
ANSWERABLE_SHARE = 0.93  # the odds the fit is made for: a wrong refusal weighs as much as 13 wrong tries
RIDGE = 1e-3


@dataclass(frozen=True)
class Chunked:
    """A chunk of a set's document, embedded."""

    document: str
    text: str
    embedding: npt.NDArray[np.float16]


@dataclass(frozen=True)
class DataSet:
    """Documents, cut and embedded, with their questions."""

    name: str
    titles: Mapping[str, str]  # document → title
    chunks: Mapping[str, list[Chunked]]  # document → its chunks
    questions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Asked:
    """One question, asked of one collection."""

    question: str
    features: Features
    answerable: bool


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON lines, gzipped or not."""
    packed = path.with_name(path.name + ".gz")
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return [json.loads(line) for line in content.splitlines()]


def load(prefix: Path, embedder: Embedder, settings: Settings, most_documents: int, seed: int) -> DataSet:
    """A set, or whole titles of it up to that many documents."""
    documents = read_lines(prefix.with_name(prefix.name + ".docs.jsonl"))
    documents = draw(documents, most_documents, random.Random(seed))
    pieces = []
    for document in documents:
        text, spans = assemble([Section(document["text"])])
        cut = chunk(text, spans, embedder.count_tokens, settings.chunk_tokens, settings.chunk_overlap_tokens)
        pieces += [(document["doc_id"], part.text) for part in cut]
    embeddings = embedder.embed_documents([text for _, text in pieces]).astype(np.float16)
    chunks: dict[str, list[Chunked]] = {document["doc_id"]: [] for document in documents}
    for (document_id, text), embedding in zip(pieces, embeddings, strict=True):
        chunks[document_id].append(Chunked(document_id, text, embedding))
    questions = read_lines(prefix.with_name(prefix.name + ".qa.jsonl"))
    return DataSet(
        prefix.name,
        {document["doc_id"]: document["title"] for document in documents},
        chunks,
        [q for q in questions if all(document in chunks for document in q["doc_id"])],
    )


def draw(documents: list[dict[str, Any]], size: int, chance: random.Random) -> list[dict[str, Any]]:
    """Documents of randomly chosen titles: neighbours on one subject make a question hard to refuse."""
    by_title: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        by_title.setdefault(document["title"], []).append(document)
    titles = sorted(by_title)
    chance.shuffle(titles)
    drawn: list[dict[str, Any]] = []
    for title in titles:
        if len(drawn) >= size:
            break
        drawn += by_title[title]
    return drawn[:size]


def ask(
    data: DataSet, documents: Iterable[str], questions: Sequence[Mapping[str, Any]], embedder: Embedder
) -> list[Asked]:
    """Ask questions of an index that holds these documents alone."""
    held = set(documents)
    chunks = [part for document in sorted(held) for part in data.chunks[document]]
    vectors = embedder.embed_queries([q["question"] for q in questions])
    asked = []
    with tempfile.TemporaryDirectory() as folder:
        index = LocalIndex(Path(folder), embedder.dimension)
        index.rebuild((IndexEntry(i, 1, part.embedding, part.text) for i, part in enumerate(chunks, 1)), sequence=1)
        everything = IdSet([(1, len(chunks))], everything=True)
        for question, vector in zip(questions, vectors, strict=True):
            text = question["question"]
            coverage = embedder.coverage(text)
            snapshot = index.snapshot()
            legs = snapshot.search_dense(vector, 60, everything), snapshot.search_lexical(text, 60, everything)
            found = fuse(*legs, DENSE_WEIGHT * coverage)[:6]
            passages = [_passage(chunks[c.id - 1].text, c.score, Scores(c.dense, c.lexical)) for c in found]
            known = features(text, read_passages(passages), coverage)
            asked.append(Asked(text, known, bool(held & set(question["doc_id"]))))
    return asked


def _passage(text: str, score: float, scores: Scores) -> Passage:
    return Passage("", 1, "", "", None, (), 0, len(text), text, score, scores)


def half_left_out(data: DataSet, size: int, seed: int, embedder: Embedder) -> list[Asked]:
    """Questions of a collection of that size, half of whose documents are not in the index."""
    chance = random.Random(seed)
    drawn = {d["doc_id"] for d in draw([{"doc_id": k, "title": v} for k, v in data.titles.items()], size, chance)}
    questions = [q for q in data.questions if drawn.issuperset(q["doc_id"])]
    answering = sorted({document for q in questions for document in q["doc_id"]})
    chance.shuffle(answering)
    left_out = set(answering[: len(answering) // 2])
    chance.shuffle(questions)
    return ask(data, drawn - left_out, questions[:MOST_QUESTIONS], embedder)


def fit(asked: Sequence[Asked]) -> Array:
    """The constant, then a number a feature. A feature that would speak against an answer is noise, and gets 0."""
    values = np.array([astuple(one.features) for one in asked])
    labels = np.array([one.answerable for one in asked], dtype=np.float64)
    used = np.ones(values.shape[1], dtype=bool)
    while True:
        constant, slopes = _logistic_regression(values[:, used], labels)
        if (slopes >= 0).all():
            break
        used[np.flatnonzero(used)[slopes < 0]] = False
    coefficients = np.zeros(1 + len(used))
    coefficients[0], coefficients[1:][used] = constant, slopes
    return coefficients


def _logistic_regression(values: Array, labels: Array) -> tuple[float, Array]:
    """Weighted to `ANSWERABLE_SHARE`, with a small ridge, by Newton's method: constant and slopes."""
    weights = np.where(labels == 1, ANSWERABLE_SHARE / labels.mean(), (1 - ANSWERABLE_SHARE) / (1 - labels.mean()))
    mean, spread = values.mean(axis=0), values.std(axis=0) + 1e-9
    design = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    ridge = RIDGE * len(labels) * np.diag([0.0] + [1.0] * values.shape[1])
    solution = np.zeros(design.shape[1])
    for _ in range(40):
        predicted = 1 / (1 + np.exp(-design @ solution))
        gradient = design.T @ (weights * (predicted - labels)) + ridge @ solution
        curvature = (design * (weights * predicted * (1 - predicted))[:, None]).T @ design + ridge
        solution -= np.linalg.solve(curvature, gradient)
    slopes = solution[1:] / spread
    return float(solution[0] - slopes @ mean), slopes


def auroc(scores: Array, labels: npt.NDArray[np.bool_]) -> float:
    """How often an answerable question gets the higher score of a pair; ties count half."""
    order = np.sort(scores[~labels])
    below = np.searchsorted(order, scores[labels], side="left") + np.searchsorted(order, scores[labels], side="right")
    return float(below.mean() / 2 / len(order))


def main() -> None:
    """Fit on the training sets, print the coefficients, report on the others with the coefficients in the code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaced", type=Path, action="append", default=[], help="training set with spaces")
    parser.add_argument("--cjk", type=Path, action="append", default=[], help="training set in Chinese")
    parser.add_argument("--report", type=Path, action="append", default=[], help="set to report on")
    arguments = parser.parse_args()
    settings = Settings(_env_file=None)
    embedder = load_embedder(settings.embedding_model, device="auto", batch_size=settings.embedding_batch_size)
    fitted: dict[str, Array] = {}
    for name, prefixes in (("_SPACED", arguments.spaced), ("_CJK", arguments.cjk)):
        asked = [one for prefix in prefixes for one in training(prefix, embedder, settings)]
        if asked:
            fitted[name] = fit(asked)
            print(f"{name} = ({', '.join(f'{value:.4g}' for value in fitted[name])})  # {len(asked)} questions")
    print("# constant,", ", ".join(field.name for field in fields(Features)))
    for prefix in arguments.report:
        report(load(prefix, embedder, settings, 10**9, 0), embedder)


def training(prefix: Path, embedder: Embedder, settings: Settings) -> list[Asked]:
    """Questions of collections of all sizes."""
    data = load(prefix, embedder, settings, max(COLLECTION_SIZES), seed=1)
    return [
        one
        for size, times in COLLECTION_SIZES.items()
        if size <= len(data.titles)
        for seed in range(times)
        for one in half_left_out(data, size, seed, embedder)
    ]


def report(data: DataSet, embedder: Embedder) -> None:
    """AUROC with half left out; wrong refusals with all there; refusals with nothing there that answers."""
    size = len(data.titles)
    mixed = [one for seed in (101, 102) for one in half_left_out(data, size, seed, embedder)]
    scores, labels = _scores(mixed), np.array([one.answerable for one in mixed])
    whole = _scores(ask(data, data.titles, data.questions, embedder))
    print(
        f"{data.name}: AUROC {auroc(scores, labels):.4f} half left out; "
        f"refused {np.mean(whole < 0.5):.4f} of {len(whole)} with everything there, "
        f"{np.mean(scores[~labels] < 0.5):.4f} of those left out"
    )


def _scores(asked: Sequence[Asked]) -> Array:
    return np.array([probability(one.question, one.features) for one in asked])


if __name__ == "__main__":
    main()
