"""Footnote beside what people would use in its place, on the same vectors and texts, one after the other.

    python -m benchmarks --data DIR --only peers --sizes 100000 --cache DIR

Each engine runs in processes of its own (`benchmarks/peer_trial.py`), the peers in the environment `.venv-peers`, which
is made on the first run (`FOOTNOTE_PEERS_VENV` names another one). What is compared is the dense leg as a library:
vector in, ten rows with their texts out. So Footnote's own figures here are without HTTP, words and fusion.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import python_with
from benchmarks.peer_damage import flip_bits, kill_while_writing
from benchmarks.peer_process import run_trial
from benchmarks.processes import bytes_under
from benchmarks.results import Result, Row
from benchmarks.vectors import TEXTS, Corpus, open_corpus

SIZES = (100_000,)
ENGINES = ("footnote", "faiss", "lancedb", "chroma", "txtai", "milvus-lite")
_DAMAGED_ROWS = 10_000  # of the folders that are damaged: many copies are made of them
_ADDED_ROWS = 20_000  # that may be added
_QUICK_TEXTS, _QUICK_ROWS = 2000, 4000
_KILLS, _FLIPS = (5, 2), (8, 2)  # times; when it has to be quick


def run(data: Path, *, quick: bool, cache: Path, sizes: Sequence[int] = SIZES) -> Result:
    """All engines for every size."""
    corpus = open_corpus(data, cache, most_texts=_QUICK_TEXTS if quick else TEXTS)
    python = python_with("peers")
    measured: dict[str, Any] = {}
    for size in (_QUICK_ROWS,) if quick else sizes:
        work = cache / f"peers-{size}"
        shutil.rmtree(work, ignore_errors=True)
        try:
            whole = _write_rows(corpus, work / "rows", size)
            small = _write_rows(corpus, work / "rows-damaged", min(size, _DAMAGED_ROWS))
            measured[str(size)] = {}
            for name in ENGINES:
                interpreter = sys.executable if name == "footnote" else python
                found = _measure(name, interpreter, whole, small, work / name, quick=quick)
                measured[str(size)][name] = found
                print(json.dumps({name: found}), file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    rows = [row for size, found in measured.items() for row in _rows(int(size), found)]
    return Result(rows, {"real_texts": len(corpus.texts), "versions": _versions(python), "sizes": measured})


def _write_rows(corpus: Corpus, folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    behind = count + min(_ADDED_ROWS, count)
    np.save(folder / "vectors.npy", corpus.vectors(0, behind))
    (folder / "texts.json").write_text(json.dumps([corpus.text(row) for row in range(behind)]), "utf-8")
    np.save(folder / "queries.npy", corpus.question_vectors)
    np.save(folder / "exact.npy", corpus.exact(count, 10))
    (folder / "count").write_text(str(count))
    return folder


def _measure(name: str, python: str, whole: Path, small: Path, work: Path, *, quick: bool) -> dict[str, Any]:
    """Everything about one engine; where a step fails, its error is what was found."""
    found: dict[str, Any] = {}
    folder, fragile = work / "whole", work / "small"
    for made, rows in ((folder, whole), (fragile, small)):
        made.mkdir(parents=True)
        built = run_trial(python, name, "build", rows, made)
        if built.report is None:
            return {"failed": built.error}
        if made is folder:
            found |= {"build": built.report, "disk_bytes": bytes_under(folder)}
    for task in ("measure", "delete", "gone"):
        done = run_trial(python, name, task, whole, folder)
        found[task] = done.report or {"failed": done.error}
    shutil.rmtree(folder)
    found["kills"] = kill_while_writing(python, name, small, fragile, work, _KILLS[quick])
    found["flips"] = flip_bits(python, name, small, fragile, work, _FLIPS[quick])
    shutil.rmtree(work)
    return found


def _versions(python: str) -> dict[str, str]:
    listed = subprocess.run([python, "-m", "pip", "list", "--format", "json"], stdout=subprocess.PIPE, check=True)
    names = ("faiss-cpu", "lancedb", "chromadb", "txtai", "milvus-lite", "pymilvus")
    return {each["name"]: each["version"] for each in json.loads(listed.stdout) if each["name"] in names}


def _rows(size: int, found: Mapping[str, Any]) -> list[Row]:
    own = found["footnote"]
    rows = []
    for name, engine in found.items():
        what = f"{size:,} chunks, {name}"
        if "failed" in engine:
            rows.append(Row(what, f"could not be measured: {engine['failed']}"))
        else:
            rows += [*_figures(what, engine, own), *_damages(what, engine)]
    return rows


def _figures(what: str, engine: Mapping[str, Any], own: Mapping[str, Any]) -> list[Row]:
    rows = []
    seconds, disk = engine["build"]["seconds"], engine["disk_bytes"]
    build = f"{seconds:.1f} s ({seconds / own['build']['seconds']:.2f} ×)"
    rows.append(Row(f"{what}: build; on disk", f"{build}; {disk / 1e6:.0f} MB ({disk / own['disk_bytes']:.2f} ×)"))
    measure, mine = engine["measure"], own["measure"]
    if "failed" in measure:
        rows.append(Row(f"{what}: search", f"failed: {measure['failed']}"))
    else:
        ratio = f"{measure['p50_ms'] / mine['p50_ms']:.2f} ×" if "p50_ms" in mine else "no ratio"
        times = f"{measure['p50_ms']:.2f} / {measure['p95_ms']:.2f} ms ({ratio})"
        rows.append(Row(f"{what}: search p50 / p95; recall@10", f"{times}; {measure['recall_at_10']:.3f}"))
    rows.append(Row(f"{what}: a deleted document is gone", _deletion(engine)))
    return rows


def _deletion(engine: Mapping[str, Any]) -> str:
    delete, gone = engine["delete"], engine["gone"]
    if "failed" in delete:
        return f"failed: {delete['failed']}"
    seconds = delete["gone_seconds"]
    text = "not within a minute" if seconds is None else f"after {seconds * 1000:.0f} ms"
    if "failed" in gone:
        return f"{text}; opened anew: {gone['failed']}"
    return text + ("" if gone["gone"] else "; **back again when it is opened anew**")


def _damages(what: str, engine: Mapping[str, Any]) -> list[Row]:
    rows = []
    for name, key in (("`kill -9` while it adds", "kills"), ("a flipped bit", "flips")):
        counts = Counter(each["outcome"] for each in engine[key])
        rows.append(Row(f"{what}: {name}", "; ".join(f"{count} × {outcome}" for outcome, count in counts.items())))
    return rows
