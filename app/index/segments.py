"""Vector segments: immutable, checksummed, memory-mapped, so that all server processes share their pages.

A small segment is flat: `<name>.faiss` is a FAISS index of float16 vectors. A large one is clustered: `<name>.faiss` is
an inverted file of quantised vectors, and `<name>.vectors` the float16 vectors themselves, row after row, by which the
best candidates are scored exactly. `<name>.ids` is two rows of little-endian int64, ids and first ids, one column a
vector, ids ascending. FAISS knows a vector by its row, so a set of ids is a bitmap over a segment's rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import faiss
import numpy as np
import numpy.typing as npt

from app.cores import available_cores
from app.errors import IndexDamaged
from app.index.durable import FileIdentity, FileRecord, Verifier, write_durably
from app.index.idset import Change, IdSet
from app.index.manifest import SEGMENTS, SegmentKind, SegmentRecord

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.float16]
Scores = npt.NDArray[np.float32]

# Among which FAISS shares out queries that go together; the lexical leg has the other cores meanwhile. OpenMP keeps the
# number per calling thread.
_FAISS_THREADS = max(1, available_cores() // 2)

# Measured at 100,000 and 1,000,000 rows (docs/decisions/0010): recall@10 of 0.99, with twice √rows clusters.
_PROBED_CLUSTERS = 96
# A filter that keeps a subject may keep its rows in clusters far from the query: below this share, all are searched.
_NARROW_SHARE = 0.3
_CANDIDATES = 2  # times as many as are wanted are scored exactly


class Found(NamedTuple):
    """What a segment has for a query."""

    ids: Ids
    scores: Scores  # cosines


class Selection(NamedTuple):
    """Which rows of a segment are searched, and how; kept between queries and shared between threads."""

    cost: int  # rows that are compared with the query, about
    parameters: Any  # of FAISS


class Segment(ABC):
    """A segment opened for search."""

    def __init__(self, directory: Path, record: SegmentRecord, dimension: int, verifier: Verifier) -> None:
        """Verify every byte before FAISS sees it: FAISS has no checksums, and aborts the process on some damage."""
        self.record = record
        self.files: dict[Path, FileIdentity] = {}
        for file, expected in record.files.items():
            path = directory / SEGMENTS / file
            self.files[path] = verifier.verify(path, expected)
        self.ids, self.first_ids = map_ids(directory, record, verifier)
        self._masks: WeakKeyDictionary[IdSet, Mask] = WeakKeyDictionary()
        self._index = _map_index(directory / SEGMENTS / f"{record.name}.faiss")
        if (self._index.ntotal, self._index.d) != (record.count, dimension):
            raise IndexDamaged(f"{record.name}.faiss does not hold {record.count} vectors of {dimension} numbers.")

    def mask(self, allowed: IdSet) -> Mask:
        """Which rows are allowed; kept as long as the set is, and not to be written to."""
        mask = self._masks.get(allowed)
        if mask is None:
            change = allowed.change
            before = None if change is None else self._masks.get(change.origin)
            mask = mask_of(self.ids, allowed) if change is None or before is None else self._follow(before, change)
            self._masks[allowed] = mask
        return mask

    def _follow(self, before: Mask, change: Change) -> Mask:
        mask = before.copy()
        for ranges, value in ((change.dropped, False), (change.added, True)):
            for first, end in np.searchsorted(self.ids, ranges).tolist():
                mask[first:end] = value
        return mask

    @property
    @abstractmethod
    def vectors(self) -> Vectors:
        """The vectors themselves, (count, dimension), without a copy; valid as long as the segment is."""

    @abstractmethod
    def select(self, mask: Mask | None) -> Selection:
        """A selection of the masked rows; None for all."""

    @abstractmethod
    def search(self, queries: Scores, limit: int, selection: Selection) -> list[Found]:
        """What is nearest to each of the queries, shape (queries, dimension), in a selection."""

    def _search(self, queries: Scores, limit: int, selection: Selection) -> Iterator[tuple[Ids, Scores]]:
        """Rows and scores for each query."""
        faiss.omp_set_num_threads(min(len(queries), _FAISS_THREADS))  # a team for one query costs more than it brings
        scores, rows = self._index.search(queries, min(limit, self.record.count), params=selection.parameters)
        found = rows >= 0  # -1 fills up where fewer were found
        return ((rows[i][found[i]], scores[i][found[i]]) for i in range(len(queries)))


class FlatSegment(Segment):
    """Every selected row is compared with the query."""

    @property
    def vectors(self) -> Vectors:
        count, dimension = self._index.ntotal, self._index.d
        codes = faiss.rev_swig_ptr(self._index.codes.data(), count * dimension * 2)
        vectors: Vectors = codes.view("<f2").reshape(count, dimension)
        return vectors

    def select(self, mask: Mask | None) -> Selection:
        if mask is None:
            return Selection(self.record.count, None)
        return Selection(int(mask.sum()), faiss.SearchParameters(sel=_bitmap(mask)))  # type: ignore[call-arg]

    def search(self, queries: Scores, limit: int, selection: Selection) -> list[Found]:
        return [Found(self.ids[rows], scores) for rows, scores in self._search(queries, limit, selection)]


class ClusteredSegment(Segment):
    """The clusters nearest to the query are searched by quantised vectors, and the best of them scored exactly."""

    def __init__(self, directory: Path, record: SegmentRecord, dimension: int, verifier: Verifier) -> None:
        super().__init__(directory, record, dimension, verifier)
        self._vectors = _map(directory / SEGMENTS / f"{record.name}.vectors", "<f2", (record.count, dimension))

    @property
    def vectors(self) -> Vectors:
        return self._vectors

    def select(self, mask: Mask | None) -> Selection:
        clusters = self._index.nlist
        probed = min(clusters, _PROBED_CLUSTERS)
        if mask is None:
            parameters = faiss.SearchParametersIVF(nprobe=probed)  # type: ignore[call-arg]
            return Selection(self.record.count * probed // clusters, parameters)
        rows = int(mask.sum())
        if rows < _NARROW_SHARE * self.record.count:
            probed = clusters
        elif rows < self.record.count:
            probed = min(clusters, probed * self.record.count // rows)
        parameters = faiss.SearchParametersIVF(nprobe=probed, sel=_bitmap(mask))  # type: ignore[call-arg]
        return Selection(rows * probed // clusters, parameters)

    def search(self, queries: Scores, limit: int, selection: Selection) -> list[Found]:
        found = []
        for query, (rows, _) in zip(queries, self._search(queries, _CANDIDATES * limit, selection), strict=True):
            scores = self._vectors[rows].astype(np.float32) @ query
            best = np.argsort(-scores, kind="stable")[:limit]
            found.append(Found(self.ids[rows[best]], scores[best]))
        return found


def open_segment(directory: Path, record: SegmentRecord, dimension: int, verifier: Verifier) -> Segment:
    """A segment of whatever kind; raises `IndexDamaged`."""
    kind = FlatSegment if record.kind is SegmentKind.FLAT_FP16 else ClusteredSegment
    return kind(directory, record, dimension, verifier)


def write_flat_segment(folder: Path, name: str, ids: Ids, first_ids: Ids, vectors: Vectors) -> SegmentRecord:
    """Write a flat segment of n rows in any order; `vectors` is (n, dimension), ids are (n,)."""
    order = np.argsort(ids, kind="stable")
    count, dimension = vectors.shape
    index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    # A code of QT_fp16 is the vector's float16 bytes, so nothing is converted and nothing is lost.
    index.add_sa_codes(np.ascontiguousarray(vectors[order], dtype="<f2").view(np.uint8).reshape(count, -1))
    file = f"{name}.faiss"
    files = {file: write_durably(folder / file, faiss.serialize_index(index).data)}
    return SegmentRecord(
        name, SegmentKind.FLAT_FP16, count, files | write_ids(folder, name, ids[order], first_ids[order])
    )


def write_ids(folder: Path, name: str, ids: Ids, first_ids: Ids) -> dict[str, FileRecord]:
    """Write the ids of a segment's rows, ascending; the record of the file by its name."""
    file = f"{name}.ids"
    return {file: write_durably(folder / file, np.stack([ids, first_ids]).astype("<i8").data.cast("B"))}


def map_ids(directory: Path, record: SegmentRecord, verifier: Verifier) -> tuple[Ids, Ids]:
    """The ids and first ids of a segment's rows, mapped."""
    file = f"{record.name}.ids"
    path = directory / SEGMENTS / file
    verifier.verify(path, record.files[file])
    ids, first_ids = _map(path, "<i8", (2, record.count))
    return ids, first_ids


def mask_of(ids: Ids, allowed: IdSet) -> Mask:
    """Which rows are allowed, by the ranges' edges: quicker than asking for each of a million ascending ids."""
    edges = np.zeros(len(ids) + 1, dtype=np.int32)
    np.add.at(edges, np.searchsorted(ids, allowed.firsts), 1)
    np.subtract.at(edges, np.searchsorted(ids, allowed.ends), 1)
    return np.cumsum(edges[:-1]) > 0


def live_rows(first_ids: Ids, removed: Sequence[int]) -> Mask | None:
    """Which rows belong to a version that was not removed; None when all do. `first_ids` ascend."""
    starts, ends = runs_of(first_ids, np.asarray(removed, dtype=np.int64))
    if not (starts < ends).any():
        return None
    live = np.ones(len(first_ids), dtype=np.bool_)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        live[start:end] = False
    return live


def runs_of(first_ids: Ids, versions: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where the rows of each version begin and end; the same place twice for one that has none."""
    return np.searchsorted(first_ids, versions, "left"), np.searchsorted(first_ids, versions, "right")


def _bitmap(mask: Mask) -> Any:
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[arg-type, call-arg]


def _map(path: Path, dtype: str, shape: tuple[int, int]) -> npt.NDArray[Any]:
    try:
        # As a plain array: every step of a memmap's indexing goes through Python.
        return np.memmap(path, dtype=dtype, mode="r", shape=shape).view(np.ndarray)
    except (OSError, ValueError) as error:
        raise IndexDamaged(f"{path.name} cannot be mapped.") from error


def _map_index(path: Path) -> Any:
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise IndexDamaged(f"{path.name} cannot be opened.") from error
