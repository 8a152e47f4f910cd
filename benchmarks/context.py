"""What it brings that a chunk is indexed with its context: one set of chunks, indexed with more of it and with less."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.config import Settings
from app.embedding import Embedder, load_embedder
from app.index.idset import IdSet
from app.index.local import LocalIndex
from app.index.protocol import IndexEntry
from app.retrieval.fusion import fuse
from app.retrieval.pipeline import CANDIDATES, DENSE_WEIGHT
from app.types import indexed_text
from benchmarks.server import Server

PageOf = tuple[str, int]  # the document's name, and the page, from 1
Search = Callable[[str, str | None], list[PageOf]]  # a query, and the one document to search in

Context = Callable[[str, tuple[str, ...], str], str]  # of filename, headings and text: what is indexed
CONTEXTS: Mapping[str, Context] = {
    "the text alone": lambda _, __, text: text,
    "with headings and table headers": lambda _, headings, text: indexed_text("", headings, "", text),
    "with the title too": lambda filename, headings, text: indexed_text(filename, headings, "", text),
}


@dataclass(frozen=True, slots=True)
class _Chunk:
    document: str
    filename: str
    page: int
    headings: tuple[str, ...]  # a table's header row is the last of them
    text: str


class ChunkIndex:
    """The chunks of a server's documents, to be indexed again by Footnote's own parts in this process."""

    def __init__(self, chunks: Sequence[_Chunk], settings: Settings) -> None:
        self._chunks = chunks
        self._settings = settings
        self._embedder: Embedder = load_embedder(
            settings.embedding_model, device=settings.embedding_device, batch_size=settings.embedding_batch_size
        )

    @classmethod
    def of(cls, server: Server, names: Mapping[str, str]) -> ChunkIndex:
        """`names` by the server's ids."""
        chunks = [
            _Chunk(name, document["filename"], chunk["page"], tuple(chunk["headings"]), chunk["text"])
            for id_, name in names.items()
            for document in [server.call("GET", f"/documents/{id_}")]
            for chunk in server.pages(f"/documents/{id_}/chunks", "chunks")
        ]
        return cls(chunks, Settings(_env_file=None))

    @contextmanager
    def indexed(self, context: Context) -> Iterator[Search]:
        """A search over the chunks as `context` makes their texts, in the settings of a default server."""
        texts = [context(chunk.filename, chunk.headings, chunk.text) for chunk in self._chunks]
        vectors = self._embedder.embed_documents(texts).astype(np.float16)
        ranges = self._ranges()
        firsts = [first for first, count in ranges.values() for _ in range(count)]
        entries = [
            IndexEntry(at, first, vector, text)
            for at, (first, vector, text) in enumerate(zip(firsts, vectors, texts, strict=True), start=1)
        ]
        with tempfile.TemporaryDirectory(prefix="footnote-benchmark-") as folder:
            index = LocalIndex(Path(folder), self._embedder.dimension)
            index.publish(entries, [], len(entries))
            snapshot = index.snapshot()

            def search(query: str, document: str | None) -> list[PageOf]:
                allowed = IdSet(ranges.values() if document is None else [ranges[document]], everything=not document)
                limit = CANDIDATES
                dense = snapshot.search_dense(self._embedder.embed_queries([query])[0], limit, allowed)
                lexical = snapshot.search_lexical(query, limit, allowed)
                best = fuse(dense, lexical, DENSE_WEIGHT * self._embedder.coverage(query), self._settings.top_k)
                return [(self._chunks[each.id - 1].document, self._chunks[each.id - 1].page) for each in best]

            yield search

    def _ranges(self) -> dict[str, tuple[int, int]]:
        """The first id and the number of chunks of each document."""
        found: dict[str, tuple[int, int]] = {}
        for at, chunk in enumerate(self._chunks, start=1):
            first, count = found.get(chunk.document, (at, 0))
            found[chunk.document] = first, count + 1
        return found
