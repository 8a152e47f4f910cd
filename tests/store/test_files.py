"""Files that live apart from collections, and what becomes of them in collections."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.backup import backup, restore
from app.config import Settings
from app.errors import FileNotFound, InvalidRequest, VectorStoreNotFound
from app.store import attachments, files, jobs, vector_stores
from app.store.attachments import AttachmentStatus, Chunking, attach
from app.store.blobs import BlobStore
from app.store.collections import delete_collection, get_collection
from app.store.database import Database, open_database
from app.store.documents import delete_document, get_document, make_live
from app.store.files import File, keep_file
from app.store.originals import needed
from app.store.paging import PageQuery
from app.store.uploads import remove_unused_blob, sweep_blobs
from app.types import DocumentStatus
from tests.store.library import NOW

EVERYTHING = PageQuery(limit=100)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def keep(database: Database, blobs: BlobStore, text: str, *, media_type: str | None = "text/plain") -> File:
    with blobs.writer(1000) as writer:
        writer.write(text.encode())
        return keep_file(
            database, blobs, writer.finish(), filename=f"{text}.txt", purpose="assistants", media_type=media_type
        )


def make_store(database: Database, name: str = "a store") -> str:
    with database.write() as connection:
        return vector_stores.create_store(connection, name, None, {}, NOW).collection.id


def put(database: Database, collection_id: str, *kept: File, batch_id: str | None = None) -> None:
    with database.write() as connection:
        for file in kept:
            attach(
                connection,
                collection_id,
                file.id,
                attributes={"of": "a test"},
                chunking=None,
                batch_id=batch_id,
                now=NOW,
            )


def statuses(database: Database, collection_id: str) -> dict[str, str]:
    with database.read() as connection:
        found, _ = attachments.list_attachments(connection, collection_id, page=EVERYTHING)
    return {each.id: each.status for each in found}


def test_a_file_in_no_collection_keeps_its_bytes(database: Database, blobs: BlobStore) -> None:
    """A sweep leaves the blob of a file alone, though no document has it; deleting the file frees it."""
    kept = keep(database, blobs, "dome")
    sweep_blobs(database, blobs)
    assert blobs.stored() == [kept.sha256]
    with database.write() as connection:
        assert needed(connection) == {kept.sha256}
        assert files.delete_file(connection, kept.id) == [kept.sha256]
    assert remove_unused_blob(database, blobs, kept.sha256)
    assert blobs.stored() == []


def test_a_backup_holds_files(settings: Settings, tmp_path: Path) -> None:
    """A file that is in no collection comes back from a backup with its bytes."""
    with open_database(settings) as database:
        kept = keep(database, BlobStore(settings.blobs_dir), "dome")
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    backup(settings, tmp_path / "backup", lambda *_: None)
    restore(elsewhere, tmp_path / "backup", lambda *_: None)
    with open_database(elsewhere) as database, database.read() as connection:
        assert files.get_file(connection, kept.id) == kept
    assert BlobStore(elsewhere.blobs_dir).path(kept.sha256).read_bytes() == b"dome"


def test_one_file_in_two_collections(database: Database, blobs: BlobStore) -> None:
    """Each holds a document of its own over the same blob; deleting the file removes both."""
    kept = keep(database, blobs, "dome")
    stores = [make_store(database), make_store(database)]
    for collection_id in stores:
        put(database, collection_id, kept)
    assert blobs.stored() == [kept.sha256]
    assert [statuses(database, each) for each in stores] == [{kept.id: "in_progress"}] * 2
    with database.write() as connection:
        assert set(files.delete_file(connection, kept.id)) == {kept.sha256}
    assert [statuses(database, each) for each in stores] == [{}, {}]
    with database.read() as connection, pytest.raises(FileNotFound):
        files.get_file(connection, kept.id)


def test_detaching_leaves_the_file(database: Database, blobs: BlobStore) -> None:
    """Out of a collection, or its document deleted, or its collection: the file is still there to be attached again."""
    kept = keep(database, blobs, "dome")
    collection_id = make_store(database)
    put(database, collection_id, kept)
    with database.write() as connection:
        attachments.detach(connection, collection_id, kept.id)
    put(database, collection_id, kept)
    with database.write() as connection:
        found = attachments.get_attachment(connection, collection_id, kept.id)
        assert found.document is not None
        delete_document(connection, found.document.id)
    assert statuses(database, collection_id) == {}
    put(database, collection_id, kept)
    with database.write() as connection:
        delete_collection(connection, vector_stores.get_store(connection, collection_id).collection.name)
        assert files.get_file(connection, kept.id) == kept


def test_attaching_again(database: Database, blobs: BlobStore) -> None:
    """The same document stays, with the new attributes; a failed one is tried again; other chunks read it anew."""
    kept = keep(database, blobs, "dome")
    collection_id = make_store(database)
    put(database, collection_id, kept)
    with database.write() as connection:
        (job,) = jobs.claim(connection, owner="w", lease_seconds=9, max_attempts=3, now=NOW)
        jobs.fail(connection, job, "no_text", "No text.", NOW)
    assert statuses(database, collection_id) == {kept.id: "failed"}
    with database.write() as connection:
        attach(connection, collection_id, kept.id, attributes={"year": 2020}, chunking=None, now=NOW)
        document = get_document(connection, job.document_id)
        assert (document.status, document.metadata) == (DocumentStatus.QUEUED, {"year": 2020})
        attach(connection, collection_id, kept.id, attributes=None, chunking=Chunking(100, 20), now=NOW)
        found = attachments.get_attachment(connection, collection_id, kept.id)
        assert found.document is not None
        assert found.document.id != job.document_id
        assert attachments.chunking_of(connection, [found.document.id]) == {found.document.id: Chunking(100, 20)}


def test_what_cannot_be_read_fails_in_its_place(database: Database, blobs: BlobStore) -> None:
    """A file of an unknown kind is listed as failed, with the reason, and waits for no worker."""
    kept = keep(database, blobs, "dome", media_type=None)
    collection_id = make_store(database)
    put(database, collection_id, kept)
    with database.write() as connection:
        found = attachments.get_attachment(connection, collection_id, kept.id)
        assert found.document is not None
        assert (found.status, found.document.error_code) == (AttachmentStatus.FAILED, "unsupported_media_type")
        assert not jobs.is_any_due(connection, NOW, 30)


def test_a_cancelled_batch(database: Database, blobs: BlobStore) -> None:
    """What was ready stays; the rest is listed as cancelled, and can be attached again."""
    ready, waiting = keep(database, blobs, "ready"), keep(database, blobs, "waiting")
    collection_id = make_store(database)
    with database.write() as connection:
        batch_id = vector_stores.create_batch(connection, collection_id, NOW)
    put(database, collection_id, ready, waiting, batch_id=batch_id)
    with database.write() as connection:
        found = attachments.get_attachment(connection, collection_id, ready.id)
        assert found.document is not None
        make_live(connection, [found.document], NOW)
        assert vector_stores.cancel_batch(connection, collection_id, batch_id) == [waiting.sha256]
        batch = vector_stores.get_batch(connection, collection_id, batch_id)
    assert batch.is_cancelled
    assert batch.totals.counts == {AttachmentStatus.COMPLETED: 1, AttachmentStatus.CANCELLED: 1}
    assert statuses(database, collection_id) == {ready.id: "completed", waiting.id: "cancelled"}
    put(database, collection_id, waiting)
    assert statuses(database, collection_id)[waiting.id] == "in_progress"


def test_the_name_of_a_store(database: Database) -> None:
    """A store's collection has its name where that can be a collection's and is free, else the store's own id."""
    with database.write() as connection:
        stores = [vector_stores.create_store(connection, name, None, {}, NOW) for name in ("law", "law", "My papers")]
        assert [store.name for store in stores] == ["law", "law", "My papers"]
        assert [store.collection.name for store in stores] == ["law", stores[1].id, stores[2].id]
        default = vector_stores.get_store(connection, get_collection(connection, "default").id)
        assert (default.name, default.metadata) == ("default", {})
        changed = vector_stores.change_store(connection, default.collection.id, {"metadata": {"a": "b"}}, NOW)
        assert (changed.name, changed.metadata) == ("default", {"a": "b"})
        with pytest.raises(VectorStoreNotFound):
            vector_stores.get_store(connection, "col_none")


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages(database: Database, blobs: BlobStore, newest_first: bool) -> None:
    """Forward from behind a row, backward from before one; both cover everything once, in the same order."""
    kept = [keep(database, blobs, f"{number}") for number in range(5)]
    order = [file.id for file in (reversed(kept) if newest_first else kept)]

    def page(limit: int, **cursors: str) -> tuple[list[str], bool]:
        with database.read() as connection:
            found, has_more = files.list_files(connection, None, PageQuery(limit, newest_first, **cursors))
        return [file.id for file in found], has_more

    assert page(5) == (order, False)
    assert page(2) == (order[:2], True)
    assert page(3, after=order[1]) == (order[2:], False)
    assert page(2, before=order[3]) == (order[1:3], True)
    assert page(2, before=order[2]) == (order[:2], False)
    assert page(5, after=order[0], before=order[3]) == (order[1:3], False)
    with pytest.raises(InvalidRequest, match="no 'file-x'"):
        page(5, after="file-x")
