"""What an engine does after `kill -9` while it writes, and after one bit of its files was flipped."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_process import kill_trial, run_trial, start_trial
from benchmarks.peer_trial import ADDED_AT_ONCE

_OPEN_SECONDS = 300.0
_SCANNED_BYTES = 1 << 30  # of a file, for a vector
_HIT_ROW = 0  # whose vector is looked for in the files


def kill_while_writing(
    python: str, engine: str, rows: Path, built: Path, work: Path, times: int
) -> list[dict[str, Any]]:
    """A copy of the folder each time; the moment is a random one of a random batch."""
    chance = random.Random(11)
    return [_kill_once(python, engine, rows, built, work / "killed", chance) for _ in range(times)]


def flip_bits(python: str, engine: str, rows: Path, built: Path, work: Path, times: int) -> list[dict[str, Any]]:
    """A copy of the folder each time, one bit flipped in it: in a vector in every file that holds it, in the middle of
    the largest file, then `times` anywhere."""
    before = run_trial(python, engine, "answers", rows, built)
    if before.report is None:
        return [{"outcome": f"no answers before the damage: {before.error}"}]
    again = run_trial(python, engine, "answers", rows, built)
    if again.report is None or again.report["answers"] != before.report["answers"]:
        return [{"outcome": "its answers differ from time to time without any damage"}]
    found = []
    for name, path, offset, bit in _places(built, rows, times):
        copy = work / "flipped"
        shutil.copytree(built, copy)
        _flip(copy / path, offset, bit)
        found.append({"where": name, "file": path.name, **_look(python, engine, rows, copy, before.report["answers"])})
        shutil.rmtree(copy)
    return found


def _kill_once(python: str, engine: str, rows: Path, built: Path, copy: Path, chance: random.Random) -> dict[str, Any]:
    shutil.copytree(built, copy)
    process = start_trial(python, engine, "grow", rows, copy)
    assert process.stdout is not None
    acknowledged, batches, told = 0, chance.randint(1, 4), time.monotonic()
    batch_seconds = 0.0
    for line in process.stdout:
        batch_seconds, told = time.monotonic() - told, time.monotonic()
        acknowledged = json.loads(line).get("acknowledged", acknowledged)
        if acknowledged >= batches * ADDED_AT_ONCE:
            break
    time.sleep(chance.random() * batch_seconds)  # somewhere in the next batch
    kill_trial(process)
    checked = run_trial(python, engine, "check", rows, copy, "--acknowledged", str(acknowledged), seconds=_OPEN_SECONDS)
    shutil.rmtree(copy)
    found: dict[str, Any] = {"acknowledged": acknowledged, "report": checked.report, "error": checked.error}
    return found | {"outcome": _words_of_kill(checked.report)}


def _words_of_kill(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return "cannot be opened or searched"
    if report["old_missing"]:
        return "rows from before are missing, without a word"
    if report["acknowledged_missing"]:
        return "acknowledged rows are missing, without a word"
    if 0 < report["unacknowledged_found"] < ADDED_AT_ONCE:
        return "nothing lost, but the batch that was cut off is there in part"
    return "nothing lost, no half batch"


def _look(python: str, engine: str, rows: Path, folder: Path, before: Any) -> dict[str, str]:
    after = run_trial(python, engine, "answers", rows, folder, seconds=_OPEN_SECONDS)
    if after.crashed:
        return {"outcome": "crash", "error": after.error}
    if after.report is None:
        return {"outcome": "error", "error": after.error}
    if after.report["answers"] != before:
        return {"outcome": "other answers, without a word"}
    return {"outcome": "noticed and mended" if after.report["healed"] else "no difference seen"}


def _places(built: Path, rows: Path, times: int) -> Iterator[tuple[str, Path, int, int]]:
    """What is hit, path, offset and bit. In a vector it is a high bit of an exponent, which no search can miss."""
    files = [path for path in sorted(built.rglob("*")) if path.is_file() and path.stat().st_size]
    vector = np.load(rows / "vectors.npy", mmap_mode="r")[_HIT_ROW]
    for path in files:
        at = _find(path, vector)
        if at is not None:
            yield "a vector", path.relative_to(built), *at
    largest = max(files, key=lambda path: path.stat().st_size)
    yield "the middle of the largest file", largest.relative_to(built), largest.stat().st_size // 2, 6
    chance = random.Random(13)
    sizes = [path.stat().st_size for path in files]
    for _ in range(times):
        path = chance.choices(files, sizes)[0]
        yield "anywhere", path.relative_to(built), chance.randrange(path.stat().st_size), chance.randrange(8)


def _find(path: Path, vector: Any) -> tuple[int, int] | None:
    """Where a file holds the vector, as float32 or float16: the high byte of its first number, and a bit."""
    with path.open("rb") as file:
        content = file.read(_SCANNED_BYTES)
    for kind in ("<f4", "<f2"):
        at = content.find(vector.astype(kind).tobytes()[:64])
        if at >= 0:
            return at + np.dtype(kind).itemsize - 1, 6
    return None


def _flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))
