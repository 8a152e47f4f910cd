"""Parsers in child processes: what a file does to its parser stays with that file."""

from __future__ import annotations

import json
import os
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sample_files as files

from app.config import ParseLimits
from app.errors import DocumentTooExpensive, EncryptedDocument, IngestionError, Unavailable, UnreadableDocument
from app.media_types import MediaType
from ingest.sandbox import ParserPool
from ingest.sections import Section
from tests.worker.processes import is_alive

LIMITS = ParseLimits(seconds=60, memory_bytes=512 * 1024 * 1024, pages=5)


@pytest.fixture
def pool() -> Iterator[ParserPool]:
    with ParserPool(1, LIMITS) as pool:
        yield pool


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.txt"
    path.write_text("A small file.")
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Path]:
    """A file whose end never comes: its parser waits until it is killed."""
    path = tmp_path / "endless.txt"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    yield path
    os.close(descriptor)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_small(pool: ParserPool, path: Path) -> None:
    assert pool.parse(path, MediaType.TEXT, path.name).sections == (Section("A small file."),)


def test_result_is_the_parsers(pool: ParserPool, tmp_path: Path) -> None:
    """What comes out of the child is what the parser found: pages, headings, joints, title, warnings."""
    path = tmp_path / "a.pdf"
    path.write_bytes(
        files.pdf([["1 Leave", "Fifteen days."], ["Until March\u202e."]], outline=[(0, 0, "Leave")], title="标题")
    )
    parsed = pool.parse(path, MediaType.PDF, "a.pdf")
    assert parsed.sections[0] == Section("1 Leave\nFifteen days.", 1, ("Leave",))
    assert (parsed.pages, parsed.title) == (2, "标题")


def test_children_stay_warm(pool: ParserPool, small: Path) -> None:
    """One child reads one file after the other, however much memory the worker itself holds."""
    held = bytearray(LIMITS.memory_bytes)
    pool.warm()
    first = pool.process_ids
    assert len(first) == 1
    read_small(pool, small)
    read_small(pool, small)
    assert pool.process_ids == first
    del held


def test_errors_come_through(pool: ParserPool, small: Path, tmp_path: Path) -> None:
    """A parser's error keeps its class and its words, and does not cost the child."""
    path = tmp_path / "a.pdf"
    path.write_bytes(files.pdf([["Secret."]], password="secret"))
    with pytest.raises(EncryptedDocument, match="password"):
        pool.parse(path, MediaType.PDF, "a.pdf")
    path.write_bytes(files.pdf([["Page."]] * 6))
    first = pool.process_ids
    with pytest.raises(DocumentTooExpensive, match="6 pages; 5 are allowed"):
        pool.parse(path, MediaType.PDF, "a.pdf")
    with pytest.raises(UnreadableDocument):
        pool.parse(tmp_path / "missing", MediaType.PDF, "missing")
    assert pool.process_ids == first


def test_time_limit(small: Path, endless: Path) -> None:
    """A parse that takes too long is killed; the next file is read by a new child."""
    with ParserPool(1, LIMITS.model_copy(update={"seconds": 0.5})) as pool:
        read_small(pool, small)
        before = pool.process_ids
        with pytest.raises(DocumentTooExpensive, match=r"longer than 0.5 s"):
            pool.parse(endless, MediaType.TEXT, "endless.txt")
        read_small(pool, small)
        assert pool.process_ids != before


@pytest.mark.skipif("sys.platform == 'darwin'", reason="macOS does not limit memory")
def test_memory_limit(small: Path, tmp_path: Path) -> None:
    """A file that needs too much memory fails by itself; the pool goes on."""
    path = tmp_path / "big.txt"
    path.write_text("字" * 30_000_000)
    with ParserPool(1, LIMITS.model_copy(update={"memory_bytes": 200 * 1024 * 1024})) as pool:
        with pytest.raises((DocumentTooExpensive, UnreadableDocument)):
            pool.parse(path, MediaType.TEXT, "big.txt")
        read_small(pool, small)


def test_crash(pool: ParserPool, small: Path, endless: Path) -> None:
    """A child that dies fails its document only; one that died between two files fails none."""
    read_small(pool, small)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.parse, endless, MediaType.TEXT, "endless.txt")
        wait_for(lambda: _is_reading(pool.process_ids[0]))
        os.kill(pool.process_ids[0], signal.SIGSEGV)
        with pytest.raises(UnreadableDocument, match="crash"):
            future.result(timeout=30)
    read_small(pool, small)
    os.kill(pool.process_ids[0], signal.SIGKILL)
    read_small(pool, small)


def test_processor_time_limit(pool: ParserPool, small: Path, endless: Path) -> None:
    """A child that used up its processor time is told apart from one that crashed."""
    read_small(pool, small)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.parse, endless, MediaType.TEXT, "endless.txt")
        wait_for(lambda: _is_reading(pool.process_ids[0]))
        os.kill(pool.process_ids[0], signal.SIGXCPU)
        with pytest.raises(DocumentTooExpensive, match="more than 120 s of processor time"):
            future.result(timeout=30)


def test_processor_time_runs_out(small: Path, tmp_path: Path) -> None:
    """Work is stopped by the kernel itself when its processor time is used up."""
    path = tmp_path / "long.html"
    path.write_bytes(b"<p>x</p>" * 1_000_000)
    with ParserPool(1, LIMITS.model_copy(update={"cpu_seconds": 0.01})) as pool:
        with pytest.raises(DocumentTooExpensive, match=r"more than 0\.01 s of processor time"):
            pool.parse(path, MediaType.HTML, "long.html")
        read_small(pool, small)


def test_output_limit(small: Path, tmp_path: Path) -> None:
    """A file that holds more text than may come out of its parser fails with the figures; the child goes on."""
    path = tmp_path / "long.txt"
    path.write_text("字" * 100_000)
    with ParserPool(1, LIMITS.model_copy(update={"output_bytes": 200_000})) as pool:
        read_small(pool, small)
        first = pool.process_ids
        with pytest.raises(DocumentTooExpensive, match=r"300,\d+ bytes; 200,000 are allowed"):
            pool.parse(path, MediaType.TEXT, "long.txt")
        read_small(pool, small)
        assert pool.process_ids == first


def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> ParserPool:
    """A pool whose children run `program` as soon as they are given a file, as if the file had taken them over."""
    script = tmp_path / "impostor"
    ready = json.dumps({"confined": []}).encode()
    script.write_text(
        f"#!{sys.executable}\nimport os, struct, subprocess, sys, time\n"
        f"os.write(1, {struct.pack('>Q', len(ready)) + ready!r})\nos.read(0, 1000)\n{program}\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(script))
    return ParserPool(1, LIMITS.model_copy(update={"seconds": 1}))


@pytest.mark.parametrize(
    "reply",
    [
        r"b'\xff\xff'",
        "b'[' * 100_000",
        "b'[]'",
        "b'{}'",
        """b'{"error": "SystemExit", "message": "", "peak_bytes": 1}'""",
        """b'{"sections": [[1, null, [], "", ""]], "pages": 1, "title": null, "warnings": [], "peak_bytes": 1}'""",
        """b'{"sections": [["a", "b", [], "", ""]], "pages": 1, "title": null, "warnings": [], "peak_bytes": 1}'""",
        """b'{"sections": [["a"]], "pages": 1, "title": null, "warnings": [], "peak_bytes": 1}'""",
    ],
)
def test_a_reply_that_no_parser_gives(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, reply: str) -> None:
    """Whatever a child that was taken over says, the document fails, and the child is not asked again."""
    program = f"reply = {reply}\nos.write(1, struct.pack('>Q', len(reply)))\nsys.stdout.buffer.write(reply)"
    with impostor(tmp_path, monkeypatch, f"{program}\nsys.stdout.flush()\ntime.sleep(60)") as pool:
        with pytest.raises(UnreadableDocument, match="crash"):
            pool.parse(small, MediaType.TEXT, "small.txt")
        assert not any(is_alive(process_id) for process_id in pool.process_ids)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("os.write(1, struct.pack('>Q', 1 << 60)); time.sleep(60)", "crash"),
        ("os.close(1); time.sleep(60)", "longer than 1 s"),
        ("time.sleep(60)", "longer than 1 s"),
        ("sys.exit(3)", "crash"),
    ],
    ids=["endless reply", "silent", "stalled", "gone"],
)
def test_a_child_that_misbehaves(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    """A child that promises too much, falls silent or leaves costs its document, and no more time than is allowed."""
    with (
        impostor(tmp_path, monkeypatch, program) as pool,
        pytest.raises(IngestionError, match=reason),
    ):
        pool.parse(small, MediaType.TEXT, "small.txt")


def test_killed_as_a_group(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child has started dies with it."""
    started = tmp_path / "started"
    program = f"open({str(started)!r}, 'w').write(str(subprocess.Popen(['sleep', '60']).pid)); time.sleep(60)"
    with impostor(tmp_path, monkeypatch, program) as pool, pytest.raises(DocumentTooExpensive):
        pool.parse(small, MediaType.TEXT, "small.txt")
    wait_for(lambda: not is_alive(int(started.read_text())))


def test_interrupt_is_ignored(pool: ParserPool, small: Path) -> None:
    """Ctrl-C, which reaches the whole group, does not end a child."""
    read_small(pool, small)
    first = pool.process_ids
    os.kill(first[0], signal.SIGINT)
    read_small(pool, small)
    assert pool.process_ids == first


def test_several_threads(small: Path) -> None:
    """Many threads share a few children."""
    with ParserPool(2, LIMITS) as pool:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: read_small(pool, small), range(40)))
        assert 1 <= len(pool.process_ids) <= 2


def test_close(pool: ParserPool, small: Path, endless: Path) -> None:
    """Closing ends the children; a parse under way is stopped without blaming its document."""
    read_small(pool, small)
    child = pool.process_ids[0]
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.parse, endless, MediaType.TEXT, "endless.txt")
        wait_for(lambda: _is_reading(child))
        pool.close()
        with pytest.raises(Unavailable):
            future.result(timeout=30)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    with pytest.raises(Unavailable):
        pool.parse(small, MediaType.TEXT, "small.txt")


def test_orphan(pool: ParserPool, small: Path) -> None:
    """A child whose parent is gone ends by itself."""
    read_small(pool, small)
    child = next(iter(pool._children))
    assert child._process.stdin is not None
    child._process.stdin.close()  # what the kernel does when the parent dies
    assert child._process.wait(timeout=30) == 0


def _is_reading(process_id: int) -> bool:
    """Whether the child has opened the endless file."""
    folder = Path(f"/proc/{process_id}/fd")
    if not folder.exists():
        return True
    return any(entry.readlink().name == "endless.txt" for entry in folder.iterdir())
