"""Vector segments: immutable, checksummed, memory-mapped, so that all server processes share their pages.

A segment is two files. `<name>.faiss` is a FAISS index without ids; `<name>.ids` is two rows of little-endian int64,
ids and first ids, one column a vector, ids ascending. So a set of ids is a bitmap over a segment's positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from app.errors import IndexDamaged
from app.index.durable import FileIdentity, Verifier, write_durably
from app.index.idset import IdSet
from app.index.manifest import SEGMENTS, SegmentKind, SegmentRecord

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.float16]

# OpenMP keeps the number per calling thread. One query over one segment has nothing to share out, and searches of
# many callers already fill the cores.
_FAISS_THREADS = 1


def write_segment(directory: Path, name: str, ids: Ids, first_ids: Ids, codes: Codes) -> SegmentRecord:
    """Write a flat float16 segment of n rows in any order; `codes` is (n, dimension), ids are (n,)."""
    order = np.argsort(ids, kind="stable")
    count, dimension = codes.shape
    index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    # A code of QT_fp16 is the vector's float16 bytes, so nothing is converted and nothing is lost.
    index.add_sa_codes(np.ascontiguousarray(codes[order], dtype="<f2").view(np.uint8).reshape(count, -1))
    columns = np.stack([ids[order], first_ids[order]]).astype("<i8")
    contents = {f"{name}.faiss": faiss.serialize_index(index).data, f"{name}.ids": columns.data.cast("B")}
    files = {file: write_durably(directory / SEGMENTS / file, data) for file, data in contents.items()}
    return SegmentRecord(name, SegmentKind.FLAT_FP16, count, files)


def map_ids(directory: Path, record: SegmentRecord, verifier: Verifier) -> tuple[Ids, Ids]:
    """The ids and first ids of a segment's rows, mapped."""
    file = f"{record.name}.ids"
    path = directory / SEGMENTS / file
    verifier.verify(path, record.files[file])
    try:
        # As a plain array: every step of a memmap's indexing goes through Python.
        ids, first_ids = np.memmap(path, dtype="<i8", mode="r", shape=(2, record.count)).view(np.ndarray)
    except (OSError, ValueError) as error:
        raise IndexDamaged(f"{file} cannot be mapped.") from error
    return ids, first_ids


class Segment:
    """A segment opened for search."""

    def __init__(self, directory: Path, record: SegmentRecord, dimension: int, verifier: Verifier) -> None:
        """Verify every byte before FAISS sees it: FAISS has no checksums, and aborts the process on some damage."""
        self.record = record
        self.files: dict[Path, FileIdentity] = {}
        for file, expected in record.files.items():
            path = directory / SEGMENTS / file
            self.files[path] = verifier.verify(path, expected)
        self.ids, self.first_ids = map_ids(directory, record, verifier)
        self._index = _map_index(directory / SEGMENTS / f"{record.name}.faiss")
        if (self._index.ntotal, self._index.d) != (record.count, dimension):
            raise IndexDamaged(f"{record.name}.faiss does not hold {record.count} vectors of {dimension} numbers.")

    @property
    def codes(self) -> Codes:
        """The vectors themselves, (count, dimension), without a copy; valid as long as the segment is."""
        count, dimension = self._index.ntotal, self._index.d
        flat = faiss.rev_swig_ptr(self._index.codes.data(), count * dimension * 2)
        codes: Codes = flat.view("<f2").reshape(count, dimension)
        return codes

    def search(self, query: npt.NDArray[np.float32], limit: int, selection: Any) -> tuple[Ids, npt.NDArray[np.float32]]:
        """Ids and scores of the nearest rows of a selection (None: of all rows)."""
        faiss.omp_set_num_threads(_FAISS_THREADS)
        scores, positions = self._index.search(query[None, :], min(limit, self.record.count), params=selection)
        found = positions[0] >= 0  # -1 fills up where fewer rows were selected
        return self.ids[positions[0][found]], scores[0][found]


def mask_of(ids: Ids, allowed: IdSet) -> Mask:
    """Which rows are allowed, by the ranges' edges: quicker than asking for each of a million ascending ids."""
    edges = np.zeros(len(ids) + 1, dtype=np.int32)
    np.add.at(edges, np.searchsorted(ids, allowed.firsts), 1)
    np.subtract.at(edges, np.searchsorted(ids, allowed.ends), 1)
    return np.cumsum(edges[:-1]) > 0


def live_rows(first_ids: Ids, removed: Sequence[int]) -> Mask | None:
    """Which rows belong to a version that was not removed; None when all do."""
    dead = np.isin(first_ids, removed)
    return ~dead if dead.any() else None


def selector_of(mask: Mask) -> Any:
    """FAISS's search parameters that keep to a mask; it may be kept and shared between threads."""
    selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[arg-type, call-arg]
    return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]  # FAISS's stubs do not know its own wrappers


def _map_index(path: Path) -> Any:
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise IndexDamaged(f"{path.name} cannot be opened.") from error
