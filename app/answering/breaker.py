"""A circuit breaker: an engine that keeps failing is left alone for a while, and then tried by one request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from app.errors import GenerationFailed
from app.telemetry import ENGINE_RESTING

logger = logging.getLogger(__name__)

_MOST_FAILURES = 5  # in a row: fewer could be one bad second of a busy engine
_REST_SECONDS = 5.0  # an engine that was restarted is found again so soon


class EngineResting(GenerationFailed):
    """The language model's server has failed repeatedly and is not asked for a moment."""


class State(StrEnum):
    """Closed: all pass. Open: nobody does. Probing: one is on its way."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Attempt:
    """One generation that was let through."""

    def __init__(self, on_first_token: Callable[[Attempt], None]) -> None:
        self._on_first_token = on_first_token
        self.has_spoken = False

    def speaks(self) -> None:
        """A token has come."""
        if not self.has_spoken:
            self.has_spoken = True
            self._on_first_token(self)


class Breaker:
    """Counts failures in a row. A generation that its client left, or that was refused for what it is, counts not."""

    def __init__(
        self,
        *,
        harmless: tuple[type[GenerationFailed], ...] = (),
        busy: tuple[type[GenerationFailed], ...] = (),
        most_failures: int = _MOST_FAILURES,
        rest_seconds: float = _REST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`harmless` errors say nothing against the engine; nor do `busy` ones while it speaks to others."""
        self._harmless = (*harmless, EngineResting)
        self._busy = busy
        self._most_failures = most_failures
        self._rest_seconds = rest_seconds
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probe: Attempt | None = None
        self._speaking = 0  # attempts that have got a token and go on

    @property
    def state(self) -> State:
        if self._opened_at is None:
            return State.CLOSED
        return State.OPEN if self._probe is None else State.PROBING

    @property
    def is_resting(self) -> bool:
        """Whether the next attempt would be refused."""
        if self._opened_at is None:
            return False
        return self._probe is not None or self._clock() < self._opened_at + self._rest_seconds

    def check(self) -> None:
        """Raises `EngineResting`."""
        if self.is_resting:
            raise EngineResting

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """One generation, from its first request to its last token. Raises `EngineResting`.

        The first after the rest is the probe: its first token closes the breaker, its failure begins another rest.
        """
        self.check()
        attempt = Attempt(self._on_first_token)
        if self._opened_at is not None:
            self._probe = attempt
        try:
            yield attempt
        except GenerationFailed as error:
            if self._counts(error):
                self._on_failure(attempt, error)
            raise
        else:
            self._on_success(attempt)
        finally:
            self._speaking -= attempt.has_spoken
            if self._probe is attempt:
                self._probe = None  # it was left, or refused for what it is: the next one probes

    def _counts(self, error: GenerationFailed) -> bool:
        if isinstance(error, self._harmless):
            return False
        return not (isinstance(error, self._busy) and self._speaking)

    def _on_first_token(self, attempt: Attempt) -> None:
        self._speaking += 1
        if attempt is self._probe:
            self._close()
            self._failures = self._most_failures - 1  # until an answer has come to its end, one failure is enough

    def _on_success(self, attempt: Attempt) -> None:
        if attempt is self._probe:
            self._close()
        if self._opened_at is None:
            self._failures = 0

    def _on_failure(self, attempt: Attempt, error: GenerationFailed) -> None:
        self._failures += 1
        is_probe = attempt is self._probe
        if is_probe or (self._opened_at is None and self._failures >= self._most_failures):
            if not is_probe:
                logger.warning("the language model's server is left alone, it has failed repeatedly: %s", error)
            self._opened_at = self._clock()
            ENGINE_RESTING.set(1)

    def _close(self) -> None:
        logger.info("the language model's server answers again")
        self._opened_at = self._probe = None
        ENGINE_RESTING.set(0)
