"""Ten thousand small files through `footnote documents add`: two workers divide the work, and memory stays flat."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app.types import DocumentStatus
from benchmarks.processes import resident_bytes
from benchmarks.results import Result, Row
from benchmarks.server import BenchmarkError, Server, running_server

_FILES, _QUICK_FILES = 10_000, 400
_MILESTONES, _SHOWN = 10, (0, 4, 9)  # equal parts of the files; those in the table
_MOST_GROWTH_BYTES = 64 * 1024 * 1024  # of a process, from the first milestone to the last
_MEBIBYTE = 1024 * 1024
_COLLECTION = "notes"
_SECONDS = 1500.0
_LOOK_SECONDS = 0.5
_READY = re.compile(r"(doc_[0-9a-f]{32}) version \d+ is ready")
_WORKER_LOG = "second-worker"

_THINGS = [
    ("pump", "水泵"),
    ("boiler", "锅炉"),
    ("lift", "电梯"),
    ("generator", "发电机"),
    ("valve", "阀门"),
    ("fan", "风机"),
]
_PLACES = [("north hall", "北厅"), ("depot", "仓库"), ("laboratory", "实验室"), ("school", "学校"), ("harbour", "港口")]
_PEOPLE = [("Ms Okafor", "王芳"), ("Mr Lindqvist", "李强"), ("Dr Haddad", "张伟"), ("Ms Pereira", "刘洋")]


def run(data: Path, *, quick: bool) -> Result:
    """Needs no data: the notes are made here."""
    count = _QUICK_FILES if quick else _FILES
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for number in range(count):
            (folder / f"note-{number:05}.txt").write_text(_note(number), "utf-8")
        server = stack.enter_context(running_server())
        second = stack.enter_context(server.worker(log=_WORKER_LOG))
        server.wait_until(lambda: "started" in server.log(_WORKER_LOG) and "worker" in server.log())
        server.call("POST", "/collections", json={"name": _COLLECTION})
        started = time.monotonic()
        client = stack.enter_context(_adding(folder, server))
        processes = {
            "client": client.pid,
            "server": server.pid,
            "server's worker": server.worker_pid(),
            "second worker": second,
        }
        milestones, uploaded_seconds = _follow(server, client, processes, count, started)
        seconds = time.monotonic() - started
        documents = list(server.pages("/documents", "documents", collection=_COLLECTION))
        ready = {log: Counter(_READY.findall(server.log(log))) for log in ("log", _WORKER_LOG)}
    details = {
        "files": count,
        "seconds": round(seconds, 1),
        "uploaded_seconds": round(uploaded_seconds, 1),
        "exit_code": client.returncode,
        "statuses": dict(Counter(document["status"] for document in documents)),
        "chunks": sum(document["chunks"] for document in documents),
        "files_by_worker": {"server's worker": ready["log"].total(), "second worker": ready[_WORKER_LOG].total()},
        "times_ready": dict(Counter((ready["log"] + ready[_WORKER_LOG]).values())),
        "resident_bytes": milestones,
    }
    return Result(_rows(details), details)


def _note(number: int) -> str:
    """Two or three sentences, English or Chinese; no two are the same."""
    chance = random.Random(number)
    language = number % 2
    thing, place, person = (chance.choice(each)[language] for each in (_THINGS, _PLACES, _PEOPLE))
    bar, day, month = chance.randint(10, 99) / 10, chance.randint(1, 28), chance.randint(1, 12)
    if language:
        text = f"{month}月{day}日，{person}检查了{place}的{number}号{thing}。压力为{bar}巴。"
        return text + ("需要在下个月之前更换密封件。" if bar > 6 else "")
    text = (
        f"On 2025-{month:02}-{day:02} {person} inspected {thing} number {number} in the {place}. It ran at {bar} bar."
    )
    return text + (" The seal has to be replaced before the end of the next month." if bar > 6 else "")


def _adding(folder: Path, server: Server) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "app", "documents", "add", str(folder), "--collection", _COLLECTION]
    return subprocess.Popen(
        [*command, "--url", server.url], cwd=Path(__file__).resolve().parent.parent, stdout=subprocess.DEVNULL
    )


def _follow(
    server: Server, client: subprocess.Popen[bytes], processes: Mapping[str, int], count: int, started: float
) -> tuple[dict[str, dict[str, int]], float]:
    """Resident bytes of each process when so many files are ready, and when the last was uploaded."""
    found: dict[str, dict[str, int]] = {}
    uploaded_seconds = 0.0
    waiting: Sequence[int] = [count * part // _MILESTONES for part in range(1, _MILESTONES + 1)]
    sizes: dict[str, int] = {}
    while client.poll() is None:
        if time.monotonic() - started > _SECONDS:
            raise BenchmarkError(f"It takes longer than {_SECONDS:.0f} s.")
        if not uploaded_seconds and _in_all(server) >= count:
            uploaded_seconds = time.monotonic() - started
        ready = round(server.metric("footnote_documents", status="ready"))
        sizes = _sizes(processes) or sizes
        while waiting and ready >= waiting[0]:
            found[f"{waiting[0]:,}"] = sizes
            waiting = waiting[1:]
        time.sleep(_LOOK_SECONDS)
    for left in waiting:  # the client may end between two looks
        found[f"{left:,}"] = sizes
    return found, uploaded_seconds


def _in_all(server: Server) -> int:
    return round(sum(server.metric("footnote_documents", status=status) for status in DocumentStatus))


def _sizes(processes: Mapping[str, int]) -> dict[str, int]:
    """Empty where one of them has just ended."""
    try:
        return {name: resident_bytes(pid, {})["total"] for name, pid in processes.items()}
    except (OSError, KeyError):
        return {}


def _rows(details: Mapping[str, Any]) -> list[Row]:
    count, found = details["files"], details["resident_bytes"]
    ready, once = details["statuses"].get("ready", 0), details["times_ready"].get(1, 0)
    rows = [
        Row(f"{count:,} notes of two or three sentences: `ready`", f"{ready:,}", "all", ready == count),
        Row("… once each", f"{once:,}", "all", once == count),
        Row("… files by worker", " + ".join(f"{each:,}" for each in details["files_by_worker"].values())),
        Row("… all uploaded / all ready after", f"{details['uploaded_seconds']:.0f} / {details['seconds']:.0f} s"),
    ]
    shown = {ready: found[ready] for ready in [list(found)[part] for part in _SHOWN]}
    first, *_, last = shown.values()
    for name in first:
        figure = " / ".join(f"{sizes[name] / _MEBIBYTE:.0f}" for sizes in shown.values())
        growth = last[name] - first[name]
        what = f"resident memory of the {name} at {' / '.join(shown)} ready"
        rows.append(Row(what, f"{figure} MiB", "grows by ≤ 64 MiB", growth <= _MOST_GROWTH_BYTES))
    return rows
