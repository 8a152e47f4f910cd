"""What an answer looks like while it is made: the events that `Answerer.ask` yields, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.answering.generation import ToolCall
from app.errors import FootnoteError
from app.types import Answer, Citation, Passage, Sentence, Usage


class Action(StrEnum):
    """What a step of gathering passages can be."""

    SPLIT = "split"
    REWRITE = "rewrite"
    SEARCH = "search"
    READ = "read"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done to gather passages, and what came of it. Before `Sources`; none for a single search."""

    number: int
    action: Action
    arguments: Mapping[str, Any]
    outcome: str
    found: int = 0  # passages
    new: int = 0  # of these, not seen before


@dataclass(frozen=True, slots=True)
class Sources:
    """The passages, before the first word; a citation's marker counts from 1 in them."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class CitationFound:
    """A citation of a sentence that is now complete; None for a sentence that has none. One event for each of them."""

    citation: Citation | None
    sentence: Sentence  # with its verdict


@dataclass(frozen=True, slots=True)
class FunctionsCalled:
    """The language model needs functions of the asker's own. The last event; no source and no word comes before it."""

    calls: tuple[ToolCall, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Done:
    """The whole answer. The last event."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Failed:
    """The language model broke off after its first word. The last event, with what was said so far."""

    error: FootnoteError
    answer_so_far: Answer


Event = Step | Sources | Delta | CitationFound | FunctionsCalled | Done | Failed
