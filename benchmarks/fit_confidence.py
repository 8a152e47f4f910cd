"""Fit the models of `app.answering.confidence`, and report how well they tell answerable questions from others.

    python benchmarks/fit_confidence.py --spaced DATA/squad11_train --documents 2000 --kind few --kind joined \
        --strength 0.01 --report DATA/xquad_en
    python benchmarks/fit_confidence.py --cjk DATA/drcd_test --cjk DATA/cmrc2018_trial --documents 240 \
        --without near --without nearby --without first_nearby --report DATA/xquad_zh

A set is two files, `NAME.docs.jsonl` (`doc_id`, `title`, `text`) and `NAME.qa.jsonl` (`question`, `doc_id`: the
documents that answer), each possibly gzipped. Documents are drawn into collections of several sizes, every other one
with titles for file names, which are then indexed with every chunk; half of those that answer are left out of each
index, and the questions of both halves are asked through the real search.

Where a set cuts long texts into documents of a paragraph, each among dozens of neighbours, that is no collection that
anybody has: `--kind few` takes up to eight documents of each title, `--kind joined` makes two to four neighbours one.

With `--cache FOLDER` embeddings and features are kept there, so that a run can be interrupted, and sets be asked in
processes of their own. It must be emptied when the features, the search or these numbers change. `--documents` bounds
the largest collection.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.answering.confidence import SHIPPED, Model, script_of
from app.answering.evidence import Evidence, read_passages
from app.answering.features import NAMES, Features, features, to_compare
from app.config import Settings
from app.embedding import Embedder, load_embedder
from app.evaluation.calibration import Asked, refit, table
from app.evaluation.metrics import auroc, calibration_error
from app.index.idset import IdSet
from app.index.local import LocalIndex
from app.index.protocol import IndexEntry
from app.retrieval.fusion import fuse
from app.retrieval.pipeline import DENSE_WEIGHT, Legs
from app.types import Passage, Scores, indexed_text
from ingest.chunking import chunk
from ingest.sections import Section, assemble

COLLECTION_SIZES = {12: 20, 60: 8, 240: 4, 1000: 1}  # documents: how many such collections are drawn
KINDS = ("whole", "few", "joined")  # of collections
MOST_OF_A_TITLE, MOST_JOINED = 8, 4
MOST_QUESTIONS = 400  # of one collection
CANDIDATES, TOP_K = 60, 6
STRENGTH = 0.1  # of the ridge's inverse; 0.01 did best from one kind of collection to another in SQuAD
OF_THE_EMBEDDER = ("dense", "dense_height", "closest", "agreement")
# Which way a feature may speak; 0 is either way. The others speak for an answer.
_SIGNS = {
    **dict.fromkeys(("lacking", "rarest_missing", "names_missing", "unknown", "names_unknown", "kind_missing"), -1),
    "length": 0,
}


@dataclass(frozen=True)
class Chunked:
    """A chunk of a set's document, embedded as it is indexed under no name and under its document's title."""

    document: str
    text: str
    plain: npt.NDArray[np.float16]
    titled: npt.NDArray[np.float16]


@dataclass(frozen=True)
class DataSet:
    """Documents, cut and embedded, with their questions."""

    name: str
    titles: Mapping[str, str]  # document → title
    chunks: Mapping[str, list[Chunked]]  # document → its chunks
    questions: Sequence[Mapping[str, Any]]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON lines, gzipped or not."""
    packed = path.with_name(path.name + ".gz")
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return [json.loads(line) for line in content.splitlines()]


def load(
    prefix: Path,
    embedder: Embedder,
    settings: Settings,
    most_documents: int,
    cache: Path | None = None,
    kind: str = "whole",
) -> DataSet:
    """A set, or titles of it up to that many documents, as one of `KINDS`."""
    documents = read_lines(prefix.with_name(prefix.name + ".docs.jsonl"))
    if kind == "few":
        documents = few_of_a_title(documents)
    documents = draw(documents, most_documents, random.Random(1))
    now_in = {document["doc_id"]: document["doc_id"] for document in documents}
    if kind == "joined":
        documents, now_in = joined(documents)
    name = prefix.name if kind == "whole" else f"{prefix.name}-{kind}"
    pieces = []
    for document in documents:
        text, spans = assemble([Section(document["text"])])
        cut = chunk(text, spans, embedder.count_tokens, settings.chunk_tokens, settings.chunk_overlap_tokens)
        pieces += [(document["doc_id"], part.text) for part in cut]
    titles = {document["doc_id"]: document["title"] for document in documents}
    plain, titled = (
        kept(
            cache and cache / f"{name}-{len(titles)}-{under}.npy",
            lambda named=named: embedder.embed_documents([_indexed(named.get(k, ""), text) for k, text in pieces]),
        ).astype(np.float16)
        for under, named in (("plain", {}), ("titled", titles))
    )
    chunks: dict[str, list[Chunked]] = {key: [] for key in titles}
    for (key, text), *embeddings in zip(pieces, plain, titled, strict=True):
        chunks[key].append(Chunked(key, text, *embeddings))
    questions = read_lines(prefix.with_name(prefix.name + ".qa.jsonl"))
    answered = [
        {**q, "doc_id": sorted({now_in[document] for document in q["doc_id"]})}
        for q in questions
        if now_in.keys() >= set(q["doc_id"])
    ]
    return DataSet(name, titles, chunks, answered)


def _indexed(title: str, text: str) -> str:
    return indexed_text(title, (), "", text)


def by_title(documents: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    titles: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        titles.setdefault(document["title"], []).append(document)
    return titles


def few_of_a_title(documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One to eight documents of each title, at random."""
    chance = random.Random(11)
    titles = by_title(documents)
    return [
        document
        for title in sorted(titles)
        for document in chance.sample(titles[title], min(len(titles[title]), chance.randint(1, MOST_OF_A_TITLE)))
    ]


def joined(documents: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Two to four neighbours of a title as one document, and the document that each has gone into."""
    made, now_in = [], {}
    for title, parts in by_title(documents).items():
        chance = random.Random(zlib.crc32(title.encode()))
        while parts:
            many = chance.randint(2, MOST_JOINED)
            together, parts = parts[:many], parts[many:]
            key = together[0]["doc_id"]
            made.append({"doc_id": key, "title": title, "text": "\n\n".join(part["text"] for part in together)})
            now_in |= {part["doc_id"]: key for part in together}
    return made, now_in


def draw(documents: list[dict[str, Any]], size: int, chance: random.Random) -> list[dict[str, Any]]:
    """Documents of randomly chosen titles: neighbours on one subject make a question hard to refuse."""
    of_title = by_title(documents)
    titles = sorted(of_title)
    chance.shuffle(titles)
    drawn: list[dict[str, Any]] = []
    for title in titles:
        if len(drawn) >= size:
            break
        drawn += of_title[title]
    return drawn[:size]


def ask(
    data: DataSet, documents: Iterable[str], questions: Sequence[Mapping[str, Any]], embedder: Embedder, *, named: bool
) -> list[Asked]:
    """Ask questions of an index that holds these documents alone, each under its title where they are `named`."""
    held = set(documents)
    made: list[tuple[str, Evidence, float, Legs, list[str], bool]] = []
    chunks = [part for document in sorted(held) for part in data.chunks[document]]
    vectors = embedder.embed_queries([q["question"] for q in questions])
    with tempfile.TemporaryDirectory() as folder:
        index = LocalIndex(Path(folder), embedder.dimension)
        entries = (
            IndexEntry(i, 1, part.titled, _indexed(data.titles[part.document], part.text))
            if named
            else IndexEntry(i, 1, part.plain, part.text)
            for i, part in enumerate(chunks, 1)
        )
        index.rebuild(entries, sequence=1)
        everything = IdSet([(1, len(chunks))], everything=True)
        for question, vector in zip(questions, vectors, strict=True):
            text = question["question"]
            coverage = embedder.coverage(text)
            snapshot = index.snapshot()
            dense = snapshot.search_dense(vector, CANDIDATES, everything)
            lexical = snapshot.search_lexical(text, CANDIDATES, everything)
            passages = []
            for found in fuse(dense, lexical, DENSE_WEIGHT * coverage)[:TOP_K]:
                part = chunks[found.id - 1]
                name = data.titles[part.document] if named else ""
                passages.append(_passage(part, name, found.score, Scores(found.dense, found.lexical)))
            legs = Legs(
                snapshot.term_frequencies(text), tuple(hit.score for hit in dense), tuple(hit.score for hit in lexical)
            )
            evidence = read_passages(passages)
            sentences = to_compare(text, evidence, legs)
            made.append((text, evidence, coverage, legs, sentences, held.issuperset(question["doc_id"])))
    distinct = list(dict.fromkeys(sentence for *_, sentences, _ in made for sentence in sentences))
    meant = dict(zip(distinct, embedder.embed_documents(distinct), strict=True))
    return [
        Asked(features(text, evidence, coverage, legs, [float(meant[s] @ vector) for s in sentences]), is_held)
        for (text, evidence, coverage, legs, sentences, is_held), vector in zip(made, vectors, strict=True)
    ]


def _passage(part: Chunked, name: str, score: float, scores: Scores) -> Passage:
    return Passage(part.document, 1, "", name, None, (), 0, len(part.text), part.text, score, scores)


def half_left_out(data: DataSet, size: int, seed: int, embedder: Embedder) -> list[Asked]:
    """Questions of a collection of that size, half of whose documents are not in the index."""
    chance = random.Random(seed)
    drawn = {d["doc_id"] for d in draw([{"doc_id": k, "title": v} for k, v in data.titles.items()], size, chance)}
    questions = [q for q in data.questions if drawn.issuperset(q["doc_id"])]
    answering = sorted({document for q in questions for document in q["doc_id"]})
    chance.shuffle(answering)
    left_out = set(answering[: len(answering) // 2])
    chance.shuffle(questions)
    return ask(data, drawn - left_out, questions[:MOST_QUESTIONS], embedder, named=seed % 2 == 0)


def fit_signed(asked: Sequence[Asked], names: Sequence[str], strength: float) -> Model:
    """A feature whose weight would have the wrong sign is noise here and would be harm elsewhere: it is left out."""
    values, truths = table(asked)
    names = list(names)
    while True:
        model = refit(values, truths, strength=strength, names=names)
        effects = {
            name: model.weights[name] * _SIGNS.get(name, 1) * values[:, NAMES.index(name)].std()
            for name in names
            if _SIGNS.get(name, 1)
        }
        worst = min(effects, key=effects.__getitem__)
        if effects[worst] >= 0:
            return model
        names.remove(worst)


def main() -> None:
    """Fit on the training sets and print the models; report on the others with the models in the code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaced", type=Path, action="append", default=[], help="training set with spaces")
    parser.add_argument("--cjk", type=Path, action="append", default=[], help="training set in Chinese")
    parser.add_argument("--report", type=Path, action="append", default=[], help="set to report on")
    parser.add_argument("--cache", type=Path, help="folder for what is kept of training sets")
    parser.add_argument("--documents", type=int, default=max(COLLECTION_SIZES), help="of each training set, at most")
    parser.add_argument("--kind", choices=KINDS, action="append", default=[], help="of collection; whole, unless told")
    parser.add_argument("--without", choices=NAMES, action="append", default=[], help="feature to leave out")
    parser.add_argument("--strength", type=float, default=STRENGTH, help="scikit-learn's C")
    arguments = parser.parse_args()
    settings = Settings(_env_file=None)
    embedder = load_embedder(settings.embedding_model, device="auto", batch_size=settings.embedding_batch_size)
    for script, prefixes in (("spaced", arguments.spaced), ("cjk", arguments.cjk)):
        asked = [
            one
            for prefix in prefixes
            for kind in arguments.kind or KINDS[:1]
            for one in training(prefix, embedder, settings, arguments.documents, arguments.cache, kind)
        ]
        if asked:
            print(f"# {script}: {len(asked)} questions")
            names = [name for name in NAMES if name not in arguments.without]
            words = [name for name in names if name not in OF_THE_EMBEDDER]
            show(script, fit_signed(asked, names, arguments.strength))
            show(f"{script}, words alone", fit_signed(asked, words, arguments.strength))
    for prefix in arguments.report:
        report(load(prefix, embedder, settings, 10**9), embedder)


def show(name: str, model: Model) -> None:
    """As it stands in `app.answering.confidence`."""
    weights = ", ".join(f'"{feature}": {weight:.4g}' for feature, weight in model.weights.items())
    print(f'"{name}": Model({model.constant:.4g}, {{{weights}}}),')


def training(
    prefix: Path, embedder: Embedder, settings: Settings, most_documents: int, cache: Path | None, kind: str
) -> list[Asked]:
    """Questions of collections of all sizes."""
    data = load(prefix, embedder, settings, most_documents, cache, kind)
    asked = []
    for size, times in COLLECTION_SIZES.items():
        for seed in range(times if size <= len(data.titles) else 0):
            path = cache and cache / f"{data.name}-{len(data.titles)}-{size}-{seed}.npy"
            rows = kept(
                path, lambda size=size, seed=seed: np.column_stack(table(half_left_out(data, size, seed, embedder)))
            )
            asked += [Asked(Features(*row[:-1]), bool(row[-1])) for row in rows.tolist()]
    return asked


def kept(path: Path | None, compute: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What the file holds, made where there is none yet."""
    if path is None:
        return compute()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, compute())
    return np.load(path)


def report(data: DataSet, embedder: Embedder) -> None:
    """With the shipped models: half of the documents left out."""
    asked = [one for seed in (101, 102) for one in half_left_out(data, len(data.titles), seed, embedder)]
    script = script_of(data.questions[0]["question"])
    for name in (script, f"{script}, words alone"):
        scores = np.array([SHIPPED[name].probability(one.features) for one in asked])
        truths = np.array([one.answerable for one in asked])
        print(
            f"{data.name}, {name}: AUROC {auroc(scores, truths):.4f}, "
            f"calibration error {calibration_error(scores, truths):.4f}"
        )


if __name__ == "__main__":
    main()
