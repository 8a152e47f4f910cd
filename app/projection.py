"""The index directory as a projection of the database: kept up to date, checked, rebuilt when damaged."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection

from app.config import DEFAULT_CLUSTERED_FROM
from app.errors import CollectionNotFound, FootnoteError, IndexDamaged, IndexUnavailable
from app.index.building import MergePolicy
from app.index.idset import IdSet
from app.index.local import LocalIndex
from app.index.protocol import IndexEntry
from app.store import chunks as chunk_store
from app.store.collections import get_collection_by_id, list_collections
from app.store.database import Database
from app.store.documents import live_ranges
from app.store.filters import compile_filter
from app.store.spaces import index_name, index_names
from app.types import Collection, Quantization

logger = logging.getLogger(__name__)

_REMEMBERED_FILTERS = 32


@dataclass(frozen=True, slots=True)
class _Live:
    """What may be found, as of one sequence number of the collection: of everything, or under one filter."""

    sequence: int
    ids: IdSet


class Projection:
    """The indexes of all collections, one directory a space. Safe to use from many threads and several processes."""

    def __init__(self, database: Database, directory: Path, *, clustered_from: int = DEFAULT_CLUSTERED_FROM) -> None:
        """A merged segment of `clustered_from` rows and more is searched by clusters."""
        self._database = database
        self._directory = directory
        self._clustered_from = clustered_from
        self._lock = threading.Lock()
        self._indexes: dict[str, tuple[str, LocalIndex]] = {}  # by collection: the name, and the index
        self._live: dict[str, OrderedDict[str, _Live]] = {}  # by collection, then by filter
        self._publishers: dict[str, threading.Lock] = {}

    def index(self, collection: Collection) -> LocalIndex | None:
        """The index of the collection's space; None until something was embedded for it."""
        if collection.space is None or collection.embedding_dimension is None:
            return None
        name = index_name(collection.id, collection.space)
        with self._lock:
            known, index = self._indexes.get(collection.id, (None, None))
            if index is None or known != name:
                index = LocalIndex(self._directory / name, collection.embedding_dimension)
                self._indexes[collection.id] = (name, index)
            return index

    def allowed(self, connection: Connection, collection: Collection, filters: Mapping[str, Any] | None) -> IdSet:
        """The ids of the live chunks whose documents meet the filters: remembered, and changed as the collection is.

        Raises `InvalidFilter`.
        """
        key = json.dumps(filters, sort_keys=True) if filters else ""
        with self._lock:
            remembered = self._live.setdefault(collection.id, OrderedDict())
            live = remembered.get(key)
            if live is not None and live.sequence == collection.sequence:
                remembered.move_to_end(key)
                return live.ids
        conditions = [compile_filter(connection, collection.id, filters)] if filters else []
        if live is not None and live.sequence < collection.sequence:
            ids = _followed(connection, collection, live, conditions)
        else:  # also where another thread has looked at a later moment
            ids = IdSet(live_ranges(connection, collection.id, conditions), everything=not filters)
        with self._lock:
            newest = remembered.get(key)
            if newest is None or newest.sequence < collection.sequence:
                remembered[key] = _Live(collection.sequence, ids)
                remembered.move_to_end(key)
                while len(remembered) > _REMEMBERED_FILTERS:
                    remembered.popitem(last=False)
        return ids

    def sync(self, collection_id: str) -> None:
        """Take up everything that the database has and the index has not. Raises `StorageFull`.

        Safe to call from anywhere at any time; a damaged index is rebuilt on the way. Threads that wait here for
        another one's publish usually find that it took up their changes too.
        """
        self.follow(self._collection(collection_id))

    def follow(self, collection: Collection, until: int | None = None) -> None:
        """The same in the space that `collection` names, with the changes up to a sequence number; `sync` in all else.

        Raises `StorageFull`, and `IndexUnavailable` where chunks have no embedding in that space.
        """
        index = self.index(collection)
        if index is None:
            return
        with self._publishing(collection.id):
            try:
                self._follow(collection, index, until)
            except IndexDamaged as error:
                logger.warning("index of %s: %s", collection.id, error.message)
                self._rebuild(collection, index, until)

    def rebuild(self, collection_id: str, progress: Callable[[int], None] | None = None) -> None:
        """Make the index anew from the database, without embedding again. `progress` is told the chunks so far."""
        with self._publishing(collection_id):
            collection = self._collection(collection_id)
            index = self.index(collection)
            if index is not None:
                self._rebuild(collection, index, progress=progress)

    def sync_all(self) -> None:
        """Every collection; and the directories of deleted ones, and of spaces that are gone, are removed."""
        self.sweep()
        with self._database.read() as connection:
            collections = list_collections(connection)
        _for_each(collections, lambda collection: self.sync(collection.id))

    def merge(self, should_stop: Callable[[], bool]) -> bool:
        """The next merge of every collection that needs one; False when none did. Raises `StorageFull`."""
        with self._database.read() as connection:
            collections = list_collections(connection)
        merged = []

        def merge(collection: Collection) -> None:
            if not should_stop() and self.merge_one(collection, should_stop):
                merged.append(collection)

        _for_each(collections, merge)
        return bool(merged)

    def forget(self, collection_id: str) -> None:
        """The collection is deleted: so is its index."""
        with self._lock:
            for known in (self._indexes, self._live, self._publishers):
                known.pop(collection_id, None)
        for folder in self._directory.glob(index_name(collection_id, "*")):
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the directories that belong to no collection, or to a space of it that is gone."""
        # Listed before the spaces: whatever is not among those is of an old one, not of a new one.
        found = [path.name for path in self._directory.glob("col_*")]
        with self._database.read() as connection:
            needed = index_names(connection)
        for name in set(found) - needed:
            shutil.rmtree(self._directory / name, ignore_errors=True)

    def heal(self, collection_id: str) -> None:
        """After a search met a damaged index: rebuild it from the database, unless another thread just did.

        Raises `IndexUnavailable` where it cannot be written.
        """
        with _writing(), self._publishing(collection_id):
            collection = self._collection(collection_id)
            index = self.index(collection)
            if index is None:
                return
            if index.verify():
                self._rebuild(collection, index)
            else:
                index.reopen()

    def catch_up(self, collection_id: str) -> None:
        """`sync` for a search. Raises `IndexUnavailable` where the index cannot be written."""
        with _writing():
            self.sync(collection_id)

    def lag(self, collection: Collection) -> int:
        """How many changes of the collection the index has not taken up."""
        index = self.index(collection)
        if index is None:
            return 0
        with self._database.read() as connection:
            return chunk_store.count_changes_after(connection, collection.id, index.checkpoint())

    def problems(self, collection: Collection) -> list[str]:
        """In plain words, what is wrong with the collection's index: every file is read."""
        index = self.index(collection)
        if index is None:
            return []
        found = index.verify()
        if found:
            return found
        with self._database.read() as connection:
            expected = chunk_store.chunk_ids(connection, collection.id)
        dense, lexical = index.ids()
        for leg, ids in (("vector", dense), ("lexical", lexical)):
            missing, surplus = np.setdiff1d(expected, ids), np.setdiff1d(ids, expected)
            if len(missing):
                found.append(f"{len(missing)} chunks are missing from the {leg} index")
            if len(surplus):
                found.append(f"the {leg} index holds {len(surplus)} chunks that are no longer in the database")
        return found

    def merge_one(self, collection: Collection, should_stop: Callable[[], bool]) -> bool:
        """The next merge in the space that `collection` names; False where there is nothing to merge."""
        index = self.index(collection)
        if index is None:
            return False
        quantization = Quantization(collection.setting("quantization", Quantization.INT8))
        try:
            if index.merge(MergePolicy(self._clustered_from, quantization), should_stop):
                return True
            index.tidy()
        except IndexDamaged as error:
            logger.warning("index of %s: %s", collection.id, error.message)
            self.heal(collection.id)
        return False

    def _publishing(self, collection_id: str) -> threading.Lock:
        """One publisher a collection in this process; among processes, the index has a lock of its own."""
        with self._lock:
            return self._publishers.setdefault(collection_id, threading.Lock())

    def _collection(self, collection_id: str) -> Collection:
        with self._database.read() as connection:
            return get_collection_by_id(connection, collection_id)

    def _follow(self, collection: Collection, index: LocalIndex, until: int | None) -> None:
        # Before the snapshot of the database: what another process publishes in between is skipped, and not taken for
        # an index that is ahead.
        checkpoint = index.checkpoint()
        with self._database.read() as connection:
            sequence = get_collection_by_id(connection, collection.id).sequence
            if checkpoint > sequence:
                raise IndexDamaged("It is ahead of the database, which seems to be an older copy.")
            sequence = sequence if until is None else min(sequence, until)
            entries = _entries(connection, collection, checkpoint, sequence)
            removed = chunk_store.removals_after(connection, collection.id, checkpoint, sequence)
            first = next(entries, None)
            if first is not None or removed:
                index.publish(chain([first] if first else [], entries), removed, sequence)

    def _rebuild(
        self,
        collection: Collection,
        index: LocalIndex,
        until: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        logger.info("rebuilding the index of %s", collection.id)
        with self._database.read() as connection:
            sequence = get_collection_by_id(connection, collection.id).sequence
            sequence = sequence if until is None else min(sequence, until)
            index.rebuild(_counted(_entries(connection, collection, 0, sequence), progress), sequence)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IndexUnavailable from error


def _for_each(collections: Iterable[Collection], work: Callable[[Collection], None]) -> None:
    """Whatever goes wrong with one, the others must not wait for it; raises the last error when all have been done."""
    problem: Exception | None = None
    for collection in collections:
        try:
            work(collection)
        except CollectionNotFound:
            pass  # deleted meanwhile
        except (FootnoteError, OSError) as error:
            problem = error
    if problem is not None:
        raise problem


def _followed(
    connection: Connection, collection: Collection, live: _Live, conditions: Sequence[ColumnElement[bool]]
) -> IdSet:
    """The ids as they are now, from what they were: a change costs as much as it is large."""
    removed = chunk_store.removals_after(connection, collection.id, live.sequence, collection.sequence)
    changed = live_ranges(connection, collection.id, after=live.sequence)
    if not removed and not changed:
        return live.ids  # chunks were stored that are not live yet
    found = live_ranges(connection, collection.id, conditions, after=live.sequence) if conditions else changed
    return live.ids.changed([*removed, *(first for first, _ in changed)], found)


def _entries(connection: Connection, collection: Collection, after: int, until: int) -> Iterator[IndexEntry]:
    for chunk in chunk_store.chunks_after(connection, collection.id, collection.space or 1, after, until):
        yield IndexEntry(chunk.id, chunk.first_id, chunk.embedding, chunk.text)


def _counted(entries: Iterator[IndexEntry], progress: Callable[[int], None] | None) -> Iterator[IndexEntry]:
    for count, entry in enumerate(entries, start=1):
        if progress is not None and count % 1000 == 0:
            progress(count)
        yield entry
