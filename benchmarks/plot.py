"""Draw how search time, memory and disk grow with the number of chunks, what a worker did when, and what a confidence
is worth.

.venv-peers/bin/python -m benchmarks.plot             # benchmarks/results/scale.json → benchmarks/results/scale.svg
.venv-peers/bin/python -m benchmarks.plot parsing     # … parsing.json → … parsing.svg
.venv-peers/bin/python -m benchmarks.plot abstention  # … abstention.json → … abstention.svg
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).parent / "results"
_MILLION = 1e6
_COLOURS = {"parse": "tab:blue", "chunk": "tab:green", "embed": "tab:orange", "store": "tab:red"}


def main() -> None:
    """Needs matplotlib alone, so that it runs in the peers' environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=list(_DRAWN), default="scale")
    parser.add_argument("--folder", type=Path, default=_RESULTS, help="of NAME.json and NAME.svg")
    arguments = parser.parse_args()
    record = json.loads((arguments.folder / f"{arguments.name}.json").read_text("utf-8"))
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "footnote"  # the same numbers make the same file
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure = _DRAWN[arguments.name](pyplot, record["details"])
    figure.suptitle(f"{record['machine']['processor']}, {record['machine']['cores']} cores, {record['when'][:10]}")
    figure.savefig(arguments.folder / f"{arguments.name}.svg", metadata={"Date": None})


def _growth(pyplot: Any, details: Mapping[str, Any]) -> Any:
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    sizes = details["sizes"]
    for panel, (title, lines) in zip(axes, _panels(sizes).items(), strict=True):
        for label, values in lines.items():
            panel.plot([int(size) for size in sizes], values, marker="o", label=label)
        panel.set(title=title, xlabel="chunks", xscale="log", yscale="log")
        panel.grid(visible=True, alpha=0.3)
        panel.legend(frameon=False, fontsize="small")
    return figure


def _timeline(pyplot: Any, details: Mapping[str, Any]) -> Any:
    """A line a thread of the worker; a bar from start to end of what it did."""
    events = details["timeline"]["events"]
    threads = sorted({thread for _, thread, _, _ in events})
    figure, axis = pyplot.subplots(figsize=(13, 1 + 0.4 * len(threads)), layout="constrained")
    for stage, colour in _COLOURS.items():
        for row, thread in enumerate(threads):
            bars = [(start, end - start) for name, by, start, end in events if (name, by) == (stage, thread)]
            axis.broken_barh(bars, (row - 0.4, 0.8), color=colour, label=stage if row == 0 else None)
    axis.set(xlabel="seconds", yticks=range(len(threads)), yticklabels=threads)
    axis.legend(frameon=False, fontsize="small", loc="upper right")
    return figure


def _panels(sizes: Mapping[str, Any]) -> dict[str, dict[str, Sequence[float]]]:
    found = list(sizes.values())
    return {
        "POST /search without encode, ms": {
            "p50": [each["search"]["without_encode"]["p50"] for each in found],
            "p95": [each["search"]["without_encode"]["p95"] for each in found],
            "dense leg, p50": [each["dense_leg"]["dense"]["p50"] for each in found],
            "lexical leg, p50": [each["dense_leg"]["lexical"]["p50"] for each in found],
        },
        "resident, MB": {
            "whole server": [each["memory"]["total"] / _MILLION for each in found],
            "dense index": [each["memory"]["dense"] / _MILLION for each in found],
        },
        "disk, MB": {
            name: [each["disk"][key] / _MILLION for each in found]
            for name, key in (("all", "all"), ("dense index", "dense"), ("lexical index", "lexical"))
        },
    }


def _trust(pyplot: Any, details: Mapping[str, Any]) -> Any:
    """Of each set: how often documents answer at what confidence, how often no answer is right at what coverage."""
    figure, (calibration, risk) = pyplot.subplots(1, 2, figsize=(13, 5), layout="constrained")
    calibration.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for label, measured in details.items():
        bins = measured["reliability"]
        calibration.plot(
            [each["confidence"] for each in bins], [each["answerable"] for each in bins], marker="o", label=label
        )
        risk.plot(*zip(*measured["risk_coverage"], strict=True), label=label)
    calibration.set(title="calibration", xlabel="confidence", ylabel="share that the documents answer")
    risk.set(title="the most confident questions", xlabel="share asked", ylabel="share without a right answer")
    for panel in (calibration, risk):
        panel.grid(visible=True, alpha=0.3)
        panel.legend(frameon=False, fontsize="small")
    return figure


_DRAWN = {"scale": _growth, "parsing": _timeline, "abstention": _trust}


if __name__ == "__main__":
    main()
