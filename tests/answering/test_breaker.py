"""The circuit breaker by itself, with a clock of its own."""

from __future__ import annotations

import pytest

from app.answering.breaker import Breaker, EngineResting, State
from app.answering.engine import EngineBusy, RequestRejected
from app.errors import GenerationFailed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(harmless=(RequestRejected,), busy=(EngineBusy,), most_failures=3, rest_seconds=10, clock=clock)


def fail(breaker: Breaker, error: BaseException | None = None, times: int = 1, *, speaks: bool = False) -> None:
    error = error or GenerationFailed()
    for _ in range(times):
        with pytest.raises(type(error)):
            attempt_that_fails(breaker, error, speaks)


def attempt_that_fails(breaker: Breaker, error: BaseException, speaks: bool) -> None:
    with breaker.attempt() as attempt:
        if speaks:
            attempt.speaks()
        raise error


def succeed(breaker: Breaker) -> None:
    with breaker.attempt() as attempt:
        attempt.speaks()


def test_failures_in_a_row_open_it(breaker: Breaker) -> None:
    """So many failures without an answer between them, and nobody is let through; no fewer."""
    fail(breaker, times=2)
    succeed(breaker)
    fail(breaker, times=2)
    assert breaker.state is State.CLOSED
    fail(breaker)
    assert breaker.state is State.OPEN
    fail(breaker, EngineResting())


@pytest.mark.parametrize(
    "error", [RequestRejected(), EngineResting(), KeyError(), GeneratorExit(), KeyboardInterrupt()]
)
def test_what_is_not_the_engines_fault(breaker: Breaker, error: BaseException) -> None:
    """Requests that are refused for what they are, and clients that leave, never open it."""
    fail(breaker, error, times=10)
    assert breaker.state is State.CLOSED


def test_tokens_before_a_failure_do_not_hide_it(breaker: Breaker) -> None:
    """An engine that begins every answer and ends none is broken."""
    fail(breaker, times=3, speaks=True)
    assert breaker.state is State.OPEN


def test_a_busy_engine_is_not_a_dead_one(breaker: Breaker) -> None:
    """While it speaks to others, an engine may refuse some; one that refuses all is left alone."""
    with breaker.attempt() as other:
        other.speaks()
        fail(breaker, EngineBusy(), times=10)
        assert breaker.state is State.CLOSED
    fail(breaker, EngineBusy(), times=3)
    assert breaker.state is State.OPEN


def test_one_probe_recovers_it(breaker: Breaker, clock: Clock) -> None:
    """After the rest one request passes, and its first token lets all others through."""
    fail(breaker, times=3)
    clock.now = 10
    with breaker.attempt() as probe:
        assert breaker.state is State.PROBING
        fail(breaker, EngineResting())
        probe.speaks()
        assert breaker.state is State.CLOSED
        succeed(breaker)
    fail(breaker, times=2)
    assert breaker.state is State.CLOSED


def test_a_probe_that_fails_begins_another_rest(breaker: Breaker, clock: Clock) -> None:
    """… of the same length, counted from then."""
    fail(breaker, times=3)
    clock.now = 15
    fail(breaker)
    clock.now = 24.9
    fail(breaker, EngineResting())
    clock.now = 25
    succeed(breaker)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("error", [RequestRejected(), GeneratorExit()])
def test_a_probe_that_proves_nothing(breaker: Breaker, clock: Clock, error: BaseException) -> None:
    """A probe that its client left, or that was refused for what it is, leaves its place to the next."""
    fail(breaker, times=3)
    clock.now = 10
    fail(breaker, error)
    assert breaker.state is State.OPEN
    assert not breaker.is_resting
    succeed(breaker)
    assert breaker.state is State.CLOSED


def test_a_probe_that_breaks_off(breaker: Breaker, clock: Clock) -> None:
    """An engine that begins to answer and dies again is left alone at once, not after many more."""
    fail(breaker, times=3)
    clock.now = 10
    fail(breaker, speaks=True)
    assert breaker.state is State.OPEN


def test_late_failures_do_not_prolong_the_rest(breaker: Breaker, clock: Clock) -> None:
    """What began before the rest and fails within it says nothing new."""
    late = [breaker.attempt() for _ in range(4)]
    for each in late:
        each.__enter__()
    fail(breaker, times=3)
    clock.now = 9
    error = GenerationFailed()
    for each in late:
        assert not each.__exit__(type(error), error, None)
    clock.now = 10
    assert not breaker.is_resting
