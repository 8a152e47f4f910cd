"""What must hold after every restart, whatever happened before it."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import select

from app.index.idset import IdSet
from app.store import originals
from app.store.documents import list_documents, live_ranges
from app.store.jobs import count_by_state
from app.store.tables import attachments, files, jobs, versions
from app.types import Document, DocumentStatus, JobState
from tests.faults.workbench import Workbench

_PARTS = 3
_WORDS_PER_PART = 150  # so that a part is a chunk of its own
_LONG_AGO_SECONDS = 48 * 3600.0
_RECOVERY_SECONDS = 30.0

Expected = Mapping[str, frozenset[str | None]]  # name → the contents that it may have; None: there is none such


def text_of(name: str, edition: int) -> str:
    """A document of several chunks, each of which tells its name and its edition."""
    mark = f"house{name}x edition{edition}q"
    return "\n\n".join(f"{mark} part{part}. " + f"{mark} lantern. " * (_WORDS_PER_PART // 3) for part in range(_PARTS))


def name_of(document: Document) -> str:
    """Each is called as its file is."""
    return document.filename.removesuffix(".txt")


def recover(bench: Workbench) -> None:
    """Be the next worker, until there is nothing to do."""
    deadline = time.monotonic() + _RECOVERY_SECONDS
    # Uploads that died are swept after a day: let that day be over.
    for path in (bench.settings.blobs_dir / "incoming").iterdir():
        os.utime(path, (time.time() - _LONG_AGO_SECONDS,) * 2)
    bench.keep_house()
    while _open_jobs(bench):
        bench.work_once()
        assert time.monotonic() < deadline, "the queue does not empty"
    if bench.collection.next_model is not None:
        bench.reindex(bench.collection.next_model)
    bench.keep_house()


def check_generation(bench: Workbench) -> None:
    """Whatever happened, `CURRENT` names a generation that is whole: a crash is no damage, and costs no rebuild."""
    index = bench.projection.index(bench.collection)
    assert index is None or index.verify() == [], "the index is not whole"


def check(bench: Workbench, expected: Expected, files_kept: frozenset[int] = frozenset({0})) -> None:
    """Raise `AssertionError` where the data directory is not what the accepted requests have made of it.

    `files_kept`: how many files of their own there may be.
    """
    check_integrity(bench.settings.data_dir / "footnote.db")
    listed = _documents(bench)
    _check_documents(bench, listed, expected)
    _check_jobs(bench, listed)
    _check_index(bench)
    _check_files(bench, listed)
    _check_attachments(bench, listed, files_kept)
    _check_answers(bench, listed)


def check_integrity(path: Path) -> None:
    """SQLite's own opinion of the database."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def _open_jobs(bench: Workbench) -> int:
    with bench.database.read() as connection:
        states = count_by_state(connection)
    return states.get(JobState.QUEUED, 0) + states.get(JobState.RUNNING, 0)


def _documents(bench: Workbench) -> list[Document]:
    with bench.database.read() as connection:
        return list_documents(connection, collection_id=None, status=None, limit=100_000, after=None)


def _check_documents(bench: Workbench, listed: Sequence[Document], expected: Expected) -> None:
    """What was accepted is ready; what was not is there wholly or not at all; nothing is there twice."""
    found = {name_of(document): bench.blobs.path(document.sha256).read_text() for document in listed}
    assert len(found) == len(listed), "a document is there twice"
    for name, contents in expected.items():
        assert found.get(name) in contents, f"{name} is not what was accepted"
    assert found.keys() <= expected.keys(), "a document that nobody uploaded"
    unready = [each.id for each in listed if each.status is not DocumentStatus.READY]
    assert not unready, f"{unready} are not ready"
    assert all(each.live_version == each.version for each in listed), "a newest version that does not answer"


def _check_jobs(bench: Workbench, listed: Sequence[Document]) -> None:
    with bench.database.read() as connection:
        done = sorted((row.document_id, row.version, row.state) for row in connection.execute(select(jobs)))
        kept = select(versions).where(versions.c.is_retired.is_(False))
        rows = sorted((row.document_id, row.version) for row in connection.execute(kept))
    newest = sorted((each.id, each.version) for each in listed)
    assert done == [(*each, JobState.DONE) for each in newest], "jobs and documents differ"
    assert rows == newest, "versions that nobody needs"


def _check_index(bench: Workbench) -> None:
    """The ids in the index are the live ids of the database, each once, in both legs."""
    collection = bench.collection
    assert bench.projection.problems(collection) == []
    index = bench.projection.index(collection)
    if index is None:
        return
    with bench.database.read() as connection:
        live = IdSet(live_ranges(connection, collection.id)).ids
    for ids in index.ids():
        assert np.array_equal(ids, live), "the index does not hold the live ids"


def _check_files(bench: Workbench, listed: Sequence[Document]) -> None:
    """No temporary file is left, every original is whole, and there is none that no version names."""
    data_dir = bench.settings.data_dir
    stray = [path for path in data_dir.rglob("*") if path.name.endswith(".tmp") or path.parent.name == "incoming"]
    assert not stray, f"left behind: {stray}"
    with bench.database.read() as connection:
        needed = originals.needed(connection)
    assert needed >= {each.sha256 for each in listed}
    assert set(bench.blobs.stored()) == needed, "blobs and versions differ"
    for sha256 in bench.blobs.stored():
        assert hashlib.sha256(bench.blobs.path(sha256).read_bytes()).hexdigest() == sha256, "a blob is damaged"


def _check_attachments(bench: Workbench, listed: Sequence[Document], files_kept: frozenset[int]) -> None:
    """A file is there once, and in a collection as one document of the same bytes, which is nobody else's."""
    with bench.database.read() as connection:
        kept = {row.id: row.sha256 for row in connection.execute(select(files))}
        attached = {row.document_id: row.file_id for row in connection.execute(select(attachments))}
    assert len(kept) in files_kept, f"{len(kept)} files are kept"
    of_files = {each.id: each.sha256 for each in listed if each.external_id is None}
    assert attached.keys() == of_files.keys(), "files and their documents differ"
    assert all(kept[file_id] == of_files[document_id] for document_id, file_id in attached.items())
    assert len(set(attached.values())) == len(attached), "a file is twice in the collection"


def _check_answers(bench: Workbench, listed: Sequence[Document]) -> None:
    """Each document is found by its own word, wholly and in one edition."""
    for document in listed:
        found = bench.search(f"house{name_of(document)}x")
        assert len(found) == document.chunks, f"{name_of(document)} is not found as it is"
        assert {chunk.document_id for chunk in found} == {document.id}
        assert len({edition_of(chunk.chunk.text) for chunk in found}) == 1, "two versions are mixed"


def edition_of(text: str) -> str:
    """The edition that a chunk of `text_of` belongs to; it must be one."""
    found = {word for word in text.replace(".", " ").split() if word.startswith("edition")}
    assert len(found) == 1, f"two editions in one text: {found}"
    return found.pop()
