"""The original files, named by their SHA-256. A name from a client is never part of a path."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from app.errors import EmptyUpload, PayloadTooLarge
from app.failpoints import failpoint
from app.index.durable import raise_if_full, sync_folder

_HEAD_BYTES = 65536  # what tells a file's type
_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobWriter:
    """A temporary blob that is hashed and measured while it is written."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self.bytes = 0
        self.head = b""
        self._limit_bytes = limit_bytes
        self._hash = hashlib.sha256()
        self._file: BinaryIO = path.open("xb")

    def write(self, data: bytes) -> None:
        """Raises `PayloadTooLarge` as soon as the limit is passed, and `StorageFull`."""
        self.bytes += len(data)
        if self.bytes > self._limit_bytes:
            raise PayloadTooLarge(f"The file is larger than the limit of {self._limit_bytes:,} bytes.", param="file")
        if len(self.head) < _HEAD_BYTES:
            self.head += data[: _HEAD_BYTES - len(self.head)]
        self._hash.update(data)
        with _storage_full():
            self._file.write(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def finish(self) -> Self:
        """Everything is on disk when this returns. Raises `EmptyUpload`, `StorageFull`."""
        if not self.bytes:
            raise EmptyUpload(param="file")
        with _storage_full():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        failpoint("blob.written")
        return self

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """A folder of blobs, and a folder beside it for those that are still being written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._incoming = directory / "incoming"
        with _storage_full():
            self._incoming.mkdir(parents=True, exist_ok=True)
            # Or the folder itself could go with the power, and what was accepted in it.
            sync_folder(directory)
            sync_folder(directory.parent)

    @contextmanager
    def writer(self, limit_bytes: int) -> Iterator[BlobWriter]:
        """A temporary blob; whatever was not taken over by `keep` is removed at the end."""
        with _storage_full():
            writer = BlobWriter(self._incoming / uuid.uuid4().hex, limit_bytes)
        try:
            yield writer
        finally:
            writer.discard()

    def keep(self, writer: BlobWriter) -> None:
        """Give a finished blob its name, durably. Call it inside the transaction that inserts its document."""
        with _storage_full():
            writer.path.replace(self.path(writer.sha256))
            failpoint("blob.renamed")
            sync_folder(self.directory)

    def path(self, sha256: str) -> Path:
        """Where the blob of this digest is, or would be."""
        return self.directory / sha256

    def remove(self, sha256: str) -> bool:
        """Call it inside a transaction that found no document with these bytes. False: a later sweep has to do it."""
        with contextlib.suppress(BlockingIOError), self._locked(fcntl.LOCK_SH | fcntl.LOCK_NB):
            self.path(sha256).unlink(missing_ok=True)
            return True
        return False

    @contextmanager
    def all_kept(self) -> Iterator[None]:
        """Nothing is removed meanwhile, by any process: for a copy."""
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        """The kernel releases it when its holder dies."""
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, operation)
            yield
        finally:
            os.close(handle)

    def stored(self) -> list[str]:
        """The digests of all blobs."""
        return [entry.name for entry in os.scandir(self.directory) if _DIGEST.fullmatch(entry.name) and entry.is_file()]

    def remove_abandoned(self, older_than: float) -> int:
        """Remove what uploads that never ended left behind before that time; returns how many."""
        removed = 0
        for entry in os.scandir(self._incoming):
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                if entry.stat().st_mtime < older_than:
                    Path(entry.path).unlink()
                    removed += 1
        return removed


@contextmanager
def _storage_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise_if_full(error)
        raise
