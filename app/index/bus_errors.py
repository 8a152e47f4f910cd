"""Reading a mapped file that has lost its end, or whose disk fails: zeros and a note of it, not death by SIGBUS.

As systemd's journal does it, the handler maps zeros in place of the file and lets the read go on. What was read is to
be thrown away: `identify` gives such a file another identity, and whoever reads mapped files compares identities when
done. On Linux, x86-64 and arm64; elsewhere nothing is done, and the process dies.

A handler in Python takes the GIL, in the middle of whatever was reading. That is sound here because the signal is the
thread's own doing: it comes only where mapped bytes are read, which nobody does inside `malloc` or with half-made
objects, so the lock is either free, held by others who will let go of it, or already ours (numpy). It would hang where
somebody holds the GIL while he waits for another thread's reading; FAISS and tantivy let go of it wherever they do.
What is mapped at the address is asked of the kernel, not remembered: so no list can be wrong about memory that was
given back.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

_ZEROS = "/dev/zero"  # mapped privately it is anonymous memory, but keeps its name
_ADDRESS_ERRORS = (2, 3)  # BUS_ADRERR, BUS_OBJERR: not a failure of memory itself
_SA_SIGINFO, _MAP_FIXED, _MAP_NORESERVE = 0x4, 0x10, 0x4000


class _Action(ctypes.Structure):
    """`struct sigaction`, of glibc and of musl."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class _Info(ctypes.Structure):
    """The beginning of `siginfo_t`."""

    _fields_ = (
        ("number", ctypes.c_int),
        ("errno", ctypes.c_int),
        ("code", ctypes.c_int),
        ("address", ctypes.c_void_p),
    )


# With use_errno the interrupted code's errno is as it was.
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.POINTER(_Info), ctypes.c_void_p, use_errno=True)

_installing = threading.Lock()
_survivor: _Survivor | None = None


def survive(folder: Path) -> None:
    """From now on no file below this folder, a real path, kills the process that has it mapped."""
    global _survivor
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return
    with _installing:
        if _survivor is None:
            _survivor = _Survivor()
        if f"{folder}/" not in _survivor.folders:
            _survivor.folders += (f"{folder}/",)


def happened() -> bool:
    """Whether any file had to be replaced in this process so far."""
    return _survivor is not None and bool(_survivor.counts)


def count(path: str | Path) -> int:
    """How often zeros had to be mapped in place of this file."""
    return _survivor.counts.get(str(path), 0) if _survivor and _survivor.counts else 0  # nearly always at once


class _Survivor:
    def __init__(self) -> None:
        self.folders: tuple[str, ...] = ()
        self.counts: dict[str, int] = {}
        self._replacing = threading.Lock()
        self._zeros = os.open(_ZEROS, os.O_RDONLY | os.O_CLOEXEC)
        libc = ctypes.CDLL(None)
        self._sigaction, self._mmap = libc.sigaction, libc.mmap
        self._mmap.restype = ctypes.c_void_p
        self._mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        self._handler = _Handler(self._handle)  # kept: the kernel has its address
        self._before = _Action()
        action = _Action(handler=ctypes.cast(self._handler, ctypes.c_void_p), flags=_SA_SIGINFO)
        self._sigaction(signal.SIGBUS, ctypes.byref(action), ctypes.byref(self._before))

    def _handle(self, number: int, info: ctypes._Pointer[_Info], context: int) -> None:
        with suppress(Exception):  # or a mistake of ours would bring us here again for ever
            if info[0].code in _ADDRESS_ERRORS and self._replace(info[0].address):
                return
        # As if we had never been there: Python's faulthandler tells where it was, or the process ends.
        self._sigaction(number, ctypes.byref(self._before), None)
        signal.raise_signal(number)

    def _replace(self, address: int) -> bool:
        """Map zeros in place of the file at this address; False where it is none of ours."""
        with self._replacing:
            start, end, path = _mapping_at(address)
            if path == _ZEROS:
                return True  # another thread was here first
            if not path.startswith(self.folders):
                return False
            # First: whoever reads zeros must not find the old count afterwards.
            self.counts[path] = self.counts.get(path, 0) + 1
            flags = mmap.MAP_PRIVATE | _MAP_FIXED | _MAP_NORESERVE
            return bool(self._mmap(start, end - start, mmap.PROT_READ, flags, self._zeros, 0) == start)


def _mapping_at(address: int) -> tuple[int, int, str]:
    """Where the mapping at an address begins and ends, and of which file it is; proc(5)."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape", newline="\n") as maps:  # noqa: PTH123
        for line in maps:
            place, *_ = fields = line.rstrip("\n").split(maxsplit=5)
            start, end = (int(edge, 16) for edge in place.split("-"))
            if start <= address < end:
                path = fields[5] if len(fields) > 5 else ""
                return start, end, path.removesuffix(" (deleted)").replace("\\012", "\n")
    raise LookupError(address)
