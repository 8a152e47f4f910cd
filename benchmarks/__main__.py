"""Run the benchmarks: `python -m benchmarks --data DIR [--only NAME]… [--quick]`.

The long ones, `scale` and `peers`, and `readers`, `bulk` and `streaming` run only when they are named.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import (
    abstention,
    answers,
    bulk,
    fidelity,
    financebench,
    hostile,
    ingestion,
    injection,
    latency,
    parsing,
    peers,
    readers,
    retrieval,
    sandbox,
    scale,
    streaming,
    upload_memory,
    verification,
)
from benchmarks.results import Result, as_table, load_average, save

_BENCHMARKS = {
    "retrieval": retrieval.run,
    "financebench": financebench.run,
    "answers": answers.run,
    "abstention": abstention.run,
    "fidelity": fidelity.run,
    "ingestion": ingestion.run,
    "sandbox": sandbox.run,
    "parsing": parsing.run,
    "hostile": hostile.run,
    "injection": injection.run,
    "latency": latency.run,
    "upload_memory": upload_memory.run,
    "verification": verification.run,
}
_NAMED = {"readers": readers.run, "bulk": bulk.run, "streaming": streaming.run}
_LONG = {"scale": (scale.run, scale.SIZES), "peers": (peers.run, peers.SIZES)}


def main() -> int:
    """0 when every target is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/NAME.docs.jsonl and qa/NAME.qa.jsonl")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*_BENCHMARKS, *_NAMED, *_LONG],
        help="repeatable; default: all but the long ones",
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder for NAME.json")
    parser.add_argument("--quick", action="store_true", help="on little data, to see that it works; nothing is saved")
    parser.add_argument("--sizes", type=_sizes, help="of the long ones: numbers of chunks, with commas between")
    parser.add_argument("--cache", type=Path, help="of `abstention` and the long ones: folder for what they make")
    parser.add_argument("--set", action="append", default=[], help="of `abstention`, repeatable: default all")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    all_met = True
    print("| benchmark | what | figure | target | met | when |\n|---|---|---|---|---|---|")
    for name in arguments.only or _BENCHMARKS:
        load_before, started = load_average(), time.monotonic()
        result = _run(name, arguments)
        if not arguments.quick:
            save(arguments.output, name, result, load_before=load_before, seconds=time.monotonic() - started)
        print(as_table(name, result.rows), flush=True)
        all_met = all_met and all(row.met is not False for row in result.rows)
    return 0 if all_met else 1


def _run(name: str, arguments: argparse.Namespace) -> Result:
    if name == "abstention":
        return abstention.run(arguments.data, quick=arguments.quick, cache=arguments.cache, only=arguments.set)
    if name not in _LONG:
        return (_BENCHMARKS | _NAMED)[name](arguments.data, quick=arguments.quick)
    cache = arguments.cache or Path(tempfile.gettempdir()) / "footnote-benchmarks"
    run, sizes = _LONG[name]
    return run(arguments.data, quick=arguments.quick, cache=cache, sizes=arguments.sizes or sizes)


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
