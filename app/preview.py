"""How a file would be cut into chunks, without storing it.

The server has no parsers and must not import them, so each preview is a process that does (`python -m ingest.preview`):
what a file does to it cannot hurt the server. It asks back for what only the server has loaded, the tokenizer.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from app import errors
from app.config import ParseLimits
from app.types import PdfEngine

CountTokens = Callable[[Sequence[str]], list[int]]

_AT_ONCE = 2  # each is a process with a parser below it
_BESIDES_PARSING_SECONDS = 30.0  # to start, to cut, to count tokens


class Previewer:
    """Runs previews, a few at a time; the others wait."""

    def __init__(self, limits: ParseLimits, pdf_engine: PdfEngine = PdfEngine.DEFAULT) -> None:
        self._limits = limits
        self._pdf_engine = pdf_engine
        self._slots = anyio.CapacityLimiter(_AT_ONCE)

    async def preview(
        self,
        path: Path,
        *,
        filename: str,
        media_type: str,
        count_tokens: CountTokens,
        chunk_tokens: int,
        chunk_overlap_tokens: int,
        password: str | None = None,
    ) -> Mapping[str, Any]:
        """`pages`, `warnings` and `chunks` of a file, as the worker would make them. Cancelling it ends the process.

        Raises `IngestionError`s for what is wrong with the file, and `Unavailable`.
        """
        request = {
            "path": str(path),
            "filename": filename,
            "media_type": media_type,
            "password": password,
            "chunk_tokens": chunk_tokens,
            "chunk_overlap_tokens": chunk_overlap_tokens,
            "limits": self._limits.model_dump(),
            "pdf_engine": self._pdf_engine,
        }
        conversation = _Conversation(count_tokens)
        async with self._slots:
            try:
                with anyio.fail_after(self._limits.seconds + _BESIDES_PARSING_SECONDS):
                    return await anyio.to_thread.run_sync(conversation.hold, request, abandon_on_cancel=True)
            except TimeoutError as error:
                raise errors.DocumentTooExpensive("The preview took longer than is allowed.") from error
            finally:
                conversation.end()


class _Conversation:
    """One process: its thread starts it, talks with it and takes note of its end; any other may end it."""

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count_tokens = count_tokens
        self._lock = threading.Lock()
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    def hold(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            if self._ended:
                raise errors.Unavailable
            self._process = _start()
        with contextlib.suppress(BrokenPipeError), self._process as process:
            _say(process, request)
            while line := _heard(process):
                message = json.loads(line)
                if "count" not in message:
                    return _result(message)
                _say(process, self._count_tokens(message["count"]))
        raise errors.Unavailable("The preview broke off; try again in a moment.")

    def end(self) -> None:
        """Kill the process if it still runs; its thread then reads the end of its output."""
        with self._lock:
            self._ended = True
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: nothing that lies in the working directory can stand in for a module.
        [sys.executable, "-P", "-m", "ingest.preview"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)},
        start_new_session=True,
    )


def _say(process: subprocess.Popen[bytes], message: object) -> None:
    assert process.stdin is not None  # noqa: S101 - it was opened as a pipe
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def _heard(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    return process.stdout.readline()


def _result(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if "error" in message:
        kind: type[errors.FootnoteError] = getattr(errors, message["error"])
        raise kind(message["message"])
    return message
