"""Building a generation: new segments, the next lexical index, folds, and the switch."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from app.errors import EmbeddingModelMismatch
from app.index.durable import Verifier, raise_if_full
from app.index.folding import Load, choose_fold
from app.index.lexical import LexicalWriter
from app.index.manifest import (
    SEGMENTS,
    FoldRecord,
    Manifest,
    SegmentRecord,
    collect_garbage,
    commit_manifest,
    newest_generation_on_disk,
)
from app.index.protocol import IndexEntry
from app.index.segments import Segment, live_rows, map_ids, write_segment

_MOST_SEGMENT_ROWS = 65_536  # written at once: bounds the memory of a rebuild


class GenerationBuilder:
    """Writes generations of one index. Its caller holds the index's lock."""

    def __init__(self, directory: Path, dimension: int, verifier: Verifier) -> None:
        self._directory = directory
        self._dimension = dimension
        self._verifier = verifier

    def advance(self, base: Manifest, entries: Iterable[IndexEntry], removed: Sequence[int], sequence: int) -> None:
        """Write the generation after `base` and make it the newest; leave no file behind if that fails."""
        try:
            (self._directory / SEGMENTS).mkdir(exist_ok=True)
            following = self._write_rows(base, entries, removed)
            commit_manifest(self._directory, self._fold(replace(following, sequence=sequence)))
        except OSError as error:
            raise_if_full(error)
            raise
        finally:
            collect_garbage(self._directory)

    def _write_rows(self, base: Manifest, entries: Iterable[IndexEntry], removed: Sequence[int]) -> Manifest:
        generation = max(base.generation, newest_generation_on_disk(self._directory)) + 1
        following = replace(base, generation=generation, previous=base.generation)
        batches = self._unpublished(base, entries)
        first = next(batches, [])
        if not first and not removed:
            return following
        segments = list(base.segments)
        with LexicalWriter(self._directory, f"lexical-{_unique(generation)}", base.lexical, self._verifier) as lexical:
            batch = first
            while batch:
                segments.append(self._write_segment(generation, batch))
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
        codes = np.empty((len(batch), self._dimension), dtype=np.float16)
        for row, entry in enumerate(batch):
            if entry.embedding.shape != (self._dimension,):
                raise EmbeddingModelMismatch
            codes[row] = entry.embedding
        ids = np.array([entry.id for entry in batch], dtype=np.int64)
        first_ids = np.array([entry.first_id for entry in batch], dtype=np.int64)
        return write_segment(self._directory, _unique(generation), ids, first_ids, codes)

    def _fold(self, manifest: Manifest) -> Manifest:
        """Apply the fold policy until it is content, and forget removals that have no rows left."""
        while chosen := {load.name for load in choose_fold(self._loads(manifest))}:
            manifest = self._fold_once(manifest, chosen)
        if manifest.removed:
            firsts = [map_ids(self._directory, segment, self._verifier)[1] for segment in manifest.segments]
            present = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *firsts]))
            manifest = replace(manifest, removed=tuple(np.intersect1d(manifest.removed, present).tolist()))
        return manifest

    def _loads(self, manifest: Manifest) -> list[Load]:
        loads = []
        for segment in manifest.segments:
            live = None
            if manifest.removed:
                live = live_rows(map_ids(self._directory, segment, self._verifier)[1], manifest.removed)
            loads.append(Load(segment.name, segment.count, segment.count if live is None else int(live.sum())))
        return loads

    def _fold_once(self, manifest: Manifest, chosen: set[str]) -> Manifest:
        # Checksums are taken afresh: a fold must not give damage a new and valid one.
        folded = [
            Segment(self._directory, record, self._dimension, Verifier())
            for record in manifest.segments
            if record.name in chosen
        ]
        masks = [live_rows(segment.first_ids, manifest.removed) for segment in folded]
        keep = [slice(None) if mask is None else mask for mask in masks]
        ids = np.concatenate([segment.ids[rows] for segment, rows in zip(folded, keep, strict=True)])
        first_ids = np.concatenate([segment.first_ids[rows] for segment, rows in zip(folded, keep, strict=True)])
        codes = np.concatenate([segment.codes[rows] for segment, rows in zip(folded, keep, strict=True)])
        segments = [record for record in manifest.segments if record.name not in chosen]
        if len(ids):
            name = _unique(manifest.generation)
            segments.append(write_segment(self._directory, name, ids, first_ids, codes))
        dropped = sum(segment.record.count for segment in folded) - len(ids)
        last_fold = FoldRecord(manifest.generation, len(folded), len(ids), dropped)
        return replace(manifest, segments=tuple(segments), last_fold=last_fold)


def _unique(generation: int) -> str:
    return f"{generation:06d}-{secrets.token_hex(4)}"
