"""What makes the words of an answer: the protocol that a language model and the extractive generator share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.answering.evidence import Evidence
from app.types import Message, Mode, Sampling, Usage


@dataclass(frozen=True, slots=True)
class Task:
    """What a generator is given: a question and the passages that may answer it, best first."""

    question: str
    evidence: Evidence
    history: tuple[Message, ...] = ()
    system_prompt: str | None = None  # the collection's own; None for the built-in one
    examples: tuple[Mapping[str, str], ...] = ()  # {"question", "answer"}
    sampling: Sampling = field(default_factory=Sampling)
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """How a generation ended."""

    model: str
    usage: Usage
    finish_reason: str | None  # "stop", "length", …
    logprobs: tuple[Mapping[str, Any], ...] = ()  # a token each, where they were asked for


class Generator(Protocol):
    """Yields the text of an answer piece by piece, and a `Completion` at the end.

    Raises `GenerationFailed` before the first piece and `GenerationInterrupted` after it. Closing the iterator frees
    whatever the generator holds, an engine's slot included, at once and in any phase.
    """

    @property
    def mode(self) -> Mode: ...

    def generate(self, task: Task, timings: MutableMapping[str, float]) -> AsyncGenerator[str | Completion, None]:
        """`timings` takes the milliseconds of the stages that this generator has."""
