"""The lexical leg: BM25 by tantivy over the terms of our own analyser.

A generation's tantivy index is never written to again. The next one starts as a folder of hard links to its files,
which tantivy itself never changes in place, and commits there; so a crash at any moment leaves the old one as it was.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import tantivy
from tantivy import Occur, Query

from app.errors import FootnoteError, IndexDamaged
from app.failpoints import failpoint
from app.index.analysis import analyse
from app.index.durable import FileIdentity, Verifier, raise_if_full, record_file, sync_file, sync_folder
from app.index.idset import IdSet
from app.index.manifest import LexicalRecord
from app.index.protocol import Hit, IndexEntry, TermFrequencies

_ID, _FIRST_ID, _TERMS = "id", "first_id", "terms"
_SMALL_HEAP_BYTES = 15_000_000  # the least that tantivy takes; a larger one costs milliseconds to set up
_LARGE_HEAP_BYTES = 128_000_000

_MOST_TERMS = 64  # of a query: the rarest ones decide, and a pasted page must not cost a thousand lookups
_MOST_TIES = 4096  # how far equal scores are followed to put them in the order of their ids
_BROAD_SHARE = 0.5  # a filter that keeps more than this is applied to the hits instead of being pushed down


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field(_ID, fast=True)
    builder.add_unsigned_field(_FIRST_ID, indexed=True)
    builder.add_text_field(_TERMS, tokenizer_name="whitespace", index_option="freq")
    return builder.build()


_SCHEMA = _schema()


@contextmanager
def _translated_errors(doing: str) -> Iterator[None]:
    """tantivy's errors are ValueErrors, and its panics derive from BaseException: give both our own name."""
    try:
        yield
    except (FootnoteError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        raise_if_full(error)
        raise IndexDamaged(f"The lexical index failed while {doing}: {error}") from error


class LexicalWriter:
    """Makes the next generation of a lexical index in a folder of its own; as a context, it waits for tantivy."""

    def __init__(self, directory: Path, name: str, base: LexicalRecord | None, verifier: Verifier) -> None:
        self._folder = directory / name
        self._name = name
        self._base = base
        self._folder.mkdir()
        with _translated_errors("opening for writing"):
            if base is None:
                index = tantivy.Index(_SCHEMA, path=str(self._folder))
            else:
                _link(directory / base.name, self._folder, base, verifier)
                index = tantivy.Index.open(str(self._folder))
            # One thread: documents keep their order, and a publish leaves one tantivy segment, not one a core.
            self._writer = index.writer(_LARGE_HEAP_BYTES if base is None else _SMALL_HEAP_BYTES, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            del self._writer  # ends its threads; the folder is garbage

    def add(self, entries: Iterable[IndexEntry]) -> None:
        """Add chunks."""
        with _translated_errors("adding"):
            for entry in entries:
                document = tantivy.Document()
                document.add_unsigned(_ID, entry.id)
                document.add_unsigned(_FIRST_ID, entry.first_id)
                document.add_text(_TERMS, " ".join(analyse(entry.text)))
                self._writer.add_document(document)

    def remove(self, first_ids: Sequence[int]) -> None:
        """Remove versions, also ones that this writer has added."""
        if first_ids:
            with _translated_errors("removing"):
                # By query: `delete_documents_by_term` takes an int for signed, and then silently finds nothing.
                self._writer.delete_documents_by_query(_versions(first_ids))

    def finish(self) -> LexicalRecord:
        """Commit, let tantivy's merges end, and see every file onto the disk."""
        with _translated_errors("committing"):
            self._writer.commit()
            self._writer.wait_merging_threads()
            documents = _open(self._folder).searcher().num_docs
        failpoint("lexical.committed")
        files = {}
        for path in sorted(self._folder.iterdir()):
            known = self._base and self._base.files.get(path.name)
            if path.suffix == ".lock":
                path.unlink()
            elif known and path.suffix != ".json":  # linked; the two JSON files are replaced by every commit
                files[path.name] = known
            else:
                sync_file(path)
                files[path.name] = record_file(path)
        sync_folder(self._folder)
        sync_folder(self._folder.parent)
        failpoint("lexical.synced")
        return LexicalRecord(self._name, documents, files)


class LexicalReader:
    """One generation of a lexical index, opened for search."""

    def __init__(self, directory: Path, record: LexicalRecord, verifier: Verifier) -> None:
        """Verify every byte before tantivy sees it: on some damage it panics."""
        self.record = record
        self.files: dict[Path, FileIdentity] = {}
        for name, expected in record.files.items():
            path = directory / record.name / name
            self.files[path] = verifier.verify(path, expected)
        with _translated_errors("opening"):
            self._searcher = _open(directory / record.name).searcher()
        self._filters: WeakKeyDictionary[IdSet, Query] = WeakKeyDictionary()

    def search(self, text: str, limit: int, allowed: IdSet) -> list[Hit]:
        """The best allowed chunks, equal scores in the order of their ids."""
        with _translated_errors("searching"):
            query = self._query(text)
            documents = self._searcher.num_docs
            if query is None or limit < 1 or not documents:
                return []
            if not allowed.everything and len(allowed) < _BROAD_SHARE * documents:
                query = Query.boolean_query([(Occur.Must, self._filter(allowed)), (Occur.Must, query)])
            fetch = limit + limit // 4  # some more, to see where equal scores end
            while True:
                hits, last_score, exhausted = self._fetch(query, min(fetch, documents), allowed)
                settled = len(hits) >= limit and (fetch >= _MOST_TIES or hits[limit - 1].score > last_score)
                if exhausted or settled:
                    return hits[:limit]
                fetch *= 4

    def frequencies(self, text: str) -> TermFrequencies:
        """What the terms of a text are worth here."""
        with _translated_errors("counting"):
            counts = {term: self._searcher.doc_freq(_TERMS, term) for term in set(analyse(text))}
            return TermFrequencies(self._searcher.num_docs, counts)

    def ids(self) -> npt.NDArray[np.int64]:
        """The ids of all chunks, ascending."""
        with _translated_errors("listing"):
            hits = self._searcher.search(Query.all_query(), max(1, self._searcher.num_docs), count=False).hits
            found = self._searcher.fast_field_values(_ID, [address for _, address in hits])
        return np.sort(np.array(found, dtype=np.int64))

    def _fetch(self, query: Query, count: int, allowed: IdSet) -> tuple[list[Hit], float, bool]:
        """The allowed ones among the best `count`, the score of the last of these, and whether that was all."""
        found = self._searcher.search(query, count, count=False).hits
        if not found:
            return [], 0.0, True
        # float32 sums depend on the order of the terms, which differs between tantivy's segments: without rounding,
        # chunks that score the same would come in an accidental order.
        scores = np.array([score for score, _ in found], dtype=np.float64).round(4)
        ids = np.array(self._searcher.fast_field_values(_ID, [address for _, address in found]), dtype=np.int64)
        live = allowed.contains(ids)
        ids, live_scores = ids[live], scores[live]
        order = np.lexsort((ids, -live_scores))
        hits = list(map(Hit, ids[order].tolist(), live_scores[order].tolist()))
        return hits, float(scores[-1]), len(found) < count or count == self._searcher.num_docs

    def _query(self, text: str) -> Query | None:
        counts = Counter(analyse(text))
        terms: Sequence[str] = list(counts)
        if len(terms) > _MOST_TERMS:
            frequencies = {term: self._searcher.doc_freq(_TERMS, term) for term in terms}
            terms = sorted((term for term in terms if frequencies[term]), key=frequencies.__getitem__)[:_MOST_TERMS]
        if not terms:
            return None
        return Query.boolean_query([(Occur.Should, _term_query(term, counts[term])) for term in terms])

    def _filter(self, allowed: IdSet) -> Query:
        query = self._filters.get(allowed)
        if query is None:
            query = self._filters[allowed] = Query.const_score_query(_versions(allowed.firsts.tolist()), 0.0)
        return query


def _versions(first_ids: Sequence[int]) -> Query:
    return Query.term_set_query(_SCHEMA, _FIRST_ID, list(first_ids))


def _term_query(term: str, count: int) -> Query:
    query = Query.term_query(_SCHEMA, _TERMS, term, "freq")
    return query if count == 1 else Query.boost_query(query, float(count))


def _open(folder: Path) -> tantivy.Index:
    index = tantivy.Index.open(str(folder))
    index.config_reader("manual")  # a generation does not change: no thread has to watch it
    return index


def _link(source: Path, target: Path, record: LexicalRecord, verifier: Verifier) -> None:
    for name, expected in record.files.items():
        verifier.verify(source / name, expected)
        try:
            os.link(source / name, target / name)
        except OSError:  # a file system without hard links
            shutil.copy2(source / name, target / name)
