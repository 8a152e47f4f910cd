"""What a folder holds that could be read as documents, and what of it is left out and why."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pathspec import GitIgnoreSpec

from app.errors import FootnoteError, UnsupportedMediaType
from app.media_types import HEAD_BYTES, detect

IGNORE_FILE = ".footnoteignore"

_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_Rules = tuple[tuple[int, GitIgnoreSpec], ...]  # of the folder and those above it: how long its own name is
State = tuple[int, int, int]


class FolderUnreadable(FootnoteError):
    """The folder cannot be read."""

    code = "folder_unreadable"


class Skipped(StrEnum):
    """Why something in the folder is no document."""

    HIDDEN = "hidden"
    IGNORED = f"named by {IGNORE_FILE}"
    UNREADABLE_KIND = "of a kind that cannot be read"
    EMPTY = "empty"
    LINK = "links that leave the folder, lead to a folder or lead nowhere"
    NOT_A_FILE = "neither files nor folders"
    NAME = "with a name that is not UTF-8"
    SAME_BYTES = "with the same bytes as another document of the collection"


@dataclass(slots=True)
class Contents:
    """What a look at the folder found, by path relative to it. A file's state changes whenever it is written."""

    files: dict[str, State] = field(default_factory=dict)
    skipped: dict[str, Skipped] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # folders and files that could not be looked at


class Folder:
    """A folder that is looked at again and again; a file is read again only when it changed. Raises `FolderUnreadable`
    where it is gone."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._read: dict[str, tuple[State, str | Skipped]] = {}

    def look(self) -> Contents:
        """Everything below, without reading any document."""
        if not self.root.is_dir():
            raise FolderUnreadable(f"{self.root} is not there, or is not a folder.")
        contents = Contents()
        folders: list[tuple[str, _Rules]] = [("", ())]
        while folders:
            name, rules = folders.pop()
            try:
                folders += self._look_into(name, rules, contents)
            except OSError as error:
                contents.problems[name or "."] = error.strerror or str(error)
        if "." in contents.problems:
            raise FolderUnreadable(f"{self.root} cannot be read: {contents.problems['.']}")
        for name in self._read.keys() - contents.files.keys():
            del self._read[name]
        return contents

    def read(self, name: str, state: State) -> str | Skipped:
        """The file's SHA-256, or why it is no document. Raises `OSError`."""
        known = self._read.get(name)
        if known is None or known[0] != state:
            known = self._read[name] = (state, _read(self.root / name))
        return known[1]

    def _look_into(self, folder: str, rules: _Rules, contents: Contents) -> Iterator[tuple[str, _Rules]]:
        """Note the files of one folder, and yield the folders in it."""
        with os.scandir(self.root / folder) as listing:
            entries = list(listing)
        if any(entry.name == IGNORE_FILE for entry in entries):
            rules = (*rules, (len(folder), _read_rules(self.root / folder / IGNORE_FILE)))
        below = []
        for entry in entries:
            name = folder + entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            reason = self._reason_to_skip(entry, f"{name}/" if is_folder else name, rules)
            if reason is not None:
                if entry.name != IGNORE_FILE:
                    contents.skipped[name] = reason
            elif is_folder:
                below.append((f"{name}/", rules))
            else:
                self._note(entry, name, contents)
        yield from below

    def _reason_to_skip(self, entry: os.DirEntry[str], name: str, rules: _Rules) -> Skipped | None:
        if entry.name.startswith("."):
            return Skipped.HIDDEN
        if not _is_utf8(entry.name):
            return Skipped.NAME
        if _is_ignored(name, rules):
            return Skipped.IGNORED
        if entry.is_symlink() and not self._holds_target(entry):
            return Skipped.LINK
        return None

    def _holds_target(self, link: os.DirEntry[str]) -> bool:
        """Whether a link leads to a file of the folder. What links to folders lead to is found without them."""
        try:
            target = Path(link.path).resolve(strict=True)
        except RuntimeError:  # links in a circle, before Python 3.13
            return False
        except OSError as error:
            if error.errno in _LEADS_NOWHERE:
                return False
            raise
        return target.is_relative_to(self.root) and not target.is_dir()

    def _note(self, entry: os.DirEntry[str], name: str, contents: Contents) -> None:
        try:
            found = entry.stat()
        except FileNotFoundError:
            return  # deleted since it was listed
        except OSError as error:
            contents.problems[name] = error.strerror or str(error)
            return
        if stat.S_ISREG(found.st_mode):
            contents.files[name] = (found.st_size, found.st_mtime_ns, found.st_ino)
        else:
            contents.skipped[name] = Skipped.NOT_A_FILE


def _read(path: Path) -> str | Skipped:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not head:
            return Skipped.EMPTY
        try:
            detect(path.name, head)
        except UnsupportedMediaType:
            return Skipped.UNREADABLE_KIND
        digest = hashlib.sha256(head)
        while data := file.read(1024 * 1024):
            digest.update(data)
    return digest.hexdigest()


def _read_rules(path: Path) -> GitIgnoreSpec:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise FolderUnreadable(f"{path} is not valid: {error}") from error


def _is_ignored(name: str, rules: _Rules) -> bool:
    """As git decides: the innermost file that says anything of it has the word."""
    for length, spec in reversed(rules):
        ignored = spec.check_file(name[length:]).include
        if ignored is not None:
            return ignored
    return False


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
