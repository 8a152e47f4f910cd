"""Zip-based formats are checked before anything in them is unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import DocumentTooExpensive, UnreadableDocument

_MAX_ENTRIES = 10_000
_MAX_BYTES = 512 * 1024 * 1024  # unpacked, all members together
_MAX_RATIO = 200  # deflate reaches 1000; XML of real documents stays below 100
_RATIO_MATTERS_FROM_BYTES = 16 * 1024 * 1024


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file whose declared sizes are within bounds; `zipfile` never unpacks more than a member declares."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, EOFError, OverflowError) as error:
        raise UnreadableDocument("The file is damaged: its contents cannot be unpacked.") from error
    with archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        packed = sum(member.compress_size for member in members)
        if len(members) > _MAX_ENTRIES or unpacked > _MAX_BYTES:
            raise DocumentTooExpensive("Unpacked, the file is larger than is allowed.")
        if unpacked > _RATIO_MATTERS_FROM_BYTES and unpacked > packed * _MAX_RATIO:
            raise DocumentTooExpensive("The file unpacks to many times its size, as a zip bomb does.")
        yield archive
