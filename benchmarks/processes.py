"""What the kernel knows of a process's memory and of a folder's files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)")
_KIBIBYTE = 1024


def resident_bytes(pid: int, folders: Mapping[str, str]) -> dict[str, int]:
    """Resident memory: `total`, `proportional`, `anonymous`, and the mapped pages of files under each of the folders.

    `folders` are parts of paths by name; a page that two processes map counts wholly in all but `proportional`.
    """
    rollup = _sizes(Path(f"/proc/{pid}/smaps_rollup").read_text())
    found = {"total": rollup["Rss"], "proportional": rollup["Pss"], "anonymous": rollup["Anonymous"]}
    found |= dict.fromkeys(folders, 0)
    path = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        mapping = _MAPPING.fullmatch(line)
        if mapping:
            path = mapping[1]
        elif line.startswith("Rss:"):
            for name, part in folders.items():
                if part in path:
                    found[name] += int(line.split()[1]) * _KIBIBYTE
    return found


def peak_bytes() -> int:
    """The most that this process had resident. (`getrusage` would count the parent's size before the exec, too.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * _KIBIBYTE


def bytes_under(folder: Path, pattern: str = "**/*") -> int:
    """Bytes of the disk that the files under a folder take; a file with two names counts once."""
    files = {}
    for path in folder.glob(pattern):
        if path.is_file():
            status = path.stat()
            files[status.st_ino] = status.st_blocks * 512
    return sum(files.values())


def forget_pages(folder: Path) -> None:
    """Drop the folder's files from the page cache, as after a restart of the machine."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)  # a dirty page stays
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _sizes(text: str) -> dict[str, int]:
    lines = (line.split() for line in text.splitlines()[1:])
    return {name.rstrip(":"): int(size) * _KIBIBYTE for name, size, *_ in lines}
