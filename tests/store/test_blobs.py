"""Blobs: measured and hashed while they arrive, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from app.errors import EmptyUpload, PayloadTooLarge, StorageFull
from app.store.blobs import BlobStore


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def incoming(blobs: BlobStore) -> list[Path]:
    return list((blobs.directory / "incoming").iterdir())


def test_a_blob_is_named_by_its_bytes(blobs: BlobStore) -> None:
    """A kept blob lies under its SHA-256 with the bytes that were written."""
    with blobs.writer(100) as writer:
        writer.write(b"one ")
        writer.write(b"two")
        blobs.keep(writer.finish())
    sha256 = hashlib.sha256(b"one two").hexdigest()
    assert (writer.sha256, writer.bytes, writer.head) == (sha256, 7, b"one two")
    assert blobs.path(sha256).read_bytes() == b"one two"
    assert (blobs.stored(), incoming(blobs)) == ([sha256], [])


def test_the_limit_holds_while_writing(blobs: BlobStore) -> None:
    """What passes the limit is refused at once, and nothing of it stays."""
    with blobs.writer(10) as writer:
        writer.write(b"0123456789")
        assert writer.path.exists()
        with pytest.raises(PayloadTooLarge, match="limit of 10 bytes"):
            writer.write(b"x")
    assert (blobs.stored(), incoming(blobs)) == ([], [])


def test_nothing_is_not_a_file(blobs: BlobStore) -> None:
    """An empty upload is refused."""
    with pytest.raises(EmptyUpload), blobs.writer(10) as writer:
        writer.finish()
    assert incoming(blobs) == []


def test_what_is_not_kept_is_removed(blobs: BlobStore) -> None:
    """An upload that ends in an error leaves no temporary file."""
    writing = blobs.writer(10)
    writing.__enter__().write(b"half")
    error = ConnectionError("the client left")
    assert not writing.__exit__(type(error), error, None)
    assert (blobs.stored(), incoming(blobs)) == ([], [])


def test_the_same_bytes_are_kept_once(blobs: BlobStore) -> None:
    """Keeping a blob that is there already changes nothing."""
    for _ in range(2):
        with blobs.writer(10) as writer:
            writer.write(b"same")
            blobs.keep(writer.finish())
    assert len(blobs.stored()) == 1
    blobs.remove(writer.sha256)
    blobs.remove(writer.sha256)
    assert blobs.stored() == []


def test_a_full_disk_is_told(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without space becomes the error that says so, and nothing stays."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.store.blobs.os.fsync", full)
    with blobs.writer(10) as writer:
        writer.write(b"half")
        with pytest.raises(StorageFull):
            writer.finish()
    assert incoming(blobs) == []


def test_only_the_head_is_remembered(blobs: BlobStore) -> None:
    """The first 64 KiB tell what a file is; no more of it stays in memory."""
    with blobs.writer(1_000_000) as writer:
        for _ in range(10):
            writer.write(b"x" * 10_000)
        assert len(writer.head) == 65536
