"""How fast files become text and chunks, without embedding; and whether the worker parses while it embeds."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from app.config import ParseLimits, Settings
from app.embedding.models import SentenceTransformerEmbedder
from app.media_types import MediaType
from benchmarks.datasets import read_documents
from benchmarks.digital_pdfs import DigitalPdf, digital_pdfs
from benchmarks.results import Result, Row
from benchmarks.server import running_server
from ingest.chunking import chunk
from ingest.parsers import parse
from ingest.sandbox import ParserPool
from ingest.sections import Section, assemble

_ROOT = Path(__file__).resolve().parent.parent
_LEAST_PAGES, _LEAST_MEGABYTES = 150, 20  # a second
_MOST_RATIO = 2.0
_MEGABYTE = 1_000_000
_FILE_BYTES, _QUICK_BYTES = 10 * _MEGABYTE, _MEGABYTE
_ROUNDS = 3
_PROCESSES = 2
_QUICK_PAGES = 30
_COLLECTION = "timeline"


def run(data: Path, *, quick: bool) -> Result:
    """PDFs and texts through two parser processes, chunking by itself, and the worker's events."""
    pdfs = [each for each in digital_pdfs(data) if not quick or each.pages < _QUICK_PAGES]
    size = _QUICK_BYTES if quick else _FILE_BYTES
    rows: list[Row] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, ParserPool(_PROCESSES, ParseLimits()) as pool:
        pool.warm()
        rows += _read_pdfs(pool, pdfs, details)
        texts = list(_texts(data, Path(name), size))
        for what, path, media_type in texts:
            rows += _read_text(pool, what, path, media_type, details)
    rows += _cut(data, texts_bytes=size, details=details)
    rows += _timeline(pdfs, details)
    return Result(rows, details)


def _read_pdfs(pool: ParserPool, pdfs: Sequence[DigitalPdf], details: dict[str, Any]) -> list[Row]:
    """Every file twice, so that both processes have as much to do to the end."""
    pages = sum(each.pages for each in pdfs)

    def read_all(_: int) -> None:
        for each in pdfs:
            assemble(pool.parse(each.path, MediaType.PDF, each.path.name).sections)

    read_all(0)  # what the first file of a kind costs once
    together = _seconds(lambda: _at_once(read_all))
    alone = _seconds(lambda: read_all(0))
    rate = _PROCESSES * pages / together
    details["pdf"] = {"pages": pages, "files": len(pdfs), "seconds_of_two": together, "seconds_of_one": alone}
    what = f"{len(pdfs)} digital PDFs, {pages} pages"
    return [
        Row(
            f"{what}, {_PROCESSES} parser processes: pages a second",
            f"{rate:.0f}",
            f"≥ {_LEAST_PAGES}",
            rate >= _LEAST_PAGES,
        ),
        Row("… one parser process", f"{pages / alone:.0f}"),
    ]


def _texts(data: Path, folder: Path, size: int) -> Iterable[tuple[str, Path, MediaType]]:
    """Paragraphs in both languages; the project's own Markdown, and Chinese paragraphs under headings."""
    english = [each.text for each in read_documents(data, "squad20_dev")]
    chinese = [each.text for each in read_documents(data, "xquad_zh")]
    own = [path.read_text("utf-8") for path in sorted(_ROOT.glob("docs/**/*.md")) + sorted(_ROOT.glob("*.md"))]
    marked = [
        f"## {text[:8]}\n\n**{text[:4]}**{text[4:]}\n\n- [{text[:6]}](https://example.org)\n- `{text[6:9]}`"
        for text in chinese
    ]
    for what, parts, media_type in (
        ("English text", english, MediaType.TEXT),
        ("Chinese text", chinese, MediaType.TEXT),
        ("English Markdown (the project's own)", own, MediaType.MARKDOWN),
        ("Chinese Markdown", marked, MediaType.MARKDOWN),
    ):
        path = folder / f"{what}.txt"
        path.write_bytes(_repeated("\n\n".join(parts), size))
        yield what, path, media_type


def _repeated(text: str, size: int) -> bytes:
    data = text.encode()
    return (data * (size // len(data) + 1))[:size].decode("utf-8", "ignore").encode()


def _read_text(pool: ParserPool, what: str, path: Path, media_type: MediaType, details: dict[str, Any]) -> list[Row]:
    megabytes = path.stat().st_size / _MEGABYTE

    def read(_: int) -> None:
        assemble(pool.parse(path, media_type, path.name).sections)

    together = _PROCESSES * megabytes / _seconds(lambda: _at_once(read))
    bare = megabytes / _seconds(lambda: assemble(parse(path, media_type).sections))
    details[what] = {"megabytes": megabytes, "two_processes": round(together, 1), "bare": round(bare, 1)}
    figure, target = f"{together:.0f} MB/s", f"≥ {_LEAST_MEGABYTES} MB/s"
    return [
        Row(
            f"{what}, {_PROCESSES} parser processes: parsed and normalised",
            figure,
            target,
            together >= _LEAST_MEGABYTES,
        ),
        Row("… without the sandbox, one core", f"{bare:.0f} MB/s"),
    ]


def _cut(data: Path, *, texts_bytes: int, details: dict[str, Any]) -> list[Row]:
    """Chunking, with the default model's tokenizer; a text on one line, and ten times as much of it."""
    settings = Settings(_env_file=None)
    embedder = SentenceTransformerEmbedder(settings.embedding_model)
    lines = {
        "English": " ".join(each.text.replace("\n", " ") for each in read_documents(data, "squad20_dev")),
        "Chinese": "".join(each.text.replace("\n", "") for each in read_documents(data, "xquad_zh")),
    }
    lines["Chinese without punctuation"] = "".join(filter(str.isalnum, lines["Chinese"]))
    rows = []
    for what, line in lines.items():
        taken = {}
        for size in (texts_bytes // 10, texts_bytes):
            text, spans = assemble([Section(_repeated(line, size).decode())])
            seconds = _seconds(
                lambda text=text, spans=spans: chunk(
                    text,
                    spans,
                    embedder.count_tokens,
                    settings.chunk_tokens,
                    settings.chunk_overlap_tokens,
                )
            )
            taken[size] = seconds / size
        small, large = taken.values()
        ratio = large / small
        details[f"chunking, {what}"] = {f"{size / _MEGABYTE:g} MB": each for size, each in taken.items()}
        what = f"chunking {what} on one line, {texts_bytes / _MEGABYTE:g} MB"
        rows.append(Row(f"{what}: of which counting tokens is most", f"{1 / large / _MEGABYTE:.1f} MB/s"))
        rows.append(
            Row(
                "… time per byte, to that of a tenth of it",
                f"{ratio:.2f} ×",
                f"≤ {_MOST_RATIO:.0f} ×",
                ratio <= _MOST_RATIO,
            )
        )
    return rows


def _timeline(pdfs: Sequence[DigitalPdf], details: dict[str, Any]) -> list[Row]:
    """The PDFs wait in the queue, then a worker starts and tells what it does when."""
    with running_server(worker=False) as server:
        server.call("POST", "/collections", json={"name": _COLLECTION})
        for each in pdfs:
            with each.path.open("rb") as content:
                server.call(
                    "POST", "/documents", files={"file": (each.path.name, content)}, data={"collection": _COLLECTION}
                )
        with server.traced_worker() as (pid, events):
            server.wait_until(lambda: events.stat().st_size > 0 if events.exists() else False, pause_seconds=0.02)
            before, began = _processor_seconds(pid), time.monotonic()
            server.wait_until(lambda: not server.unfinished_jobs(), pause_seconds=0.1)
            used, elapsed = _processor_seconds(pid) - before, time.monotonic() - began
        lines = [json.loads(line) for line in events.read_text().splitlines()]
    first = min(start for _, _, start, _ in lines)
    lines = [[stage, thread, round(start - first, 3), round(end - first, 3)] for stage, thread, start, end in lines]
    parsing, embedding = (_union([line[2:] for line in lines if line[0] == stage]) for stage in ("parse", "embed"))
    both = _length(parsing) + _length(embedding) - _length(_union(parsing + embedding))
    cores = len(psutil.Process().cpu_affinity())
    details["timeline"] = {
        "events": lines,
        "seconds": round(elapsed, 1),
        "parsing_seconds": round(_length(parsing), 2),
        "embedding_seconds": round(_length(embedding), 2),
        "both_seconds": round(both, 2),
        "idle_share": round(1 - used / elapsed / cores, 3),
    }
    idle = details["timeline"]["idle_share"]
    return [
        Row(
            f"the worker on these PDFs, {elapsed:.0f} s: of the time of parsing, the model is at work in",
            f"{both / _length(parsing):.0%}",
        ),
        Row("… of the time of embedding, a parser is at work in", f"{both / _length(embedding):.0%}"),
        Row("… of the cores' time, used by neither worker nor parsers", f"{idle:.0%}"),
    ]


def _processor_seconds(pid: int) -> float:
    """Of the process and its children, those that have ended included."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def _union(intervals: Iterable[Sequence[float]]) -> list[Sequence[float]]:
    joined: list[list[float]] = []
    for start, end in sorted(map(tuple, intervals)):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return list(joined)


def _length(intervals: Iterable[Sequence[float]]) -> float:
    return sum(end - start for start, end in intervals)


def _at_once(task: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(_PROCESSES) as threads:
        list(threads.map(task, range(_PROCESSES)))


def _seconds(task: Callable[[], object]) -> float:
    """The median of some rounds."""
    taken = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        task()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
