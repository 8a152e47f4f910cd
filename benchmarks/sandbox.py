"""What the sandbox costs: a small file through a warm child process, and through the same parser without one."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from app.config import ParseLimits
from app.media_types import MediaType
from benchmarks.results import Result, Row, quantiles_ms
from ingest.parsers import parse
from ingest.sandbox import ParserPool

_TARGET_MS = 30.0
_PARAGRAPH = "The dome of the telescope is closed when the wind exceeds fifteen metres a second. "
_FILES = {
    MediaType.TEXT: _PARAGRAPH * 20,
    MediaType.MARKDOWN: f"# Rules\n\n{_PARAGRAPH * 10}\n\n## Wind\n\n{_PARAGRAPH * 10}",
    MediaType.HTML: f"<html><h1>Rules</h1><p>{_PARAGRAPH * 10}</p><h2>Wind</h2><p>{_PARAGRAPH * 10}</p></html>",
}


def run(data: Path, *, quick: bool) -> Result:
    """Needs no data. The overhead is the difference of the medians."""
    rounds = 20 if quick else 300
    rows, details = [], {}
    with tempfile.TemporaryDirectory() as folder, ParserPool(1, ParseLimits()) as pool:
        started = time.perf_counter()
        pool.warm()
        rows.append(Row("start of a parser process", f"{(time.perf_counter() - started) * 1000:.0f} ms"))
        for media_type, text in _FILES.items():
            path = Path(folder) / "small"
            path.write_text(text, encoding="utf-8")
            inside = _seconds(lambda path=path, kind=media_type: pool.parse(path, kind, path.name), rounds)
            outside = _seconds(lambda path=path, kind=media_type: parse(path, kind), rounds)
            overhead = (statistics.median(inside) - statistics.median(outside)) * 1000
            what = f"{media_type} of {len(text) / 1024:.1f} KiB: overhead of the sandbox"
            rows.append(Row(what, f"{overhead:.2f} ms", f"≤ {_TARGET_MS:.0f} ms", overhead <= _TARGET_MS))
            details[media_type] = {"in a warm child": quantiles_ms(inside), "without": quantiles_ms(outside)}
    return Result(rows, details)


def _seconds(call: Callable[[], object], rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return taken
