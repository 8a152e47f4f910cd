"""From an upload to a document, and back."""

from __future__ import annotations

import os
import time

import pytest
from sqlalchemy import select

from app.errors import CollectionNotFound, DocumentNotFound, VersionNotReady
from app.store import documents, jobs
from app.store.chunks import chunk_ids, document_chunks, live_chunks, removals_after
from app.store.collections import create_collection, delete_collection, get_collection
from app.store.tables import chunks, versions
from app.store.tables import jobs as jobs_table
from app.store.uploads import remove_unused_blob, sweep_blobs
from app.types import DocumentStatus, JobState
from tests.store.library import NOW, Library


def test_an_upload_is_queued_with_its_bytes(library: Library) -> None:
    """An accepted upload has a document, a job and a blob."""
    accepted = library.upload("A note.", metadata={"year": 2024})
    document = accepted.document
    assert not accepted.duplicate
    assert (document.status, document.version, document.live_version) == (DocumentStatus.QUEUED, 1, None)
    assert (document.bytes, document.metadata) == (7, {"year": 2024})
    assert library.blobs.path(document.sha256).read_bytes() == b"A note."
    job = library.claim()
    assert job is not None
    assert (job.document_id, job.version) == (document.id, 1)


def test_the_same_bytes_are_one_document(library: Library) -> None:
    """The same bytes again, under any name, are the document that is there."""
    first = library.upload("A note.", filename="a.txt")
    again = library.upload("A note.", filename="b.txt")
    assert again.duplicate
    assert again.document == first.document


def test_the_same_bytes_bring_a_lost_original_back(library: Library) -> None:
    """Whoever uploads a file again mends what became of it, whether it is gone or damaged."""
    path = library.blobs.path(library.upload("A note.").document.sha256)
    for harm in (path.unlink, lambda: path.write_bytes(b"something else")):
        harm()
        assert library.upload("A note.").duplicate
        assert path.read_bytes() == b"A note."


def test_each_collection_has_its_own(library: Library) -> None:
    """The same bytes in another collection are another document, with one blob between them."""
    with library.database.write() as connection:
        create_collection(connection, "law", {}, NOW)
    first, second = library.upload("A note."), library.upload("A note.", collection="law")
    assert not second.duplicate
    assert first.document.id != second.document.id
    assert library.blobs.stored() == [first.document.sha256]


def test_an_unknown_collection_keeps_nothing(library: Library) -> None:
    """A refused upload leaves no blob."""
    with pytest.raises(CollectionNotFound):
        library.upload("A note.", collection="nowhere")
    assert library.blobs.stored() == []
    assert not any((library.blobs.directory / "incoming").iterdir())


def test_a_failed_document_is_tried_again(library: Library) -> None:
    """Uploading a failed document again gives it all its attempts and forgets the error."""
    document_id = library.upload("A note.").document.id
    job = library.claim()
    assert job is not None
    with library.database.write() as connection:
        jobs.fail(connection, job, "unreadable_document", "It is damaged.", time.time())
    assert library.read(document_id).error_code == "unreadable_document"
    again = library.upload("A note.")
    assert again.duplicate
    assert (again.document.id, again.document.status) == (document_id, DocumentStatus.QUEUED)
    assert (again.document.error_code, again.document.error_message) == (None, None)
    job = library.claim()
    assert job is not None
    assert job.attempt == 1


def test_an_external_id_gets_a_new_version(library: Library) -> None:
    """New bytes under a known external id are a new version; the old one answers until the new one is ready."""
    document_id = library.ingest("Old words.", external_id="page-1")
    upload = library.upload("New words.", external_id="page-1")
    assert not upload.duplicate
    assert (upload.document.id, upload.document.version) == (document_id, 2)
    assert (upload.document.live_version, upload.document.status) == (1, DocumentStatus.QUEUED)
    with library.database.read() as connection:
        assert documents.live_text(connection, document_id) == (1, "Old words.")
    job = library.claim()
    assert job is not None
    last = library.store(job, ["New words."])
    with library.database.read() as connection:
        assert documents.live_text(connection, document_id) == (1, "Old words.")
        assert live_chunks(connection, upload.document.collection_id, [last]) == {}
    library.go_live(job)
    with library.database.read() as connection:
        assert documents.live_text(connection, document_id) == (2, "New words.")
        assert [c.chunk.text for c in document_chunks(connection, document_id, limit=9, after_ordinal=-1)] == [
            "New words."
        ]
        assert list(chunk_ids(connection, upload.document.collection_id)) == [last]


def test_a_new_version_starts_from_the_beginning(library: Library) -> None:
    """The progress of a queued version is not the one of the version before."""
    document_id = library.upload("Old words.", external_id="page-1").document.id
    with library.database.write() as connection:
        documents.set_stage(connection, DocumentStatus.EMBEDDING, [(document_id, 3, 7)], NOW)
    document = library.upload("New words.", external_id="page-1").document
    assert (document.stage_done, document.stage_total) == (0, 0)
    assert document.updated_at.timestamp() > NOW


def test_a_pending_version_is_superseded(library: Library) -> None:
    """Of two uploads under one external id only the later one is ingested, and its worker alone may write."""
    document_id = library.upload("First.", external_id="page-1").document.id
    first = library.claim()
    assert first is not None
    library.store(first, ["First."])
    library.upload("Second.", external_id="page-1")
    with pytest.raises(jobs.LeaseLost):
        library.go_live(first)
    second = library.claim()
    assert second is not None
    assert (second.document_id, second.version) == (document_id, 2)
    with library.database.read() as connection:
        assert connection.scalars(select(versions.c.version)).all() == [2]
        assert connection.scalars(select(jobs_table.c.version)).all() == [2]


def test_new_metadata_is_seen_by_filters_at_once(library: Library) -> None:
    """New metadata moves the collection's sequence, by which remembered filters are told apart."""
    library.ingest("Old words.", external_id="page-1", metadata={"year": 2020})
    with library.database.read() as connection:
        before = get_collection(connection, "default").sequence
    library.upload("New words.", external_id="page-1", metadata={"year": 2021})
    with library.database.read() as connection:
        assert get_collection(connection, "default").sequence > before


def test_a_deleted_document_is_gone(library: Library) -> None:
    """With a document go its text, chunks and jobs, and the index is told which chunks."""
    document_id = library.ingest("Words.", texts=["Words", "."])
    with library.database.read() as connection:
        collection = get_collection(connection, "default")
        (first, count) = documents.live_ranges(connection, collection.id)[0]
    library.delete(document_id)
    with library.database.read() as connection:
        after = get_collection(connection, "default")
        assert removals_after(connection, collection.id, collection.sequence, after.sequence) == [first]
        assert live_chunks(connection, collection.id, list(range(first, first + count))) == {}
        assert connection.scalars(select(chunks.c.id)).all() == []
        assert jobs.count_by_state(connection) == {}
        with pytest.raises(DocumentNotFound):
            documents.live_text(connection, document_id)
    with pytest.raises(DocumentNotFound):
        library.delete(document_id)


def test_a_blob_goes_with_its_last_document(library: Library) -> None:
    """An original is removed with the last document that has its bytes, not before."""
    with library.database.write() as connection:
        create_collection(connection, "law", {}, NOW)
    first, second = library.upload("A note.").document, library.upload("A note.", collection="law").document
    for document, left in ((first, [first.sha256]), (second, [])):
        library.delete(document.id)
        remove_unused_blob(library.database, library.blobs, document.sha256)
        assert library.blobs.stored() == left


def test_deleting_names_every_original(library: Library) -> None:
    """A document that waits for its second version has two originals; both are told."""
    document_id = library.ingest("Old words.", external_id="page-1")
    old = library.read(document_id).sha256
    new = library.upload("New words.", external_id="page-1").document.sha256
    with library.database.write() as connection:
        assert sorted(documents.delete_document(connection, document_id)) == sorted([old, new])


def test_sweeping_removes_what_a_crash_left(library: Library) -> None:
    """Blobs without a document and uploads that never ended go; what is in use stays."""
    kept = library.upload("A note.").document
    (library.blobs.directory / ("0" * 64)).write_bytes(b"left behind")
    for name, age_seconds in (("old", 90_000), ("young", 10)):
        path = library.blobs.directory / "incoming" / name
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_seconds,) * 2)
    sweep_blobs(library.database, library.blobs)
    assert library.blobs.stored() == [kept.sha256]
    assert [path.name for path in (library.blobs.directory / "incoming").iterdir()] == ["young"]


def test_a_deleted_collection_takes_everything_along(library: Library) -> None:
    """Its documents, chunks and jobs go with it, and a worker that still works on one may not write."""
    with library.database.write() as connection:
        create_collection(connection, "law", {}, NOW)
    document_id = library.upload("A note.", collection="law").document.id
    job = library.claim()
    assert job is not None
    with library.database.write() as connection:
        delete_collection(connection, "law")
    with pytest.raises(jobs.LeaseLost):
        library.store(job, ["A note."])
    with library.database.read() as connection:
        with pytest.raises(DocumentNotFound):
            documents.get_document(connection, document_id)
        with pytest.raises(CollectionNotFound):
            get_collection(connection, "law")


def test_a_document_has_no_text_before_it_is_ready(library: Library) -> None:
    """Asking for the text of a queued document says that it is not ready."""
    document_id = library.upload("A note.").document.id
    with library.database.read() as connection, pytest.raises(VersionNotReady):
        documents.live_text(connection, document_id)


def test_documents_are_listed_newest_first_page_by_page(library: Library) -> None:
    """Pages that follow each other's last document show every document once."""
    ids = [library.upload(f"Note {number}.").document.id for number in range(7)]
    listed: list[str] = []
    after = None
    while True:
        with library.database.read() as connection:
            page = documents.list_documents(connection, collection_id=None, status=None, limit=3, after=after)
        if not page:
            break
        listed += [document.id for document in page]
        after = (page[-1].created_at.timestamp(), page[-1].id)
    assert listed == ids[::-1]


def test_jobs_and_documents_are_counted(library: Library) -> None:
    """The counts behind the metrics are those of the rows."""
    library.ingest("Done.")
    library.upload("Waiting.")
    with library.database.read() as connection:
        assert documents.count_by_status(connection) == {DocumentStatus.READY: 1, DocumentStatus.QUEUED: 1}
        assert jobs.count_by_state(connection) == {JobState.DONE: 1, JobState.QUEUED: 1}
