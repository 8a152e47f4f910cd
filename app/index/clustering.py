"""Building a clustered segment: an inverted file over quantised vectors, of more rows than memory should hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from app.index.durable import DurableFile, FileRecord
from app.index.manifest import SegmentKind, SegmentRecord
from app.index.segments import Segment, Vectors, write_ids
from app.types import Quantization

_BATCH_ROWS = 65_536
_CLUSTERS_PER_ROOT = 2  # clusters = 2 √rows
_SAMPLE_PER_CLUSTER = 64  # rows: more make k-means slower and not better
_ITERATIONS = 10


class MergeStopped(Exception):
    """The worker stops, and the merge with it."""


class Part(NamedTuple):
    """What is taken over from a segment."""

    segment: Segment
    rows: npt.NDArray[np.intp]


def write_clustered_segment(
    folder: Path,
    name: str,
    parts: Sequence[Part],
    quantization: Quantization,
    should_stop: Callable[[], bool],
) -> SegmentRecord:
    """Write the parts as one segment, rows in the order of their ids. Raises `MergeStopped`.

    Holds the quantised vectors and a sample in memory, and reads the rest row by row.
    """
    rows = MergedRows(parts)
    files = write_ids(folder, name, rows.ids, rows.first_ids)
    index = _trained(rows, quantization, should_stop)
    with DurableFile(folder / f"{name}.vectors") as file:
        for batch in rows.batches():
            if should_stop():
                raise MergeStopped
            file.write(batch.astype("<f2").data.cast("B"))
            index.add(batch.astype(np.float32))
    files[f"{name}.vectors"] = file.record
    files[f"{name}.faiss"] = _write_index(folder / f"{name}.faiss", index)
    kind = SegmentKind.CLUSTERED_INT8 if quantization is Quantization.INT8 else SegmentKind.CLUSTERED_FP16
    return SegmentRecord(name, kind, len(rows.ids), files)


class MergedRows:
    """The rows of several parts in the order of their ids, read in batches."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._vectors = [part.segment.vectors for part in parts]
        self.dimension = self._vectors[0].shape[1]
        ids = np.concatenate([part.segment.ids[part.rows] for part in parts])
        first_ids = np.concatenate([part.segment.first_ids[part.rows] for part in parts])
        of_part = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.rows) for part in parts])
        order = np.argsort(ids, kind="stable")
        self.ids, self.first_ids = ids[order], first_ids[order]
        self._of_part = of_part[order]
        self._row = np.concatenate([part.rows for part in parts])[order]

    def read(self, at: npt.NDArray[np.intp] | slice) -> Vectors:
        """The vectors at these places of the new order."""
        of_part, row = self._of_part[at], self._row[at]
        vectors = np.empty((len(row), self.dimension), dtype=np.float16)
        for number in np.unique(of_part):
            of_this = of_part == number
            vectors[of_this] = self._vectors[number][row[of_this]]
        return vectors

    def batches(self) -> Iterator[Vectors]:
        for start in range(0, len(self.ids), _BATCH_ROWS):
            yield self.read(slice(start, start + _BATCH_ROWS))


def _trained(rows: MergedRows, quantization: Quantization, should_stop: Callable[[], bool]) -> Any:
    """An empty inverted file whose clusters and ranges fit the rows; the same for the same rows."""
    faiss.omp_set_num_threads(1)  # searches need the other cores
    count, dimension = len(rows.ids), rows.dimension
    clusters = max(1, min(round(_CLUSTERS_PER_ROOT * count**0.5), count))
    sampled = np.random.default_rng(count).permutation(count)[: clusters * _SAMPLE_PER_CLUSTER]
    sample = rows.read(np.sort(sampled)).astype(np.float32)
    quantizer = faiss.IndexFlatIP(dimension)
    # Step by step, because FAISS cannot be interrupted; it goes on from the centroids that it is given.
    kmeans = faiss.Clustering(dimension, clusters)
    kmeans.niter, kmeans.spherical, kmeans.seed = 1, True, count
    kmeans.min_points_per_centroid, kmeans.max_points_per_centroid = 1, 2 * _SAMPLE_PER_CLUSTER
    for _ in range(_ITERATIONS):
        if should_stop():
            raise MergeStopped
        quantizer.reset()
        kmeans.train(sample, quantizer)
    codec = faiss.ScalarQuantizer.QT_8bit if quantization is Quantization.INT8 else faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(quantizer, dimension, clusters, codec, faiss.METRIC_INNER_PRODUCT, True)
    index.train(sample)  # the quantizer has its clusters: only the ranges are left
    return index


def _write_index(path: Path, index: Any) -> FileRecord:
    with DurableFile(path) as file:

        def write(data: bytes) -> int:
            file.write(data)
            return len(data)

        faiss.write_index(index, faiss.PyCallbackIOWriter(write))  # type: ignore[attr-defined]
    return file.record
