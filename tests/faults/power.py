"""What is left of a folder when the power goes: only what was synced.

A file's content is on the disk from its own fsync on, a name from the fsync of its folder on. Two disks are drawn after
every fsync: a lazy one, that has written nothing else, and one that has written every name, ahead of the contents.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass(slots=True)
class _Synced:
    """A file or folder, held open so that its number is not given to another one."""

    descriptor: int
    content: bytes = b""
    names: dict[str, int] = field(default_factory=dict)


class Disk:
    """Follows the fsyncs of this process below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._synced: dict[int, _Synced] = {}
        self._remember(folder)
        for path in folder.rglob("*"):  # all that was there before is on the disk
            self._remember(path)

    @contextmanager
    def watched(self, monkeypatch: pytest.MonkeyPatch, after: Callable[[str], None]) -> Iterator[None]:
        """Call `after` with a path's name whenever something below the folder was synced."""
        fsync = os.fsync

        def recorded(descriptor: int) -> None:
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.is_relative_to(self._folder):
                self._remember(path)
                after(path.name)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", recorded)
            yield

    def close(self) -> None:
        for synced in self._synced.values():
            os.close(synced.descriptor)

    def draw(self, target: Path, *, names_ahead: bool) -> None:
        """The folder as it would be found after a power cut now."""
        target.mkdir()
        self._draw(self._folder, self._folder.stat().st_ino, target, names_ahead)

    def _remember(self, path: Path) -> None:
        status = path.stat()
        synced = self._synced.get(status.st_ino)
        if synced is None:
            synced = self._synced[status.st_ino] = _Synced(os.open(path, os.O_RDONLY))
        if stat.S_ISDIR(status.st_mode):
            synced.names = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            synced.content = path.read_bytes()

    def _draw(self, path: Path, number: int, target: Path, names_ahead: bool) -> None:
        synced = self._synced.get(number)
        live = {entry.name: entry.inode() for entry in os.scandir(path)} if path.is_dir() else {}
        names = live if names_ahead else (synced.names if synced else {})
        for name, child in names.items():
            known = self._synced.get(child)
            if self._is_folder(child, path / name):
                (target / name).mkdir()
                self._draw(path / name, child, target / name, names_ahead)
            else:
                (target / name).write_bytes(known.content if known else b"")

    def _is_folder(self, number: int, path: Path) -> bool:
        known = self._synced.get(number)
        return stat.S_ISDIR(os.fstat(known.descriptor).st_mode) if known else path.is_dir()
