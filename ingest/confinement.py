"""What a parser process gives up before it reads its first file; nothing of it can be taken back.

On Linux on x86-64 and arm64 the kernel sees to it, without any privilege, for whatever code comes to run in the process
and for all that it starts: seccomp refuses sockets and leaving the session that is killed as a group; Landlock refuses
to write, to start programs and to signal other processes. It may still read what its user may read. Elsewhere, or where
a container forbids these calls, only the resource limits are left, and a hook that refuses Python's own sockets. What
holds is told, not assumed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import sys
from collections.abc import Sequence
from typing import Any

_NO_NEW_PRIVILEGES = 38
_SECCOMP_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # refused with EPERM
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: linux/bpf_common.h
_NUMBER, _ARCHITECTURE = 0, 4  # where they stand in struct seccomp_data
_X32 = 0x40000000  # the same calls once more, under other numbers
# Machine → its name to seccomp, the number of `seccomp`, those of socket, io_uring_setup, setsid, setpgid.
_CALLS = {
    "x86_64": (0xC000003E, 317, (41, 425, 112, 109)),
    "aarch64": (0xC00000B7, 277, (198, 425, 157, 154)),
}

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_TELL_VERSION = 1
_BENEATH_PATH = 1
_WRITE_FILE = 1 << 1
# Execute, write, remove, make anything; since version 2 moving to another folder, since 3 truncating.
_FILE_RIGHTS = {1: 0b1_1111_1111_0011, 2: 0b11_1111_1111_0011, 3: 0b111_1111_1111_0011}
_TCP = 0b11  # bind and connect: version 4
_SIGNALS_AND_SOCKETS = 0b11  # to processes outside, and their abstract sockets: version 6


def confine(memory_bytes: int, open_files: int) -> tuple[str, ...]:
    """Confine this process as far as the system can. Returns what holds: of "network" and "files"."""
    _limit_resources(memory_bytes, open_files)
    holds = []
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        # Landlock first: it is asked for through a file.
        with contextlib.suppress(OSError):
            _refuse_files(libc)
            holds.append("files")
        with contextlib.suppress(OSError):
            _refuse_network(libc)
            holds.append("network")
    if "network" not in holds:
        sys.addaudithook(_refuse_python_sockets)
    return tuple(holds)


def _limit_resources(memory_bytes: int, open_files: int) -> None:
    """No core dumps, no written files, few open ones, bounded memory: where the system has such limits."""
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_AS, memory_bytes),  # macOS refuses it; there the time limits have to do
    ):
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(limit)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (value, value))


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _refuse_network(libc: ctypes.CDLL) -> None:
    """Raises `OSError`."""
    if platform.machine() not in _CALLS:
        raise OSError("the numbers of this machine's system calls are not known here")
    architecture, seccomp, refused = _CALLS[platform.machine()]
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_IF_EQUAL, 0, len(refused) + 3, architecture), (_LOAD, 0, 0, _NUMBER)]
    lines += [(_IF_AT_LEAST, len(refused) + 1, 0, _X32)]
    lines += [(_IF_EQUAL, len(refused) - index, 0, number) for index, number in enumerate(refused)]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    program = _Program(len(lines), (_Instruction * len(lines))(*(_Instruction(*line) for line in lines)))
    _call(libc, seccomp, [_SECCOMP_FILTER, _ALL_THREADS, ctypes.byref(program)])


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _refuse_files(libc: ctypes.CDLL) -> None:
    """Raises `OSError`."""
    version = _call(libc, _CREATE_RULESET, [None, ctypes.c_size_t(0), _TELL_VERSION])
    rules = _Ruleset(
        _FILE_RIGHTS[min(version, 3)], _TCP if version >= 4 else 0, _SIGNALS_AND_SOCKETS if version >= 6 else 0
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _call(libc, _CREATE_RULESET, [ctypes.byref(rules), ctypes.c_size_t(size), 0])
    nowhere = os.open(os.devnull, os.O_PATH)
    try:
        allowed = _PathRule(_WRITE_FILE, nowhere)  # libraries send there what nobody wants to read
        _call(libc, _ADD_RULE, [ruleset, _BENEATH_PATH, ctypes.byref(allowed), 0])
        _call(libc, _RESTRICT_SELF, [ruleset, 0])
    finally:
        os.close(nowhere)
        os.close(ruleset)


def _call(libc: ctypes.CDLL, number: int, arguments: Sequence[Any]) -> int:
    """A system call that the C library has no function for. Raises `OSError`."""
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _refuse_python_sockets(event: str, _: tuple[Any, ...]) -> None:
    if event.startswith("socket."):
        raise PermissionError("a parser has no network")
