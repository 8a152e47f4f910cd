"""Chunks in any number: real texts with real embeddings, then copies of them with noise in both.

A text is a chunk as Footnote cuts it, embedded by the default model. Copy 0 of it is itself. Every other copy has some
words swapped for words of other texts, so that posting lists grow as they would, and its vector is turned away by
Gaussian noise with the covariance of the real vectors, to a cosine between 0.85 and 0.95. (Noise of equal strength in
all 384 directions would make neighbourhoods that no text has.) Row i is the same whatever the number of rows is.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.config import DEFAULT_EMBEDDING_MODEL
from app.embedding import Embedder
from app.embedding.models import load_embedder
from benchmarks.datasets import read_documents, read_set
from ingest.chunking import chunk
from ingest.sections import Section, assemble

DIMENSION = 384
ROWS_PER_DOCUMENT = 20
TEXTS = 20_000  # at most: the sets have about 17,000 chunks of this length
# English alone: the model does not know Chinese, and would put all of it into one corner.
_SETS = (
    "squad20_dev",
    "xquad_en",
    "covid_qa",
    "cranfield",
    "hotpot100",
    "mtrag_un_half",
    "lihua_world_half",
    "dragonball_finance_en",
)
_QUESTION_SETS = ("xquad_en", "squad20_dev")
_MOST_QUESTIONS = 6000
_EMBEDDED_QUESTIONS = 1000
_CHUNK_TOKENS = 128  # without overlap: more different texts than at the default of 200
_LEAST_COSINE, _MOST_COSINE = 0.85, 0.95
_SWAPPED_SHARE = 0.15  # of a copy's words
_BLOCK_ROWS = 10_000  # made at once, from one seed
_EMBEDDED_AT_ONCE = 1024

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The real texts, and every row that can be made of them."""

    folder: Path
    texts: Sequence[str]
    embeddings: Vectors  # (texts, dimension), unit length
    questions: Sequence[str]  # real ones about these texts
    question_vectors: Vectors  # of the first of them
    _noise: Vectors  # (dimension, dimension): makes Gaussian noise of the embeddings' covariance

    def text(self, row: int) -> str:
        """The row's text."""
        copy, at = divmod(row, len(self.texts))
        text = self.texts[at]
        if not copy:
            return text
        chance = random.Random(row)
        words, others = text.split(" "), self.texts[chance.randrange(len(self.texts))].split(" ")
        for _ in range(round(_SWAPPED_SHARE * len(words))):
            words[chance.randrange(len(words))] = others[chance.randrange(len(others))]
        return " ".join(words)

    def vectors(self, first: int, end: int) -> Rows:
        """The vectors of rows `first` … `end` - 1, unit length."""
        blocks = range(first // _BLOCK_ROWS, -(-end // _BLOCK_ROWS))
        made = np.concatenate([np.empty((0, DIMENSION), np.float16), *map(self._block, blocks)])
        start = first - first // _BLOCK_ROWS * _BLOCK_ROWS
        return made[start : start + end - first]

    def matrix(self, rows: int) -> Rows:
        """The vectors of the first rows, from a file that is made once."""
        path = self.folder / f"rows-{rows}.npy"
        if not path.exists():
            temporary = path.with_suffix(".part")
            made = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=(rows, DIMENSION))
            for at in range(0, rows, _BLOCK_ROWS):
                made[at : at + _BLOCK_ROWS] = self.vectors(at, min(at + _BLOCK_ROWS, rows))
            made.flush()
            temporary.replace(path)
        matrix: Rows = np.load(path, mmap_mode="r")
        return matrix

    def exact(self, rows: int, count: int) -> npt.NDArray[np.int64]:
        """The nearest `count` of the first rows for every embedded question, best first, by looking at each."""
        path = self.folder / f"exact-{rows}-{count}.npy"
        if not path.exists():
            np.save(path, nearest(self.question_vectors, self.matrix(rows), count))
        found: npt.NDArray[np.int64] = np.load(path)
        return found

    def _block(self, block: int) -> Rows:
        chance = np.random.default_rng([7, block])
        rows = np.arange(block * _BLOCK_ROWS, (block + 1) * _BLOCK_ROWS)
        originals = self.embeddings[rows % len(self.texts)]
        noise = chance.standard_normal(originals.shape, dtype=np.float32) @ self._noise
        noise -= np.einsum("ij,ij->i", noise, originals)[:, None] * originals
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        cosines = chance.uniform(_LEAST_COSINE, _MOST_COSINE, len(rows)).astype(np.float32)[:, None]
        cosines[rows < len(self.texts)] = 1.0
        turned = cosines * originals + np.sqrt(1 - cosines**2) * noise
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        return np.asarray(turned, dtype=np.float16)


def open_corpus(data: Path, cache: Path, *, most_texts: int = TEXTS) -> Corpus:
    """The corpus of the data folder's sets; what took long to make is kept in the cache folder."""
    folder = cache / f"corpus-{most_texts}"
    if not (folder / "questions.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make(data, folder, most_texts)
    texts, questions = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("texts", "questions"))
    embeddings: Vectors = np.load(folder / "texts.npy")
    shape = np.linalg.cholesky(np.cov(embeddings, rowvar=False) + 1e-6 * np.eye(DIMENSION))
    noise = np.ascontiguousarray(shape.T, dtype=np.float32)
    return Corpus(folder, texts, embeddings, questions, np.load(folder / "questions.npy"), noise)


def nearest(queries: Vectors, rows: Rows, count: int) -> npt.NDArray[np.int64]:
    """For each query the `count` rows with the largest inner products, best first."""
    scores = np.empty((len(queries), 0), dtype=np.float32)
    ids = np.empty((len(queries), 0), dtype=np.int64)
    for at in range(0, len(rows), _BLOCK_ROWS):
        part = queries @ rows[at : at + _BLOCK_ROWS].astype(np.float32).T
        scores = np.hstack([scores, part])
        ids = np.hstack([ids, np.broadcast_to(np.arange(at, at + part.shape[1]), part.shape)])
        best = np.argpartition(-scores, min(count, scores.shape[1] - 1), axis=1)[:, :count]
        scores, ids = np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1)


def _make(data: Path, folder: Path, most_texts: int) -> None:
    embedder = load_embedder(DEFAULT_EMBEDDING_MODEL, device="auto", batch_size=None)
    texts = list(dict.fromkeys(_cut(data, embedder)))
    random.Random(7).shuffle(texts)  # so that few of them are a sample of all
    texts = texts[:most_texts]
    asked = [question.text for name in _QUESTION_SETS for question in read_set(data, name).questions]
    questions = list(dict.fromkeys(asked))
    random.Random(7).shuffle(questions)
    questions = questions[:_MOST_QUESTIONS]
    for name, content in (("texts", texts), ("questions", questions)):
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    parts = []
    for at in range(0, len(texts), _EMBEDDED_AT_ONCE):
        parts.append(embedder.embed_documents(texts[at : at + _EMBEDDED_AT_ONCE]))
        print(f"embedded {min(at + _EMBEDDED_AT_ONCE, len(texts)):,} of {len(texts):,} texts", file=sys.stderr)
    np.save(folder / "texts.npy", np.concatenate(parts))
    np.save(folder / "questions.npy", embedder.embed_queries(questions[:_EMBEDDED_QUESTIONS]))


def _cut(data: Path, embedder: Embedder) -> Iterator[str]:
    for name in _SETS:
        for document in read_documents(data, name):
            text, spans = assemble([Section(document.text)])
            for piece in chunk(text, spans, embedder.count_tokens, _CHUNK_TOKENS, 0):
                yield piece.text
