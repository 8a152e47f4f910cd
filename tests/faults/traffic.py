"""Clients that upload, replace, delete and ask all at once, and a log of what they were promised.

A line is written before each request and after its answer, straight to the kernel: it outlives a SIGKILL. A document
belongs to one uploader, which makes one request after the other, so its lines tell what may have become of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.bootstrap import build_core, build_retriever
from app.errors import IndexUnavailable
from app.retrieval.pipeline import Retrieval, Retriever
from app.types import DocumentStatus
from tests.faults.oracle import Expected, edition_of, text_of
from tests.faults.workbench import Workbench

_NAMES_EACH = 4
_PASSAGES = 20
_PATIENCE = 0.8  # the share of changes that wait for the last one's effect
_LONGEST_WAIT_SECONDS = 1.0
_WORKER_LEASE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process does. Its `number` is never used again, `place` is that of the one before it."""

    data_dir: Path
    log: Path
    place: int
    number: int
    uploaders: int
    askers: int
    seed: int
    seconds: float = 600.0
    may_be_unavailable: bool = False  # whether somebody harms the index meanwhile


def work(data_dir: Path, lease_seconds: float = _WORKER_LEASE_SECONDS) -> None:
    """A worker, until it is killed."""
    Workbench(data_dir, lease_seconds=lease_seconds).worker.run()


def use(plan: Plan) -> None:
    """Upload and ask until the time is over, or until it is killed."""
    log = Log(plan.log)
    try:
        with Workbench(plan.data_dir) as bench:
            asyncio.run(_Traffic(plan, bench, log).run())
    except BaseException as error:
        log.write(wrong=f"{type(error).__name__}: {error}", seed=plan.seed)
        raise


class Log:
    """One file for all processes."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, **line: Any) -> None:
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a log says."""

    expected: Expected
    wrong: Sequence[Any]
    acknowledged: int
    answers: int


def read(path: Path) -> Summary:
    """What may be there now: of each document its last acknowledged state, or one that was asked for since."""
    possible: dict[str, frozenset[str | None]] = {}
    wrong: list[Any] = []
    acknowledged = answers = 0
    for line in map(json.loads, path.read_text().splitlines()):
        if "wrong" in line:
            wrong.append(line)
        elif "answers" in line:
            answers += line["answers"]
        else:
            name, edition = line["name"], line["edition"]
            content = None if edition is None else text_of(name, edition)
            if line["done"]:
                acknowledged += 1
                possible[name] = frozenset({content})
            else:
                possible[name] = possible.get(name, frozenset({None})) | {content}
    return Summary(possible, wrong, acknowledged, answers)


class _Traffic:
    def __init__(self, plan: Plan, bench: Workbench, log: Log) -> None:
        self._plan = plan
        self._bench = bench
        self._log = log
        self._end = time.monotonic() + plan.seconds
        self._gone: set[str] = set()  # documents whose deletion was acknowledged
        self._failures: list[BaseException] = []
        self._over = threading.Event()
        self._answers = 0

    async def run(self) -> None:
        threads = [threading.Thread(target=self._upload, args=(i,), daemon=True) for i in range(self._plan.uploaders)]
        for thread in threads:
            thread.start()
        with build_core(self._bench.settings) as core:
            core.embedders.start().wait()
            retriever = build_retriever(core)
            await asyncio.gather(*(self._ask(retriever, i) for i in range(self._plan.askers)))
        for thread in threads:
            thread.join()
        self._log.write(answers=self._answers)
        if self._failures:
            raise self._failures[0]

    def _is_over(self) -> bool:
        return time.monotonic() > self._end or bool(self._failures)

    def _upload(self, uploader: int) -> None:
        dice = random.Random(f"{self._plan.seed} {self._plan.number} {uploader}")
        edition = self._plan.number * 1_000_000
        try:
            while not self._is_over():
                edition += 1
                self._change(f"p{self._plan.place}u{uploader}n{dice.randrange(_NAMES_EACH)}", edition, dice)
        except BaseException as error:
            self._failures.append(error)

    def _change(self, name: str, edition: int, dice: random.Random) -> None:
        if dice.random() < _PATIENCE:
            self._wait_until_ready(name)
        found = self._bench.find(name)
        if found is not None and dice.random() < 0.3:
            self._log.write(name=name, edition=None, done=False)
            self._bench.delete(name)
            self._gone.add(found.id)
            self._log.write(name=name, edition=None, done=True)
        else:
            self._log.write(name=name, edition=edition, done=False)
            self._bench.upload(name, text_of(name, edition))
            self._log.write(name=name, edition=edition, done=True)

    def _wait_until_ready(self, name: str) -> None:
        """Or versions would replace each other before any of them answers."""
        end = time.monotonic() + _LONGEST_WAIT_SECONDS
        while time.monotonic() < end and not self._is_over():
            found = self._bench.find(name)
            if found is None or found.status is DocumentStatus.READY:
                return
            self._over.wait(0.01)

    async def _ask(self, retriever: Retriever, asker: int) -> None:
        dice = random.Random(f"{self._plan.seed} {self._plan.number} asker {asker}")
        while not self._is_over():
            name = f"p{self._plan.place}u{dice.randrange(max(1, self._plan.uploaders))}n{dice.randrange(_NAMES_EACH)}"
            query = dice.choice([f"house{name}x", "lantern", f"part1 house{name}x"])
            gone = frozenset(self._gone)
            try:
                retrieval = await retriever.retrieve(query, collection="default", top_k=_PASSAGES)
            except IndexUnavailable:
                if not self._plan.may_be_unavailable:
                    raise
            else:
                _check(retrieval, gone)
                self._answers += bool(retrieval.passages)
            await asyncio.sleep(0)


def _check(retrieval: Retrieval, gone: frozenset[str]) -> None:
    """No answer mixes two versions, and none holds what was deleted before the question."""
    editions: dict[str, set[tuple[int, str]]] = {}
    for passage in retrieval.passages:
        assert passage.document_id not in gone, f"{passage.document_id} was deleted before"
        editions.setdefault(passage.document_id, set()).add((passage.version, edition_of(passage.text)))
    mixed = {document_id: found for document_id, found in editions.items() if len(found) > 1}
    assert not mixed, f"two versions in one answer: {mixed}"
