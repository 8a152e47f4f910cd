"""How much an engine has to do by its own word: vLLM's `/metrics`, read now and then while we give it work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from app.errors import GenerationFailed

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
_RUNNING, _WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
_NAMES = (f"{_RUNNING}{{", f"{_WAITING}{{")


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """Requests of all clients: those that are being generated, and those that wait inside the engine."""

    running: int
    waiting: int


def read_load(metrics: str) -> EngineLoad | None:
    """From the text format of Prometheus, all engines of the server together; None where vLLM's gauges are not there.

    Only their lines are parsed: with its histograms, the whole is too long for an event loop that streams.
    """
    lines = "".join(f"{line}\n" for line in metrics.splitlines() if line.startswith(_NAMES))
    counts: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(lines):
            for sample in family.samples:
                counts[sample.name] = counts.get(sample.name, 0.0) + sample.value
        return EngineLoad(int(counts[_RUNNING]), int(counts[_WAITING]))
    except (KeyError, ValueError, OverflowError):
        return None


class LoadWatch:
    """Reads the load as long as anybody works, in a task of its own: no request waits for it."""

    def __init__(self, read: Callable[[], Awaitable[EngineLoad | None]], on_load: Callable[[EngineLoad], None]) -> None:
        """`read` gives None where the engine does not tell, and raises `GenerationFailed` where it cannot just now."""
        self._read = read
        self._on_load = on_load
        self._working = 0
        self._task: asyncio.Task[None] | None = None
        self.is_informed = False  # the engine told its load when it was last asked

    @contextmanager
    def working(self) -> Iterator[None]:
        """Somebody gives the engine work."""
        self._working += 1
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="engine load")
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._task.cancel()
                self._task, self.is_informed = None, False

    async def _watch(self) -> None:
        before = 0
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                async with asyncio.timeout(PERIOD_SECONDS):
                    load = await self._read()
            except (GenerationFailed, TimeoutError):
                load = None
            self.is_informed = load is not None
            if load is not None:
                # Every request waits for a step of the engine: only those that are there twice are in a queue.
                self._on_load(EngineLoad(load.running, min(before, load.waiting)))
                before = load.waiting
