"""What a benchmark found: rows for the table, and everything else as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_LIBRARIES = ("footnote", "torch", "sentence-transformers", "faiss-cpu", "tantivy", "fastapi", "uvicorn")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `target` and `met` where one was promised."""

    what: str
    figure: str
    target: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """All figures of one benchmark, and the numbers behind them."""

    rows: Sequence[Row]
    details: Mapping[str, Any] = field(default_factory=dict)


def quantiles_ms(seconds: Sequence[float] | npt.NDArray[np.float64]) -> dict[str, float]:
    """The median and the 95th percentile, in milliseconds."""
    return {f"p{q}": round(float(np.percentile(seconds, q)) * 1000, 2) for q in (50, 95)}


def load_average() -> float:
    """Processes that wanted to run in the last minute, on average: ours, and those that disturbed us."""
    return round(os.getloadavg()[0], 2)


def describe_machine() -> dict[str, Any]:
    """Where a figure comes from."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def save(folder: Path, name: str, result: Result, *, load_before: float, seconds: float) -> None:
    """Write `NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "benchmark": name,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "load_average": {"before": load_before, "after": load_average()},
        "seconds": round(seconds, 1),
        "rows": [asdict(row) for row in result.rows],
        "details": result.details,
    }
    text = json.dumps(record, ensure_ascii=False, indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def as_table(name: str, rows: Sequence[Row]) -> str:
    """Rows of a Markdown table: benchmark, what, figure, target, met, when."""
    today = datetime.now(UTC).date().isoformat()
    verdicts = {None: "", True: "yes", False: "**no**"}
    return "\n".join(
        f"| {name} | {row.what} | {row.figure} | {row.target} | {verdicts[row.met]} | {today} |" for row in rows
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
