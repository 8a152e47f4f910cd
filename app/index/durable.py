"""Bytes that are on the disk, and that are known to be the bytes that were meant.

A file of the index is written once, under a name that nothing else ever has, and is never changed. So a checksum
taken when it was written tells for ever whether it is whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.errors import IndexDamaged, IndexUnavailable, StorageFull
from app.failpoints import failpoint
from app.index import bus_errors

# Inode, bytes, mtime in nanoseconds, bus errors: changes whenever somebody writes, or reading it has failed.
FileIdentity = tuple[int, int, int, int]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCK_POLL_SECONDS = 0.005
_REMEMBERED_FILES = 4096


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a manifest says of a file."""

    bytes: int
    sha256: str


class DurableFile:
    """A file that is there as a whole or not at all: temporary name, fsync, read back, rename, fsync of the folder.

    `record` is set when the context has ended well.
    """

    record: FileRecord

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        self._file = self._temporary.open("xb")
        self._bytes = 0
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += memoryview(data).nbytes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self._file as file:
                if kind is not None:
                    return
                file.flush()
                os.fsync(file.fileno())
            written = record_file(self._temporary)
            if written != FileRecord(self._bytes, self._digest.hexdigest()):
                raise IndexDamaged(f"{self._path.name} did not read back as it was written.")
            failpoint("file.written")
            self._temporary.replace(self._path)
            failpoint("file.renamed")
        finally:
            self._temporary.unlink(missing_ok=True)
        sync_folder(self._path.parent)
        self.record = written


def write_durably(path: Path, data: bytes | memoryview) -> FileRecord:
    """The same for a file that is in memory."""
    with DurableFile(path) as file:
        file.write(data)
    return file.record


def raise_if_full(error: BaseException) -> None:
    """Turn "no space left", also as a Rust library words it, into our own error; return for any other error."""
    if getattr(error, "errno", None) in _NO_ROOM or any(f"(os error {number})" in str(error) for number in _NO_ROOM):
        raise StorageFull from error


def record_file(path: Path) -> FileRecord:
    """Size and checksum of what is there now."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileRecord(file.tell(), digest.hexdigest())


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Wait until a folder's names are on the disk: without it a rename can be lost with the power."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def identify(path: str | Path) -> FileIdentity:
    """The identity of a file as it lies there; raises `IndexDamaged` where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - every search asks for every file, and a string is quicker
    except OSError as error:
        raise IndexDamaged(f"{Path(path).name} cannot be read: {error.strerror}.") from error
    return status.st_ino, status.st_size, status.st_mtime_ns, bus_errors.count(path)


def require_unchanged(files: Iterable[tuple[str | Path, FileIdentity]], *, may_be_gone: bool = False) -> None:
    """Raise `IndexDamaged` where a mapped file is not what it was. One that is gone keeps its pages."""
    for path, identity in files:
        try:
            is_unchanged = identify(path) == identity
        except IndexDamaged:
            if not may_be_gone:
                raise
            is_unchanged = bus_errors.count(path) == identity[-1]
        if not is_unchanged:
            raise IndexDamaged(f"{Path(path).name} was changed while it was in use, or cannot be read any more.")


@contextmanager
def unchanged(files: Iterable[tuple[str | Path, FileIdentity]]) -> Iterator[None]:
    """Raise `IndexDamaged` at the end where a file has changed meanwhile: what was made of it is wrong."""
    try:
        yield
    finally:
        require_unchanged(files)


class Verifier:
    """Compares files with their records, each file once as long as nobody writes to it."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[FileIdentity, FileRecord], None] = OrderedDict()  # the latest ones

    def verify(self, path: Path, record: FileRecord) -> FileIdentity:
        """Raise `IndexDamaged` unless the file is what the record says."""
        identity = identify(path)
        key = identity, record
        if key in self._known:
            with suppress(KeyError):  # another thread has just pushed it out
                self._known.move_to_end(key)
            return identity
        try:
            found = record_file(path)
        except OSError as error:
            raise IndexDamaged(f"{path.name} cannot be read: {error.strerror}.") from error
        if found.bytes != record.bytes:
            raise IndexDamaged(f"{path.name} has {found.bytes} bytes and should have {record.bytes}.")
        if found != record:
            raise IndexDamaged(f"{path.name} is not what was written: its checksum differs.")
        self._known[key] = None
        while len(self._known) > _REMEMBERED_FILES:
            with suppress(KeyError):
                self._known.popitem(last=False)
        return identity


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock; looking at it is in nobody's way."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False  # nobody ever has, or whoever looks may not know
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def exclusive(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold a lock over threads and processes; the kernel releases it when its holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + timeout_seconds
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                raise IndexUnavailable("Another process has been writing to the index for too long.")
            time.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
