"""Footnote's PDF parser beside what people would use in its place, on the same files, one after the other.

    python -m benchmarks --data DIR --only readers

Each reader is a process of its own (`benchmarks/reader_trial.py`) in the environment `.venv-readers`, which is made on
the first run (`FOOTNOTE_READERS_VENV` names another one).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.digital_pdfs import DigitalPdf, digital_pdfs
from benchmarks.environments import python_with
from benchmarks.fidelity import MadePdf, make_pdf, printable_documents, printing_fonts
from benchmarks.reader_trial import READERS
from benchmarks.results import Result, Row

_ROOT = Path(__file__).resolve().parent.parent
_FILE_SECONDS = 120.0  # what Footnote allows a parser, too
_START_SECONDS = 120.0
_PARAGRAPHS, _QUICK_PARAGRAPHS = 60, 12
_QUICK_PAGES = 30
_PACKAGES = ("docling", "llama-index-readers-file", "markitdown", "pdfminer.six", "pypdf", "pypdfium2", "unstructured")
# What `fidelity` prints on every page and no reader has to keep: Footnote leaves it out, others do not.
_RUNNING_LINE = re.compile(r"^\W*(?:Footnote 2026|\d+ / 99)\W*$", re.M)
_TABLE_RULE = re.compile(r"^[ |:-]+$", re.M)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a reader made of a file."""

    text: str
    seconds: float  # of processor time
    error: str = ""


def run(data: Path, *, quick: bool) -> Result:
    """Real files for speed and marker strings; made ones, whose text is known, for wrong characters and tables."""
    real = [each for each in digital_pdfs(data) if not quick or each.pages < _QUICK_PAGES]
    python = python_with("readers")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, _trial(python, "distance") as distance:
        made = _make_all(data, Path(name), _QUICK_PARAGRAPHS if quick else _PARAGRAPHS)
        for reader in READERS:
            interpreter = sys.executable if reader.startswith("footnote") else python
            readings = _read_all(interpreter, reader, [*(each.path for each in real), *made])
            found[reader] = _figures(readings, real, made, distance)
            print(json.dumps({reader: found[reader]}, ensure_ascii=False), file=sys.stderr, flush=True)
    print(_table(found), file=sys.stderr)
    return Result(_rows(found), {"versions": _versions(python), "readers": found})


def _make_all(data: Path, folder: Path, paragraphs: int) -> dict[Path, MadePdf]:
    made = {}
    for language, font in printing_fonts().items():
        documents = printable_documents(data, language)[:paragraphs]
        for columns in (1, 2):
            path = folder / f"{language}-{columns}.pdf"
            made[path] = make_pdf(documents, language, font, columns, tables_differ=True)
            path.write_bytes(made[path].pdf)
    return made


def _read_all(python: str, reader: str, paths: Sequence[Path]) -> dict[Path, _Reading]:
    """What a file costs that takes too long, or ends the process, is its own: the next ones get a new process."""
    readings: dict[Path, _Reading] = {}
    while len(readings) < len(paths):
        with _trial(python, reader) as process:
            if (said := _line(process, _START_SECONDS)) != "ready":
                return dict.fromkeys(paths, _Reading("", 0.0, said or "it does not start"))
            _ask(process, str(paths[-1]), _FILE_SECONDS)  # what the first file costs once
            for path in paths[len(readings) :]:
                answer = _ask(process, str(path), _FILE_SECONDS)
                if answer is None:
                    readings[path] = _Reading("", _FILE_SECONDS, "no answer in time, or it crashed")
                    break
                reply = json.loads(answer)
                readings[path] = _Reading(reply.get("text", ""), reply["seconds"], reply.get("error", ""))
    return readings


@contextmanager
def _trial(python: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FOOTNOTE_")}
    process = subprocess.Popen(
        [python, "-m", "benchmarks.reader_trial", name],
        cwd=_ROOT,
        env=environment | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _ask(process: subprocess.Popen[bytes], line: str, seconds: float) -> str | None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
    return _line(process, seconds)


def _line(process: subprocess.Popen[bytes], seconds: float) -> str | None:
    """The next line of its output; None where there is none in time. It says one line at a time."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], seconds)[0]:
        return None
    return process.stdout.readline().decode().strip() or None


def _figures(
    readings: Mapping[Path, _Reading],
    real: Sequence[DigitalPdf],
    made: Mapping[Path, MadePdf],
    distance: subprocess.Popen[bytes],
) -> dict[str, Any]:
    """Speed over the real files that were read; a file without an answer has none of its markers."""
    read = [each for each in real if not readings[each.path].error]
    seconds = sum(readings[each.path].seconds for each in read)
    pages = sum(each.pages for each in read)
    figures: dict[str, Any] = {
        "pages": pages,
        "seconds": round(seconds, 2),
        "pages_per_second": round(pages / seconds, 1) if seconds else None,
        "markers": sum(len(each.markers) for each in real),
        "markers_found": sum(
            _bare(readings[each.path].text).count(marker) > 0 for each in real for marker in each.markers
        ),
        "errors": {path.name: reading.error for path, reading in readings.items() if reading.error},
        "made": {},
    }
    for path, pdf in made.items():
        text = _TABLE_RULE.sub("", _RUNNING_LINE.sub("", readings[path].text))
        printed, got = _comparable("\n".join(pdf.pages)), _comparable(text)
        wrong = _ask(distance, json.dumps([printed, got]), _FILE_SECONDS)
        assert wrong is not None
        figures["made"][path.stem] = {
            "characters": len(printed),
            "wrong": int(wrong),
            "rows": len(pdf.rows),
            "rows_kept": _rows_kept(pdf.rows, text),
            "seconds": round(readings[path].seconds, 3),
            "pages": len(pdf.pages),
        }
    return figures


def _rows_kept(rows: Sequence[str], text: str) -> int:
    """Rows whose cells stand on one line, in their order. A row that is printed five times must come five times."""
    lines = ["".join(unicodedata.normalize("NFKC", line).split()) for line in text.splitlines()]
    kept = 0
    for row in dict.fromkeys(rows):
        cells = ["".join(cell.split()) for cell in row.split(" | ")]
        # Borders may stand around a cell, but nothing else: a row that is a part of a line has lost its bounds.
        pattern = re.compile(r"\W*" + r"[|\t]*".join(map(re.escape, cells)) + r"\W*")
        kept += min(rows.count(row), sum(pattern.fullmatch(line) is not None for line in lines))
    return kept


def _bare(text: str) -> str:
    return "".join(text.split())


def _comparable(text: str) -> str:
    """Without white space and the borders between cells, in NFKC."""
    return _bare(unicodedata.normalize("NFKC", text).replace("|", ""))


def _versions(python: str) -> dict[str, str]:
    listed = subprocess.run([python, "-m", "pip", "list", "--format", "json"], stdout=subprocess.PIPE, check=True)
    return {each["name"]: each["version"] for each in json.loads(listed.stdout) if each["name"] in _PACKAGES}


def _error_rate(figures: Mapping[str, Any], language: str) -> float:
    group = [each for name, each in figures["made"].items() if name.startswith(language)]
    return float(sum(each["wrong"] for each in group) / sum(each["characters"] for each in group))


def _cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Pages a second; wrong characters in both languages; marker strings; rows of tables."""
    if figures["pages_per_second"] is None:
        return (f"does not start: {next(iter(figures['errors'].values()))}",)
    kept, rows = (sum(each[name] for each in figures["made"].values()) for name in ("rows_kept", "rows"))
    return (
        f"{figures['pages_per_second']:.0f}",
        *(f"{_error_rate(figures, language):.2%}" for language in ("en", "zh")),
        f"{figures['markers_found']} of {figures['markers']}",
        f"{kept} of {rows}",
    )


def _rows(found: Mapping[str, Any]) -> list[Row]:
    rows = []
    for name, figures in found.items():
        cells = _cells(figures)
        if len(cells) == 1:
            rows.append(Row(name, cells[0]))
            continue
        speed, english, chinese, markers, kept = cells
        rows.append(Row(f"{name}: {figures['pages']} PDF pages, a second of processor time", speed))
        rows.append(Row("… wrong characters, English / Chinese", f"{english} / {chinese}"))
        rows.append(Row("… marker strings; rows of tables on one line", f"{markers}; {kept}"))
    return rows


def _table(found: Mapping[str, Any]) -> str:
    """The table of the README."""
    lines = [
        "| | pages a second of processor time | wrong, English | Chinese | marker strings | rows of tables |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [f"| {name} | {' | '.join(_cells(figures))} |" for name, figures in found.items()])
