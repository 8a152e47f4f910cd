"""The index of one collection in a folder of this machine."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from app.errors import IndexDamaged, IndexUnavailable
from app.index.building import GenerationBuilder, MergePolicy
from app.index.bus_errors import survive
from app.index.clustering import MergeStopped
from app.index.durable import Verifier, exclusive, is_held, raise_if_full
from app.index.manifest import (
    CURRENT,
    LOCK,
    MERGE_LOCK,
    MERGING,
    Manifest,
    MergeRecord,
    SegmentRecord,
    collect_garbage,
    make_way,
    manifest_name,
    read_manifest,
    read_pointer,
)
from app.index.protocol import IndexEntry
from app.index.segments import Ids, Segment
from app.index.snapshot import Snapshot

Opened = TypeVar("Opened")

_LOCK_TIMEOUT_SECONDS = 30.0
_OPENING_SECONDS = 60.0  # a reader takes less, from `CURRENT` to the last file of a generation
_MOST_OPENINGS = 10  # a reader so slow that ten generations passed by has a problem of another kind


@dataclass(frozen=True, slots=True)
class IndexDescription:
    """What `doctor` and the metrics tell of an index."""

    generation: int
    sequence: int
    segments: tuple[SegmentRecord, ...]
    rows: int
    removed_versions: int  # whose rows are still to be merged away
    lexical_documents: int
    bytes: int
    last_merge: MergeRecord | None
    is_merging: bool


class LocalIndex:
    """A `CollectionIndex` of FAISS segments and tantivy. Any number of processes may have one open on a folder."""

    def __init__(self, directory: Path, dimension: int) -> None:
        self._directory = directory.resolve()
        survive(self._directory)
        self._dimension = dimension
        self._verifier = Verifier()
        self._opening = threading.Lock()
        self._snapshot: Snapshot | None = None

    # Reading

    def checkpoint(self) -> int:
        """The sequence number up to which the index is complete; raises `IndexDamaged` where it cannot be told."""
        return self._newest().sequence

    def snapshot(self) -> Snapshot:
        """The newest generation, opened; raises `IndexDamaged`."""
        return self._retried(self._open)

    def ids(self) -> tuple[Ids, Ids]:
        """The ids in the dense and in the lexical side, ascending; they are equal in a sound index."""
        snapshot = self.snapshot()
        return snapshot.dense_ids(), snapshot.lexical_ids()

    def describe(self) -> IndexDescription:
        """Sizes and counts of the newest generation."""
        manifest = self._newest()
        lexical = manifest.lexical
        return IndexDescription(
            generation=manifest.generation,
            sequence=manifest.sequence,
            segments=manifest.segments,
            rows=sum(segment.count for segment in manifest.segments),
            removed_versions=len(manifest.removed),
            lexical_documents=lexical.documents if lexical else 0,
            bytes=sum(segment.bytes for segment in manifest.segments) + (lexical.bytes if lexical else 0),
            last_merge=manifest.last_merge,
            is_merging=is_held(self._directory / MERGE_LOCK),
        )

    def verify(self) -> list[str]:
        """Read every byte again and say in plain words what is wrong; empty when all is well."""
        try:
            snapshot = self._retried(lambda pointer: self._open_anew(pointer, Verifier(), {}))
            dense, lexical = snapshot.dense_ids(), snapshot.lexical_ids()
        except IndexDamaged as error:
            return [error.message]
        problems = []
        if len(np.unique(dense)) != len(dense):
            problems.append("Some chunks are in the vector segments twice.")
        for name, segment in snapshot.segments.items():
            if (np.diff(segment.ids) <= 0).any():
                problems.append(f"The ids of segment {name} do not ascend.")
        only_dense, only_lexical = len(np.setdiff1d(dense, lexical)), len(np.setdiff1d(lexical, dense))
        if only_dense or only_lexical:
            problems.append(f"{only_dense} chunks have only a vector, and {only_lexical} only words.")
        return problems

    def reopen(self) -> None:
        """Map everything anew with the next search: what is mapped now may be zeros though the files are whole."""
        self._snapshot = None

    def is_open(self) -> bool:
        """Whether the newest generation is: if not, `snapshot` reads every new byte, which may take seconds.

        Raises `IndexDamaged` where it cannot be told.
        """
        snapshot = self._snapshot
        return snapshot is not None and snapshot.pointer == read_pointer(self._directory)

    def _newest(self) -> Manifest:
        return self._retried(self._read_manifest)

    def _retried(self, opening: Callable[[bytes | None], Opened]) -> Opened:
        """Open what `CURRENT` names. A generation that is cleaned away meanwhile has a successor: open that."""
        for _ in range(_MOST_OPENINGS):
            pointer = read_pointer(self._directory)
            try:
                return opening(pointer)
            except IndexDamaged:
                if read_pointer(self._directory) == pointer:
                    raise
        raise IndexDamaged("The index changes faster than it can be opened.")

    def _open(self, pointer: bytes | None) -> Snapshot:
        snapshot = self._snapshot
        if snapshot is None or snapshot.pointer != pointer:
            with self._opening:
                snapshot, pointer = self._snapshot, read_pointer(self._directory)
                if snapshot is None or snapshot.pointer != pointer:
                    opened = snapshot.segments if snapshot else {}
                    self._snapshot = snapshot = self._open_anew(pointer, self._verifier, opened)
        snapshot.check_files()
        return snapshot

    def _open_anew(self, pointer: bytes | None, verifier: Verifier, opened: Mapping[str, Segment]) -> Snapshot:
        return Snapshot(self._directory, self._read_manifest(pointer), pointer, verifier, opened)

    def _read_manifest(self, pointer: bytes | None) -> Manifest:
        snapshot = self._snapshot
        if snapshot is not None and snapshot.pointer == pointer:
            return snapshot.manifest
        if pointer is None:
            return Manifest(generation=0, previous=0, dimension=self._dimension, sequence=0)
        manifest = read_manifest(self._directory, pointer)
        if manifest.dimension != self._dimension:
            raise IndexDamaged(f"The index has {manifest.dimension} dimensions and should have {self._dimension}.")
        return manifest

    # Writing

    def publish(self, entries: Iterable[IndexEntry], removed: Sequence[int], sequence: int) -> None:
        """Add entries, drop versions and move the checkpoint, all or nothing; does nothing when it is there already.

        Entries that another process has published meanwhile are skipped. Raises `IndexDamaged` (rebuild, then),
        `StorageFull` (the old generation stays), `IndexUnavailable` (another process holds the lock for too long).
        """
        with self._exclusively() as builder:
            base = self._read_manifest(read_pointer(self._directory))
            if base.sequence < sequence:
                builder.advance(base, entries, removed, sequence)

    def rebuild(self, entries: Iterable[IndexEntry], sequence: int) -> None:
        """Replace everything by `entries`, whatever is in the folder now; searches go on until the switch."""
        with self._exclusively() as builder:
            try:
                generation = self._read_manifest(read_pointer(self._directory)).generation
            except IndexDamaged:
                generation = 0
            nothing = Manifest(generation, previous=0, dimension=self._dimension, sequence=0)
            builder.advance(nothing, entries, (), sequence)

    def merge(self, policy: MergePolicy, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Make a few segments one where the policy asks for it; publishes and searches go on meanwhile.

        False when there is nothing to do, another process is at it, or it was stopped. Raises `IndexDamaged`,
        `StorageFull`.
        """
        if not self._directory.is_dir():
            return False
        with suppress(IndexUnavailable, MergeStopped), exclusive(self._directory / MERGE_LOCK, 0):
            try:
                pointer = read_pointer(self._directory)
                try:
                    merge = self._builder().merge(self._read_manifest(pointer), policy, should_stop)
                except IndexDamaged:
                    if read_pointer(self._directory) == pointer:
                        raise
                    return False  # a rebuild or two publishes came in between, and files have gone
                if merge is None:
                    return False
                with self._exclusively() as builder:
                    return builder.adopt(self._read_manifest(read_pointer(self._directory)), merge)
            except OSError as error:
                raise_if_full(error)
                raise
            finally:
                shutil.rmtree(self._directory / MERGING, ignore_errors=True)
        return False

    def tidy(self) -> None:
        """Give up the generation before the newest, once nobody can be opening it any more: it may be as large."""
        try:
            age = time.time() - (self._directory / CURRENT).stat().st_mtime
        except OSError:
            return
        manifest = self._newest()
        if age > _OPENING_SECONDS and (self._directory / manifest_name(manifest.previous)).exists():
            with suppress(IndexUnavailable), exclusive(self._directory / LOCK, 0):
                collect_garbage(self._directory, keep_previous=False)

    @contextmanager
    def _exclusively(self) -> Iterator[GenerationBuilder]:
        self._directory.mkdir(parents=True, exist_ok=True)
        make_way(self._directory)
        with exclusive(self._directory / LOCK, _LOCK_TIMEOUT_SECONDS):
            yield self._builder()

    def _builder(self) -> GenerationBuilder:
        return GenerationBuilder(self._directory, self._dimension, self._verifier)
