"""What makes the words of an answer: the protocol that a language model and the extractive generator share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.answering.evidence import Evidence
from app.errors import GenerationFailed
from app.types import Message, Mode, Passage, Sampling, Usage


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model wants to have done; the arguments as it wrote them, which may be anything."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a function of the asker's own, and what it returned."""

    call: ToolCall
    result: str


@dataclass(frozen=True, slots=True)
class Task:
    """What a generator is given: a question and the passages that may answer it, best first."""

    question: str
    evidence: Evidence
    narrow: tuple[Passage, ...] = ()  # the same passages without their neighbours, for a window that is too small
    history: tuple[Message, ...] = ()
    summary: str | None = None  # of turns before the history
    system_prompt: str | None = None  # the collection's own; None for the built-in one
    question_template: str | None = None  # likewise
    variables: Mapping[str, Any] = field(default_factory=dict)  # of the template
    examples: tuple[Mapping[str, str], ...] = ()  # {"question", "answer"}
    language: str | None = None  # of the answer, as a tag: "zh"; None for the question's own
    sampling: Sampling = field(default_factory=Sampling)
    model: str | None = None
    streamed: bool = True  # each piece reaches a reader at once
    parts: tuple[str, ...] = ()  # of a compound question; empty for a simple one
    called: tuple[Called, ...] = ()  # for this question


@dataclass(frozen=True, slots=True)
class PromptBudget:
    """How a prompt was made to fit the model's window."""

    window_tokens: int
    answer_tokens: int  # the room that was left for the answer
    estimated_prompt_tokens: int  # rather too many; `usage` has what the engine counted
    passages: int  # in the prompt
    dropped_chunks: tuple[str, ...]  # passages that there was no room for, the best first


@dataclass(frozen=True, slots=True)
class Completion:
    """How a generation ended."""

    model: str
    usage: Usage
    finish_reason: str | None  # "stop", "length", "repetition", …
    budget: PromptBudget | None = field(default=None, compare=False)  # None where there was no prompt
    logprobs: tuple[Mapping[str, Any], ...] = ()  # a token each, where they were asked for


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model said in one turn of a conversation of our own, and the tools it called."""

    text: str
    calls: tuple[ToolCall, ...]
    usage: Usage
    finish_reason: str | None


class Generator(Protocol):
    """Yields the text of an answer piece by piece, and a `Completion` at the end.

    Raises `GenerationFailed` before the first piece and `GenerationInterrupted` after it. Closing the iterator frees
    whatever the generator holds, an engine's slot included, at once and in any phase.
    """

    @property
    def mode(self) -> Mode: ...

    def generate(self, task: Task, timings: MutableMapping[str, float]) -> AsyncGenerator[str | Completion, None]:
        """`timings` takes the milliseconds of the stages that this generator has."""


class TurnTooSlow(GenerationFailed):
    """The language model did not answer in time."""


class Writer(Protocol):
    """A language model that can be talked to: for rewriting a question, for planning."""

    async def turn(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        seconds: float,
        model: str | None = None,
        sampling: Sampling = Sampling(temperature=0),  # noqa: B008 - frozen
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Turn:
        """One turn, read to its end. Raises `GenerationFailed`; `TurnTooSlow` where it takes longer than `seconds`."""


class LanguageModel(Generator, Writer, Protocol):
    """A generator that can also be talked to."""

    async def window(self, model: str | None) -> int:
        """The tokens that prompt and answer may have together. Raises `GenerationFailed`, `ModelNotFound`."""
