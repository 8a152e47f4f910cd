"""A generation of the index: which files it consists of, and the pointer that makes it the newest.

`CURRENT` is the only file that is ever replaced. It names a manifest and its checksum, and the manifest names every
other file and theirs, so a reader sees one generation wholly or another wholly, whatever a crash left lying about.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.errors import IndexDamaged, IndexUnavailable
from app.failpoints import failpoint
from app.index.durable import FileRecord, exclusive, write_durably

CURRENT = "CURRENT"
LOCK = "write.lock"
MERGE_LOCK = "merge.lock"
SEGMENTS = "segments"
MERGING = "merging"  # where the segment of a merge is built, while publishes go on
FORMAT = 2  # 2: the lexical index has the documents' titles

_OUR_FILES = (
    *("manifest-*.json", "lexical-*", ".*.tmp"),
    *(f"{SEGMENTS}/{pattern}" for pattern in ("*.faiss", "*.ids", "*.vectors", ".*.tmp")),
)
_MANIFEST_NAME = re.compile(r"manifest-(\d{1,18})\.json")


class SegmentKind(StrEnum):
    """How a segment holds its vectors."""

    FLAT_FP16 = "flat-fp16"
    CLUSTERED_INT8 = "clustered-int8"
    CLUSTERED_FP16 = "clustered-fp16"


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """An immutable segment: its vectors and, in the same order, their ids."""

    name: str
    kind: SegmentKind
    count: int
    files: Mapping[str, FileRecord]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())


@dataclass(frozen=True, slots=True)
class LexicalRecord:
    """A tantivy index in a folder of its own, never written to after its generation."""

    name: str
    documents: int
    files: Mapping[str, FileRecord]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """The newest merge: how many segments became one of how many rows, and how many dead rows were dropped."""

    generation: int
    segments: int
    rows: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that belongs to one generation."""

    generation: int
    previous: int  # the generation that readers may still be opening
    dimension: int
    sequence: int
    segments: tuple[SegmentRecord, ...] = ()
    lexical: LexicalRecord | None = None
    removed: tuple[int, ...] = ()  # first ids of versions whose rows still lie in a segment
    last_merge: MergeRecord | None = None
    format: int = field(default=FORMAT, kw_only=True)

    @property
    def name(self) -> str:
        return manifest_name(self.generation)

    @property
    def files(self) -> list[str]:
        """What it names, seen from the index's folder."""
        files = [f"{SEGMENTS}/{file}" for segment in self.segments for file in segment.files]
        return files + [f"{self.lexical.name}/{file}" for file in self.lexical.files] if self.lexical else files


def manifest_name(generation: int) -> str:
    return f"manifest-{generation}.json"


def read_pointer(directory: Path) -> bytes | None:
    """The raw content of `CURRENT`: it differs whenever the generation does. None where there is no index yet."""
    try:
        return (directory / CURRENT).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexDamaged(f"{CURRENT} cannot be read: {error.strerror}.") from error


def read_manifest(directory: Path, pointer: bytes) -> Manifest:
    """The manifest that a pointer names, its checksum verified."""
    try:
        name, sha256 = (str(part) for part in _known_keys(json.loads(pointer), {"manifest", "sha256"}).values())
    except (ValueError, RecursionError) as error:
        raise IndexDamaged(f"{CURRENT} does not name a manifest.") from error
    if not _MANIFEST_NAME.fullmatch(name):
        raise IndexDamaged(f"{CURRENT} does not name a manifest.")
    try:
        data = (directory / name).read_bytes()
    except OSError as error:
        raise IndexDamaged(f"{name} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IndexDamaged(f"{name} is not what was written: its checksum differs.")
    return _parse(name, data)


def commit_manifest(directory: Path, manifest: Manifest) -> None:
    """Make a generation the newest. Every file that it names must be on the disk before."""
    data = json.dumps(asdict(manifest), separators=(",", ":")).encode()
    written = write_durably(directory / manifest.name, data)
    failpoint("manifest.written")
    pointer = {"manifest": manifest.name, "sha256": written.sha256}
    write_durably(directory / CURRENT, json.dumps(pointer).encode() + b"\n")
    failpoint("current.replaced")


def newest_generation_on_disk(directory: Path) -> int:
    """The highest number that a manifest ever got here, committed or not; 0 where there is none."""
    matches = (_MANIFEST_NAME.fullmatch(path.name) for path in directory.iterdir())
    return max((int(match[1]) for match in matches if match), default=0)


def collect_garbage(directory: Path, *, keep_previous: bool = True) -> None:
    """Delete our files that neither the newest generation nor the one before names; never a file that is not ours.

    The one before stays for a while because a reader may be opening it. Files that are already mapped outlive their
    names.
    """
    try:
        pointer = read_pointer(directory)
        newest = pointer and read_manifest(directory, pointer)
    except IndexDamaged:
        return  # nothing is known to be garbage before a rebuild
    kept = {CURRENT, LOCK, MERGE_LOCK, SEGMENTS}
    previous = _peek(directory, newest.previous) if newest and keep_previous else None
    for generation in (newest, previous):
        if generation:
            kept.add(generation.name)
            kept.update(f"{SEGMENTS}/{file}" for segment in generation.segments for file in segment.files)
            if generation.lexical is not None:
                kept.add(generation.lexical.name)
    for pattern in _OUR_FILES:
        for path in directory.glob(pattern):
            if path.relative_to(directory).as_posix() not in kept:
                _remove(path)
    with suppress(IndexUnavailable, OSError), exclusive(directory / MERGE_LOCK, 0):
        _remove(directory / MERGING)  # nobody merges: it was left behind
    failpoint("garbage.collected")


def make_way(directory: Path) -> None:
    """Clear what lies where our own files and folders have to be."""
    for name in (CURRENT, LOCK, MERGE_LOCK):
        if (directory / name).is_dir():
            _remove(directory / name)
    if (directory / SEGMENTS).exists() and not (directory / SEGMENTS).is_dir():
        _remove(directory / SEGMENTS)


def _remove(path: Path) -> None:
    """Delete a file or a whole folder; what cannot be deleted now is left to the next time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _peek(directory: Path, generation: int) -> Manifest | None:
    name = manifest_name(generation)
    try:
        return _parse(name, (directory / name).read_bytes())
    except (OSError, IndexDamaged):
        return None


def _parse(name: str, data: bytes) -> Manifest:
    try:
        raw = json.loads(data)
        if raw["format"] != FORMAT:
            raise IndexDamaged(f"{name} has format {raw['format']}; this version reads format {FORMAT}.")
        raw["segments"] = tuple(
            SegmentRecord(**segment | {"kind": SegmentKind(segment["kind"]), "files": _files(segment["files"])})
            for segment in raw["segments"]
        )
        raw["lexical"] = raw["lexical"] and LexicalRecord(**raw["lexical"] | {"files": _files(raw["lexical"]["files"])})
        raw["last_merge"] = raw["last_merge"] and MergeRecord(**raw["last_merge"])
        return Manifest(**raw | {"removed": tuple(raw["removed"])})
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise IndexDamaged(f"{name} cannot be understood.") from error


def _files(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, FileRecord]:
    return {name: FileRecord(**record) for name, record in raw.items()}


def _known_keys(raw: object, keys: Iterable[str]) -> dict[str, Any]:
    if not isinstance(raw, dict) or set(raw) != set(keys):
        raise ValueError("unexpected keys")
    return {key: raw[key] for key in sorted(keys)}
