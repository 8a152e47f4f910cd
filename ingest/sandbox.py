"""Parsers run in child processes with limits: whatever a file does to its parser, the worker goes on.

A pool keeps its children warm between files. A child that dies, hangs or takes too much is killed with all that it
started, and replaced; only the document fails. Children import the parsers and nothing heavier, so one starts quickly.
What a child says is not trusted either: replies are plain data of bounded size. What else it may not do:
`ingest.confinement`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.config import ParseLimits
from app.errors import (
    DocumentTooExpensive,
    EmptyDocument,
    EncryptedDocument,
    IngestionError,
    Unavailable,
    UnreadableDocument,
)
from app.types import PdfEngine
from ingest.sections import Limits, Parsed, Section

logger = logging.getLogger(__name__)

_ERRORS = {
    error.__name__: error
    for error in (IngestionError, UnreadableDocument, EncryptedDocument, EmptyDocument, DocumentTooExpensive)
}
_START_SECONDS = 60.0  # importing the parsers takes half a second; a busy machine is given more
_WORN_SHARE = 0.5  # of the memory limit: a child that has needed more may not give it back, so it is replaced
_WHOLLY_CONFINED = {"files", "network"}
_READ_BYTES = 1 << 20
_OF_DOCLING = ("DOCLING_", "HF_HOME", "HF_HUB_CACHE", "HOME")
_LEAST_OUTPUT_BYTES = 64 * 1024  # a child may always say what is wrong


class ParserPool:
    """Up to `size` parser processes; `parse` may be called from any number of threads, and waits for a free one."""

    def __init__(
        self,
        size: int,
        limits: ParseLimits,
        max_characters: int = Limits().max_characters,
        *,
        pdf_engine: PdfEngine = PdfEngine.DEFAULT,
    ) -> None:
        self._limits = limits
        self._max_characters = max_characters
        self._pdf_engine = pdf_engine
        self._size = size
        self._closed = False
        self._children: set[_Child] = set()
        # Last in, first out: one warm child serves a quiet worker, the others start only under load.
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def process_ids(self) -> list[int]:
        """The parser processes that are running now."""
        return [child.process_id for child in tuple(self._children)]

    def close(self) -> None:
        """End all children. A `parse` that is under way raises `Unavailable`: its document did nothing wrong."""
        self._closed = True
        for child in tuple(self._children):
            child.kill()
        slots = [self._idle.get() for _ in range(self._size)]  # all threads are out of their children now
        for child in tuple(self._children):
            self._discard(child)
        for _ in slots:
            self._idle.put(None)

    def warm(self) -> None:
        """Start the first child, before there is a file to read. Raises `Unavailable`."""
        child = self._idle.get()
        try:
            child = self._ready(child)
        finally:
            self._idle.put(child)

    def parse(self, path: Path, media_type: str, filename: str, password: str | None = None) -> Parsed:
        """Read a file as `ingest.parsers.parse` does, within the limits.

        Raises only `IngestionError`s for what is wrong with the file, `Unavailable` if no parser could be run.
        """
        request = {"path": str(path.absolute()), "media_type": media_type, "password": password}
        child = self._idle.get()
        try:
            child = self._ready(child)
            try:
                reply = child.ask(request)
            except _Died as death:
                if death.signal not in (signal.SIGKILL, signal.SIGTERM):
                    raise
                # Killed from outside, perhaps before it saw the file: the file is given another child, once.
                child = self._ready(child)
                reply = child.ask(request)
            if not isinstance(peak := reply.get("peak_bytes"), int) or peak > self._limits.memory_bytes * _WORN_SHARE:
                child.kill()
            return _parsed(reply)
        except (_Overdue, _Died, _TalksNonsense) as failure:
            if isinstance(failure, _TalksNonsense) and child is not None:
                child.kill()
            logger.warning("reading %r failed: %r", filename, failure)
            raise self._reason(failure) from None
        finally:
            self._idle.put(child)

    def _ready(self, child: _Child | None) -> _Child:
        """The same child if it is still there, or a new one."""
        if child is not None and child.is_alive():
            return child
        if child is not None:
            self._discard(child)
        if self._closed:
            raise Unavailable("The parser was stopped.")
        child = _Child(self._limits, self._max_characters, self._pdf_engine)
        if not self._children and child.confined != _WHOLLY_CONFINED:
            logger.info("parsers are confined by %s only", ", ".join(sorted(child.confined)) or "resource limits")
        self._children.add(child)
        return child

    def _discard(self, child: _Child) -> None:
        self._children.discard(child)
        child.close()

    def _reason(self, failure: Exception) -> IngestionError:
        if isinstance(failure, _Overdue):
            return DocumentTooExpensive(f"Reading it took longer than {self._limits.seconds:g} s.")
        if isinstance(failure, _Died) and failure.signal == signal.SIGXCPU:
            return DocumentTooExpensive(f"Reading it took more than {self._limits.cpu_seconds:g} s of processor time.")
        return UnreadableDocument("The file cannot be read: it made its parser crash.")


class _Overdue(Exception):
    """The child did not answer in time."""


class _Died(Exception):
    """The child ended instead of answering."""

    def __init__(self, signal_number: int) -> None:
        self.signal = signal_number
        super().__init__(f"ended by signal {signal_number}")


class _TalksNonsense(Exception):
    """The child sent what no parser sends: something else has taken it over."""


class _Child:
    """One parser process, in a session of its own so that it can be killed as a group and no Ctrl-C reaches it."""

    def __init__(self, limits: ParseLimits, max_characters: int, pdf_engine: PdfEngine) -> None:
        self._limits = limits
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
            # A second arena would reserve 64 MB of the address space that the memory limit counts.
            "MALLOC_ARENA_MAX": "1",
            # So would every thread that a library of numbers starts when it is imported.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        if pdf_engine is PdfEngine.DOCLING:  # which is told by its own variables where its models are
            environment |= {name: os.environ[name] for name in os.environ if name.startswith(_OF_DOCLING)}
        settings = {**limits.model_dump(), "max_characters": max_characters, "pdf_engine": pdf_engine}
        self._killed = False
        # -P: nothing that lies in the working directory can stand in for a module.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "ingest.parsers", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
        try:
            self.confined = frozenset(self._receive(_START_SECONDS)["confined"])
        except (_Overdue, _Died, _TalksNonsense) as failure:
            self.close()
            raise Unavailable("The parser process could not be started.") from failure

    @property
    def process_id(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Mapping[str, str | None]) -> dict[str, Any]:
        """Send a request and wait for its reply. A child that does not answer is killed."""
        payload = json.dumps(request).encode()
        assert self._process.stdin is not None  # noqa: S101 - it was opened as a pipe
        try:
            self._process.stdin.write(struct.pack(">Q", len(payload)) + payload)
            return self._receive(self._limits.seconds)
        except (OSError, _Overdue, _Died, _TalksNonsense) as failure:
            self.kill()
            if isinstance(failure, OSError):
                raise _Died(-(self._process.returncode or 0)) from failure
            raise

    def kill(self) -> None:
        """End the process and all that it started."""
        if not self._killed:
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Kill it and give back its pipes; only for the thread that uses it."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _receive(self, timeout_seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_seconds
        (length,) = struct.unpack(">Q", self._read(8, deadline))
        if length > max(self._limits.output_bytes, _LEAST_OUTPUT_BYTES):
            raise _TalksNonsense
        data = self._read(length, deadline)
        try:
            reply = json.loads(data.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise _TalksNonsense from error
        if not isinstance(reply, dict):
            raise _TalksNonsense
        return reply

    def _read(self, length: int, deadline: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it was opened as a pipe
        descriptor = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        data = bytearray()
        while len(data) < length:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not poll.poll(remaining * 1000):
                raise _Overdue
            part = os.read(descriptor, min(length - len(data), _READ_BYTES))
            if not part:
                raise _Died(self._end_signal(deadline))
            data += part
        return bytes(data)

    def _end_signal(self, deadline: float) -> int:
        """What ended the process; 0 if it ended by itself. Raises `_Overdue` for one that only says no more."""
        try:
            return -self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _Overdue from None


def _parsed(reply: Mapping[str, Any]) -> Parsed:
    """What a parser found, or raises what it said of the file; `_TalksNonsense` for what is neither."""
    try:
        if "error" in reply:
            error = _ERRORS[reply["error"]](str(reply["message"]))
        else:
            sections = tuple(_section(*fields) for fields in reply["sections"])
            warnings, labels = (tuple(map(str, reply[name])) for name in ("warnings", "page_labels"))
            return Parsed(sections, reply["pages"], reply["title"], warnings, labels)
    except (KeyError, TypeError, ValueError) as problem:
        raise _TalksNonsense from problem
    raise error


def _section(text: object, page: object, headings: list[object], joint: object, header: object) -> Section:
    if not all(isinstance(each, str) for each in (text, joint, header, *headings)):
        raise TypeError("a text that is none")
    if page is not None and not isinstance(page, int):
        raise TypeError("a page that is no number")
    return Section(text, page, tuple(headings), joint, header)  # type: ignore[arg-type]
