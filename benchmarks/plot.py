"""Draw how search time, memory and disk grow with the number of chunks, from the numbers of `scale`.

.venv-peers/bin/python -m benchmarks.plot       # benchmarks/results/scale.json → benchmarks/results/scale.svg
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


def main() -> None:
    """Needs matplotlib alone, so that it runs in the peers' environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=Path, default=_RESULTS / "scale.json")
    parser.add_argument("--output", type=Path, default=_RESULTS / "scale.svg")
    arguments = parser.parse_args()
    record = json.loads(arguments.numbers.read_text("utf-8"))
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "footnote"  # the same numbers make the same file
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    sizes = record["details"]["sizes"]
    for panel, (title, lines) in zip(axes, _panels(sizes).items(), strict=True):
        for label, values in lines.items():
            panel.plot([int(size) for size in sizes], values, marker="o", label=label)
        panel.set(title=title, xlabel="chunks", xscale="log", yscale="log")
        panel.grid(visible=True, alpha=0.3)
        panel.legend(frameon=False, fontsize="small")
    figure.suptitle(f"{record['machine']['processor']}, {record['machine']['cores']} cores, {record['when'][:10]}")
    figure.savefig(arguments.output, metadata={"Date": None})


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


if __name__ == "__main__":
    main()
