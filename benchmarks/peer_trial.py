"""One task of one engine in a process of its own, so that it may crash, be killed, and be opened anew.

    python -m benchmarks.peer_trial ENGINE TASK --rows FOLDER --folder FOLDER

The folder of rows is made by `benchmarks/peers.py`. The last line of the output is the task's report.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_engines import ROWS_PER_DOCUMENT, Engine, Vectors, make_engine
from benchmarks.processes import peak_bytes

ADDED_AT_ONCE = 200  # rows
_TOP = 10
_LEAST_RECALL = 0.95
_TUNING, _TIMED, _ASKED = 200, 300, 100  # queries
_PATIENCE_SECONDS = 60.0
_DELETED = 3  # the document


class Trial:
    """An engine's folder and the rows that it is given."""

    def __init__(self, name: str, rows: Path, folder: Path) -> None:
        self._folder = folder
        self._name = name
        self.vectors: Vectors = np.load(rows / "vectors.npy").astype(np.float32)
        self.texts: list[str] = json.loads((rows / "texts.json").read_text("utf-8"))
        self.queries: Vectors = np.load(rows / "queries.npy")
        self.exact = np.load(rows / "exact.npy")
        self.count = int((rows / "count").read_text())  # those behind it are for adding

    def opened(self) -> Engine:
        engine = make_engine(self._name, self._folder)
        engine.open()
        return engine

    def build(self) -> dict[str, Any]:
        engine = make_engine(self._name, self._folder)  # imports, which are seconds for some, do not count
        started = time.perf_counter()
        engine.build(self.vectors[: self.count], self.texts[: self.count])
        engine.close()
        seconds = time.perf_counter() - started
        return {"seconds": round(seconds, 2), "peak_bytes": peak_bytes()}

    def measure(self) -> dict[str, Any]:
        """The least effort that finds enough, and how long that takes."""
        started = time.perf_counter()
        engine = self.opened()
        engine.search(self.queries[0], _TOP, engine.efforts[0])
        first = time.perf_counter() - started
        for effort in engine.efforts:
            recall = self._recall(engine, effort)
            if recall >= _LEAST_RECALL:
                break
        seconds = []
        for query in self.queries[_TUNING : _TUNING + _TIMED]:
            started = time.perf_counter()
            engine.search(query, _TOP, effort)
            seconds.append(time.perf_counter() - started)
        p50, p95 = (round(float(np.percentile(seconds, q)) * 1000, 3) for q in (50, 95))
        found = {"first_answer_seconds": round(first, 3), "effort": str(effort), "recall_at_10": round(recall, 4)}
        resident = peak_bytes()
        engine.close()
        return found | {"p50_ms": p50, "p95_ms": p95, "peak_bytes": resident}

    def delete(self) -> dict[str, Any]:
        """How long the call takes, and until a search for a vector of the document returns none of it."""
        engine = self.opened()
        effort, first = engine.efforts[-1], _DELETED * ROWS_PER_DOCUMENT
        assert self._finds_document(engine, first, effort)
        started = time.perf_counter()
        engine.delete(_DELETED)
        returned = time.perf_counter() - started
        while self._finds_document(engine, first, effort):
            if time.perf_counter() - started > _PATIENCE_SECONDS:
                return {"returned_seconds": round(returned, 4), "gone_seconds": None}
        gone = time.perf_counter() - started
        engine.close()
        return {"returned_seconds": round(returned, 4), "gone_seconds": round(gone, 4)}

    def gone(self) -> dict[str, Any]:
        """Whether the deleted document stayed away when another process opened the folder."""
        engine = self.opened()
        first, effort = _DELETED * ROWS_PER_DOCUMENT, engine.efforts[-1]
        rows = range(first, first + ROWS_PER_DOCUMENT)
        return {"gone": not any(self._finds_document(engine, row, effort) for row in rows)}

    def grow(self) -> dict[str, Any]:
        """Add rows until they are used up, or somebody kills this process; every batch is told when it is safe."""
        engine = self.opened()
        print(json.dumps({"acknowledged": 0}), flush=True)
        for first in range(self.count, len(self.texts) - ADDED_AT_ONCE + 1, ADDED_AT_ONCE):
            end = first + ADDED_AT_ONCE
            engine.add(first, self.vectors[first:end], self.texts[first:end])
            print(json.dumps({"acknowledged": end - self.count}), flush=True)
        return {}

    def check(self, acknowledged: int) -> dict[str, Any]:
        """After a kill: which rows find themselves, and whether the batch that was cut off is there in part."""
        engine = self.opened()
        behind = self.count + acknowledged
        return {
            "old_missing": sum(not self._finds_itself(engine, row) for row in range(0, self.count, self.count // 100)),
            "acknowledged_missing": sum(not self._finds_itself(engine, row) for row in range(self.count, behind)),
            "unacknowledged_found": sum(
                self._finds_itself(engine, row) for row in range(behind, behind + ADDED_AT_ONCE)
            ),
            "healed": engine.healed,
        }

    def answers(self) -> dict[str, Any]:
        """What it says to some queries, texts and scores included."""
        engine = self.opened()
        answers = []
        for query in [*self.queries[:_ASKED], *self.vectors[: self.count : max(1, self.count // _ASKED)]]:
            found = engine.search(query, _TOP, engine.efforts[-1])
            answers.append(
                [[row, round(score, 3), hashlib.sha256(text.encode()).hexdigest()[:16]] for row, text, score in found]
            )
        return {"answers": answers, "healed": engine.healed}

    def _recall(self, engine: Engine, effort: Any) -> float:
        shares = []
        for query, exact in zip(self.queries[:_TUNING], self.exact, strict=False):
            found = [each.row for each in engine.search(query, _TOP, effort)]
            shares.append(len(set(found) & set(exact[:_TOP].tolist())) / _TOP)
        return float(np.mean(shares))

    def _finds_itself(self, engine: Engine, row: int) -> bool:
        found = engine.search(self.vectors[row], _TOP, engine.efforts[-1])
        return any(each.row == row and each.text == self.texts[row] for each in found)

    def _finds_document(self, engine: Engine, row: int, effort: Any) -> bool:
        found = engine.search(self.vectors[row], _TOP, effort)
        return any(each.row // ROWS_PER_DOCUMENT == row // ROWS_PER_DOCUMENT for each in found)


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine")
    parser.add_argument("task", choices=["build", "measure", "delete", "gone", "grow", "check", "answers"])
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--acknowledged", type=int, default=0, help="of `check`: rows that were told to be safe")
    arguments = parser.parse_args()
    trial = Trial(arguments.engine, arguments.rows, arguments.folder)
    if arguments.task == "check":
        report = trial.check(arguments.acknowledged)
    else:
        task: Callable[[], dict[str, Any]] = getattr(trial, arguments.task)
        report = task()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
