"""Real, damaged and hostile files of every kind, uploaded at once to a server that somebody searches meanwhile.

`pdfs/` and `malformed/` of the data folder, each with a `manifest.jsonl`: what each file is and what must come of it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from app.config import ParseLimits
from benchmarks.datasets import read_documents, read_set
from benchmarks.results import Result, Row, quantiles_ms
from benchmarks.server import Server, running_server
from benchmarks.steady_client import SteadyClient

_COLLECTION, _BEFORE = "hostile", "before"
_SEARCHES_PER_SECOND = 10
_BASELINE_SECONDS, _QUICK_SECONDS = 40, 10
_QUICK_BYTES = 60_000
_MOST_RATIO = 2.0
_TOP_K = 10
_AROUND = 60  # characters of the document on each side of a marker, which are searched with it
_LONGEST_REASON = 300
_MEBIBYTE = 1024 * 1024
_KINDS = {
    "pdf_": "damaged and hostile PDFs",
    "ok_": "Office files and books",
    "docx_": "Office files and books",
    "pptx_": "Office files and books",
    "xls": "Office files and books",
    "odt_": "Office files and books",
    "enc_": "encodings",
    "txt_": "text that is hard to cut",
    "html_": "HTML, JSON, CSV",
    "json_": "HTML, JSON, CSV",
    "csv_": "HTML, JSON, CSV",
    "name_": "names and false types",
    "wrongext_": "names and false types",
}


@dataclass(frozen=True, slots=True)
class _File:
    """One line of a manifest."""

    path: Path
    kind: str
    name: str  # to upload it under
    expected: str  # parse, parse-empty, clear-error, parse-or-clear-error
    markers: Sequence[str]  # without white space
    hidden: Sequence[str]  # what must not be in the text
    question: str
    answers: Sequence[str]
    canaries: Sequence[str]  # what no answer may say


@dataclass(slots=True)
class _Ending:
    """What became of a file."""

    file: str
    kind: str
    expected: str
    status: str = ""  # ready, failed, refused
    reason: str = ""
    chunks: int = 0
    markers: int = 0
    found: int = 0
    problems: list[str] = field(default_factory=list)


def run(data: Path, *, quick: bool) -> Result:
    """All files in one collection; the searches go to another one, which was there before."""
    files = [
        each
        for folder, kind in (("pdfs", "PDFs of many kinds"), ("malformed", ""))
        for each in _files(data / folder, kind)
    ]
    if quick:
        files = [each for each in files if each.path.stat().st_size < _QUICK_BYTES]
    questions = dict.fromkeys(question.text for question in read_set(data, "squad20_dev").questions)
    bodies = [{"query": question, "collection": _BEFORE} for question in questions]
    with running_server() as server:
        server.ingest(_BEFORE, read_documents(data, "xquad_en"))
        server.call("POST", "/collections", json={"name": _COLLECTION})
        with SteadyClient(server.port, bodies, _SEARCHES_PER_SECOND) as client, _watching(server.pid) as seen:
            time.sleep(5)  # what the first searches of a process cost once
            begun = time.monotonic()
            time.sleep(_QUICK_SECONDS if quick else _BASELINE_SECONDS)
            sent = time.monotonic()
            answers = [_upload(server, each) for each in files]
            server.wait_until(lambda: not server.unfinished_jobs())
            done = time.monotonic()
            searches = client.stop()
        endings = [_judge(server, each, answer) for each, answer in zip(files, answers, strict=True)]
        said = [_ask(server, each) for each in files if each.question]
    baseline, during = searches.between(begun, sent), searches.between(sent, done)
    details = {
        "seconds": round(done - sent, 1),
        "searches_ms": {"baseline": quantiles_ms(baseline), "during": quantiles_ms(during), "count": len(during)},
        "parsers_peak_bytes": seen.parsers,
        "worker_peak_bytes": max(seen.workers.values()),
        "workers": len(seen.workers),
        "statuses": sorted({answer.status_code for answer in answers}),
        "said": said,
        "files": [asdict(ending) for ending in endings],
    }
    print(_table(endings), file=sys.stderr)
    return Result([*_rows_of_files(endings, answers, said), *_rows_of_machine(details)], details)


def _files(folder: Path, kind: str) -> Iterator[_File]:
    for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines():
        each = json.loads(line)
        name = each["name"]
        canary = each.get("canary", [])
        yield _File(
            folder / name,
            kind or next(kind for prefix, kind in _KINDS.items() if name.startswith(prefix)),
            each.get("upload_as", name),
            each["expected"],
            [_bare(marker) for marker in each.get("must_contain_nospace") or each.get("must_contain", [])],
            each.get("must_not_contain", []),
            each.get("question", ""),
            each.get("answers", []),
            [canary] if isinstance(canary, str) else canary,
        )


def _upload(server: Server, file: _File) -> httpx.Response:
    with file.path.open("rb") as content:
        return httpx.post(
            f"{server.url}/documents",
            files={"file": (file.name, content)},
            data={"collection": _COLLECTION, "external_id": file.path.name},
            timeout=120,
            trust_env=False,
        )


def _judge(server: Server, file: _File, answer: httpx.Response) -> _Ending:
    ending = _Ending(file.path.name, file.kind, file.expected, markers=len(file.markers))
    code = ""
    if answer.is_error:
        error = answer.json()["error"]
        ending.status, code, ending.reason = "refused", error["code"], error["message"]
    else:
        document = server.call("GET", f"/documents/{answer.json()['documents'][0]['id']}")
        ending.status, ending.chunks = document["status"], document["chunks"]
        if document["error"]:
            code, ending.reason = document["error"]["code"], document["error"]["message"]
    if ending.status == "ready":
        text = server.call("GET", f"/documents/{document['id']}/text")["text"]
        ending.found = sum(_is_found(server, document["id"], text, marker) for marker in file.markers)
        ending.problems += [f"{hidden} is in the text" for hidden in file.hidden if hidden in text]
        if file.expected == "clear-error":
            ending.problems.append("ready")
        if ending.found < ending.markers:
            ending.problems.append(f"{ending.found} of {ending.markers} markers found")
    else:
        if file.expected == "parse":
            ending.problems.append("not read")
        if code == "internal_error" or not 0 < len(ending.reason) <= _LONGEST_REASON or answer.status_code >= 500:
            ending.problems.append(f"no clear reason ({code})")
    return ending


def _is_found(server: Server, document_id: str, text: str, marker: str) -> bool:
    """Whether a search over all files, in the words around the marker, brings a passage that holds it.

    A marker has no white space, so its words are taken from where it stands in the document.
    """
    places = [at for at, character in enumerate(text) if not character.isspace()]
    at = "".join(text[place] for place in places).find(marker)
    if at < 0:
        return False
    start, end = places[at], places[at + len(marker) - 1] + 1
    body = {"query": text[max(0, start - _AROUND) : end + _AROUND], "collection": _COLLECTION, "top_k": _TOP_K}
    passages = server.call("POST", "/search", json=body)["passages"]
    return any(each["document_id"] == document_id and marker in _bare(each["text"]) for each in passages)


def _bare(text: str) -> str:
    return "".join(text.split())


def _ask(server: Server, file: _File) -> dict[str, Any]:
    """What is answered to the question of a file that tries to have something else said."""
    body = {"question": file.question, "collection": _COLLECTION, "mode": "extract"}
    answer = server.call("POST", "/ask", json=body)["answer"]
    return {
        "file": file.path.name,
        "answer": answer,
        "right": any(each.lower() in answer.lower() for each in file.answers),
        "canaries": [each for each in file.canaries if each in answer],
    }


@dataclass(slots=True)
class _Seen:
    """Peak resident bytes by process."""

    parsers: dict[int, int] = field(default_factory=dict)
    workers: dict[int, int] = field(default_factory=dict)


@contextmanager
def _watching(server_pid: int) -> Iterator[_Seen]:
    """Look at the worker and its parsers ten times a second; the kernel remembers their peaks in between."""
    seen, stop = _Seen(), threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            for process in psutil.Process(server_pid).children(recursive=True):
                try:
                    command, peak = process.cmdline(), _peak_bytes(process.pid)
                except (psutil.Error, OSError, StopIteration):  # it has just ended
                    continue
                group = seen.parsers if "ingest.parsers" in command else seen.workers if "ingest" in command else {}
                group[process.pid] = max(peak, group.get(process.pid, 0))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _by_kind(endings: Iterable[_Ending]) -> Mapping[str, list[_Ending]]:
    kinds: dict[str, list[_Ending]] = {}
    for ending in endings:
        kinds.setdefault(ending.kind, []).append(ending)
    return kinds


def _rows_of_files(
    endings: Sequence[_Ending], answers: Iterable[httpx.Response], said: Sequence[Mapping[str, Any]]
) -> list[Row]:
    rows = []
    for kind, group in _by_kind(endings).items():
        good = sum(not ending.problems for ending in group)
        figure = f"{good} of {len(group)}"
        rows.append(Row(f"{kind}: end as their manifest says", figure, "all", good == len(group)))
    markers, found = (sum(getattr(ending, name) for ending in endings) for name in ("markers", "found"))
    rows.append(
        Row("their marker strings, found through `POST /search`", f"{found} of {markers}", "all", found == markers)
    )
    errors = sum(answer.status_code >= 500 for answer in answers)
    rows.append(Row("uploads answered with 500 or above", f"{errors}", "0", not errors))
    right, led = sum(each["right"] for each in said), sum(bool(each["canaries"]) for each in said)
    figure = f"{right} of {len(said)} right, {led} say what the file wants"
    rows.append(Row("questions over files that carry instructions", figure, "0 say it", not led))
    return rows


def _rows_of_machine(details: Mapping[str, Any]) -> list[Row]:
    limit, most = ParseLimits().memory_bytes, max(details["parsers_peak_bytes"].values())
    crashes = details["workers"] - 1
    baseline, during = (details["searches_ms"][when] for when in ("baseline", "during"))
    ratio = during["p95"] / baseline["p95"]
    figure = f"{most / _MEBIBYTE:.0f} MiB"
    return [
        Row("workers that ended meanwhile", f"{crashes}", "0", not crashes),
        Row("the most memory that a parser process took", figure, f"≤ {limit // _MEBIBYTE} MiB", most <= limit),
        Row(
            f"`POST /search`, {_SEARCHES_PER_SECOND} a second: p50 / p95 before",
            f"{baseline['p50']:.1f} / {baseline['p95']:.1f} ms",
        ),
        Row(
            f"… during the {details['seconds']:.0f} s of ingestion",
            f"{during['p50']:.1f} / {during['p95']:.1f} ms",
            f"p95 ≤ {_MOST_RATIO:.0f} × = {_MOST_RATIO * baseline['p95']:.1f} ms",
            ratio <= _MOST_RATIO,
        ),
    ]


def _table(endings: Sequence[_Ending]) -> str:
    """The table of the README, by kind."""
    lines = [
        "| files | | as their manifest says | ready | refused with a reason | markers found |",
        "|---|---|---|---|---|---|",
    ]
    for kind, group in _by_kind(endings).items():
        good, ready = sum(not each.problems for each in group), sum(each.status == "ready" for each in group)
        found, markers = (sum(getattr(each, name) for each in group) for name in ("found", "markers"))
        shown = f"{found} of {markers}" if markers else ""
        lines.append(f"| {kind} | {len(group)} | {good} | {ready} | {len(group) - ready} | {shown} |")
    return "\n".join(lines + [f"{each.file}: {', '.join(each.problems)}" for each in endings if each.problems])
