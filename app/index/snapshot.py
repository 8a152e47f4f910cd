"""One generation opened for search. It never changes, so any number of threads may search it without a lock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from app.cores import available_cores
from app.errors import EmbeddingModelMismatch
from app.index import bus_errors
from app.index.durable import Verifier, require_unchanged
from app.index.idset import IdSet
from app.index.lexical import LexicalReader
from app.index.manifest import Manifest
from app.index.protocol import NO_TERMS, Hit, TermFrequencies
from app.index.segments import Found, Ids, Mask, Segment, Selection, live_rows, open_segment

_Selected = list[tuple[Segment, Selection]]  # the segments that have allowed rows

_WORTH_THREADS = 200_000  # rows to be compared with the query


@cache
def _threads() -> ThreadPoolExecutor:
    """Shared by all searches of the process: a core each is all that there is."""
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="segments")


class Snapshot:
    """The segments and the lexical index of one generation."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        pointer: bytes | None,
        verifier: Verifier,
        opened: Mapping[str, Segment],
    ) -> None:
        """`opened` holds segments of the generation before, by name; those that are still in use are kept."""
        self.manifest = manifest
        self.pointer = pointer
        self.segments = {
            record.name: opened.get(record.name) or open_segment(directory, record, manifest.dimension, verifier)
            for record in manifest.segments
        }
        self._lexical = manifest.lexical and LexicalReader(directory, manifest.lexical, verifier)
        self._live = {name: live_rows(segment.first_ids, manifest.removed) for name, segment in self.segments.items()}
        self._selected: WeakKeyDictionary[IdSet, _Selected] = WeakKeyDictionary()
        mapped = [segment.files for segment in self.segments.values()]
        if self._lexical:
            mapped.append(self._lexical.files)
        self._files = [(os.fspath(path), identity) for files in mapped for path, identity in files.items()]

    @property
    def sequence(self) -> int:
        """The sequence number up to which the generation is complete."""
        return self.manifest.sequence

    def check_files(self) -> None:
        """Raise `IndexDamaged` where a mapped file was written to, or cannot be read: who reads on may read zeros."""
        require_unchanged(self._files)

    def confirm(self) -> None:
        """Raise `IndexDamaged` where a file changed while searches read it: what they found is not to be used."""
        require_unchanged(self._files, may_be_gone=True)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raise `IndexDamaged` at the end where zeros were read in place of a file, whatever came of it."""
        try:
            yield
        finally:
            if bus_errors.happened():
                self.confirm()

    def search_dense(self, query: npt.NDArray[np.float32], limit: int, allowed: IdSet) -> list[Hit]:
        """The nearest allowed chunks over all segments, equal scores in the order of their ids.

        Nothing for a query that is not finite. Raises `EmbeddingModelMismatch`.
        """
        return self.search_dense_together(query[None, :], limit, allowed)[0]

    def search_dense_together(self, queries: npt.NDArray[np.float32], limit: int, allowed: IdSet) -> list[list[Hit]]:
        """The same for each of many queries, which may share the cores."""
        if queries.shape[1:] != (self.manifest.dimension,):
            raise EmbeddingModelMismatch(
                f"The index has {self.manifest.dimension} dimensions, the query {queries.shape[-1]}."
            )
        finite = np.all(np.isfinite(queries), axis=1)
        if limit < 1 or not finite.any():
            return [[] for _ in queries]
        with self._reading():
            found = self._search_segments(np.where(finite[:, None], queries, 0), limit, self._select(allowed))
        return [_best(parts, limit) if is_finite else [] for is_finite, parts in zip(finite, found, strict=True)]

    def _search_segments(
        self, queries: npt.NDArray[np.float32], limit: int, selected: _Selected
    ) -> list[tuple[Found, ...]]:
        """For each query, what the segments have."""

        def search(one: tuple[Segment, Selection]) -> list[Found]:
            segment, selection = one
            return segment.search(queries, limit, selection)

        # Few rows take less time than another thread takes to wake up.
        at_once = sum(selection.cost for _, selection in selected) >= _WORTH_THREADS and len(selected) > 1
        found = _threads().map(search, selected) if at_once else map(search, selected)
        return list(zip(*found, strict=True)) if selected else [()] * len(queries)

    def search_lexical(self, query: str, limit: int, allowed: IdSet) -> list[Hit]:
        """The best allowed chunks by BM25, equal scores in the order of their ids."""
        with self._reading():
            return self._lexical.search(query, limit, allowed) if self._lexical else []

    def term_frequencies(self, text: str) -> TermFrequencies:
        """Of the terms of a text, over all chunks of the generation."""
        with self._reading():
            return self._lexical.frequencies(text) if self._lexical else NO_TERMS

    def dense_ids(self) -> Ids:
        """The ids of all rows that belong to a version, ascending."""
        with self._reading():
            parts = [segment.ids[self._live_mask(name)] for name, segment in self.segments.items()]
            return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *parts]))

    def lexical_ids(self) -> Ids:
        """The ids of all documents in the lexical index, ascending."""
        with self._reading():
            return self._lexical.ids() if self._lexical else np.empty(0, dtype=np.int64)

    def _live_mask(self, name: str) -> Mask:
        live = self._live[name]
        return np.ones(self.segments[name].record.count, dtype=np.bool_) if live is None else live

    def _select(self, allowed: IdSet) -> _Selected:
        """The rows to search in each segment; kept for as long as the caller keeps its set of ids."""
        selected = self._selected.get(allowed)
        if selected is None:
            selected = []
            for name, segment in self.segments.items():
                mask, live = segment.mask(allowed), self._live[name]
                if live is not None:
                    mask = mask & live
                if mask.any():
                    selected.append((segment, segment.select(None if mask.all() else mask)))
            self._selected[allowed] = selected
        return selected


def _best(parts: Sequence[Found], limit: int) -> list[Hit]:
    if not parts:
        return []
    ids = np.concatenate([part.ids for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    best = np.lexsort((ids, -scores))[:limit]
    return list(map(Hit, ids[best].tolist(), scores[best].tolist()))
