"""Building a generation: new segments, the next lexical index, merges, and the switch."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from app.errors import EmbeddingModelMismatch
from app.failpoints import failpoint
from app.index.clustering import MergedRows, Part, write_clustered_segment
from app.index.durable import FileIdentity, Verifier, identify, raise_if_full, sync_folder, unchanged
from app.index.lexical import LexicalWriter
from app.index.manifest import (
    MERGING,
    SEGMENTS,
    Manifest,
    MergeRecord,
    SegmentRecord,
    collect_garbage,
    commit_manifest,
    newest_generation_on_disk,
)
from app.index.merging import PUBLISH_ROWS, Load, choose_merge
from app.index.protocol import IndexEntry
from app.index.segments import live_rows, map_ids, open_segment, runs_of, write_flat_segment
from app.types import Quantization

_MOST_SEGMENT_ROWS = 65_536  # written at once: bounds the memory of a rebuild


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """What large segments are made of."""

    clustered_from: int  # rows: a smaller segment is searched row by row
    quantization: Quantization = Quantization.INT8


@dataclass(frozen=True, slots=True)
class Merge:
    """A segment that is to take the place of others."""

    chosen: tuple[Load, ...]
    record: SegmentRecord | None  # None: no row was left


class GenerationBuilder:
    """Writes generations of one index. Its caller holds the index's lock, but for `merge`."""

    def __init__(self, directory: Path, dimension: int, verifier: Verifier) -> None:
        self._directory = directory
        self._dimension = dimension
        self._verifier = verifier

    def advance(self, base: Manifest, entries: Iterable[IndexEntry], removed: Sequence[int], sequence: int) -> None:
        """Write the generation after `base` and make it the newest; leave no file behind if that fails."""
        try:
            (self._directory / SEGMENTS).mkdir(exist_ok=True)
            # Zeros, read in place of a file that has just lost its end, must not get a valid checksum.
            with unchanged([(path, identify(path)) for path in map(self._directory.joinpath, base.files)]):
                following = self._write_rows(base, entries, removed)
                following = self._merge_small(replace(following, sequence=sequence))
            commit_manifest(self._directory, following)
        except OSError as error:
            raise_if_full(error)
            raise
        finally:
            collect_garbage(self._directory)

    def _write_rows(self, base: Manifest, entries: Iterable[IndexEntry], removed: Sequence[int]) -> Manifest:
        following = self._following(base)
        generation = following.generation
        batches = self._unpublished(base, entries)
        first = next(batches, [])
        if not first and not removed:
            return following
        segments = list(base.segments)
        with LexicalWriter(self._directory, f"lexical-{_unique(generation)}", base.lexical, self._verifier) as lexical:
            batch = first
            while batch:
                segments.append(self._write_segment(generation, batch))
                failpoint("segment.written")
                lexical.add(batch)
                batch = next(batches, [])
            lexical.remove(removed)
            record = lexical.finish()
        return replace(following, segments=tuple(segments), lexical=record, removed=(*base.removed, *removed))

    def _unpublished(self, base: Manifest, entries: Iterable[IndexEntry]) -> Iterator[list[IndexEntry]]:
        """The entries that no segment has yet, in batches of a segment's size at most."""
        present = [map_ids(self._directory, segment, self._verifier)[0] for segment in base.segments]
        remaining = iter(entries)
        while batch := list(islice(remaining, _MOST_SEGMENT_ROWS)):
            ids = np.array([entry.id for entry in batch], dtype=np.int64)
            known = np.zeros(len(ids), dtype=np.bool_)
            for other in present:
                known |= other[np.minimum(np.searchsorted(other, ids), len(other) - 1)] == ids
            if fresh := [entry for entry, old in zip(batch, known.tolist(), strict=True) if not old]:
                yield fresh

    def _write_segment(self, generation: int, batch: Sequence[IndexEntry]) -> SegmentRecord:
        vectors = np.empty((len(batch), self._dimension), dtype=np.float16)
        for row, entry in enumerate(batch):
            if entry.embedding.shape != (self._dimension,):
                raise EmbeddingModelMismatch
            vectors[row] = entry.embedding
        ids = np.array([entry.id for entry in batch], dtype=np.int64)
        first_ids = np.array([entry.first_id for entry in batch], dtype=np.int64)
        return write_flat_segment(self._directory / SEGMENTS, _unique(generation), ids, first_ids, vectors)

    def _merge_small(self, manifest: Manifest) -> Manifest:
        """What takes milliseconds is merged at once, and removals that have no rows left are forgotten."""
        while chosen := choose_merge(self._loads(manifest), PUBLISH_ROWS):
            parts = self._parts(manifest, chosen)
            with unchanged(_files(parts)):
                record = self._write_merged(self._directory / SEGMENTS, manifest, parts)
            failpoint("merge.written")
            manifest = _replaced(manifest, chosen, record)
        return self._without_settled_removals(manifest)

    def merge(self, manifest: Manifest, policy: MergePolicy, should_stop: Callable[[], bool]) -> Merge | None:
        """Build the next segment that the policy asks for, beside the generation; None when it asks for none.

        Needs no lock on the index: what it reads does not change. The caller holds the lock on merges.
        """
        chosen = choose_merge(self._loads(manifest))
        if not chosen:
            return None
        folder = self._directory / MERGING
        folder.mkdir(exist_ok=True)
        parts = self._parts(manifest, chosen)
        with unchanged(_files(parts)):
            if sum(len(part.rows) for part in parts) < policy.clustered_from:
                record = self._write_merged(folder, manifest, parts)
            else:
                name = _unique(manifest.generation)
                record = write_clustered_segment(folder, name, parts, policy.quantization, should_stop)
        failpoint("merge.built")
        return Merge(tuple(chosen), record)

    def adopt(self, base: Manifest, merge: Merge) -> bool:
        """Make a merged segment part of the newest generation; False if another merge or a rebuild came first."""
        names = {segment.name for segment in base.segments}
        if not names.issuperset(load.name for load in merge.chosen):
            return False
        try:
            for file in merge.record.files if merge.record else ():
                (self._directory / MERGING / file).replace(self._directory / SEGMENTS / file)
            sync_folder(self._directory / SEGMENTS)
            failpoint("merge.moved")
            following = _replaced(self._following(base), merge.chosen, merge.record)
            commit_manifest(self._directory, self._without_settled_removals(following))
        finally:
            collect_garbage(self._directory)
        return True

    def _following(self, base: Manifest) -> Manifest:
        """The generation after `base`, as yet the same, under a number that no manifest ever had."""
        generation = max(base.generation, newest_generation_on_disk(self._directory)) + 1
        return replace(base, generation=generation, previous=base.generation)

    def _without_settled_removals(self, manifest: Manifest) -> Manifest:
        if not manifest.removed:
            return manifest
        removed = np.unique(np.array(manifest.removed, dtype=np.int64))
        present = np.zeros(len(removed), dtype=np.bool_)
        for segment in manifest.segments:
            starts, ends = runs_of(map_ids(self._directory, segment, self._verifier)[1], removed)
            present |= starts < ends
        return replace(manifest, removed=tuple(removed[present].tolist()))

    def _loads(self, manifest: Manifest) -> list[Load]:
        loads = []
        for segment in manifest.segments:
            live = None
            if manifest.removed:
                live = live_rows(map_ids(self._directory, segment, self._verifier)[1], manifest.removed)
            loads.append(Load(segment.name, segment.count, segment.count if live is None else int(live.sum())))
        return loads

    def _parts(self, manifest: Manifest, chosen: Sequence[Load]) -> list[Part]:
        names = {load.name for load in chosen}
        parts = []
        for record in manifest.segments:
            if record.name in names:
                # Checksums are taken afresh: a merge must not give damage a new and valid one.
                segment = open_segment(self._directory, record, self._dimension, Verifier())
                live = live_rows(segment.first_ids, manifest.removed)
                rows = np.arange(record.count) if live is None else np.flatnonzero(live)
                parts.append(Part(segment, rows))
        return parts

    def _write_merged(self, folder: Path, manifest: Manifest, parts: Sequence[Part]) -> SegmentRecord | None:
        rows = MergedRows(parts)
        if not len(rows.ids):
            return None
        name = _unique(manifest.generation)
        return write_flat_segment(folder, name, rows.ids, rows.first_ids, rows.read(slice(None)))


def _replaced(manifest: Manifest, chosen: Sequence[Load], record: SegmentRecord | None) -> Manifest:
    names = {load.name for load in chosen}
    segments = [segment for segment in manifest.segments if segment.name not in names]
    kept = record.count if record else 0
    return replace(
        manifest,
        segments=(*segments, record) if record else tuple(segments),
        last_merge=MergeRecord(manifest.generation, len(chosen), kept, sum(load.rows for load in chosen) - kept),
    )


def _files(parts: Sequence[Part]) -> list[tuple[Path, FileIdentity]]:
    return [file for part in parts for file in part.segment.files.items()]


def _unique(generation: int) -> str:
    return f"{generation:06d}-{secrets.token_hex(4)}"
