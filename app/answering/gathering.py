"""What several searches found → the passages of one answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.answering.generation import ToolCall
from app.errors import GenerationFailed
from app.retrieval.pipeline import Retrieval
from app.types import Passage, Strategy, Usage

Search = Callable[[str], Awaitable[Retrieval]]
Weigh = Callable[[Retrieval], Awaitable[float]]  # the confidence that what was found answers its query


@dataclass(frozen=True, slots=True)
class Gathered:
    """The passages that an answer is made from, and how they came together. The last thing that a strategy yields."""

    retrieval: Retrieval
    strategy: Strategy  # the one that was used
    searches: tuple[Retrieval, ...] = ()  # where there was more than one
    # Of each part of a compound question, that what was found for it answers it; empty for a simple question.
    confidences: Mapping[str, float] = field(default_factory=dict)
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    failure: GenerationFailed | None = None  # the language model is down: do not ask it again
    calls: tuple[ToolCall, ...] = ()  # of the asker's own functions, whose results are needed first


def fuse_passages(retrievals: Sequence[Retrieval]) -> list[Passage]:
    """Every passage that any of the searches found, best first.

    Its score is the mean of the best of its scores and of all of them, those that are missing counting 0: what one
    part of a question needs is not outvoted by the others, and what several wordings find comes first among equals.
    Its legs' scores are those of the search that liked it best.
    """
    best: dict[str, Passage] = {}
    total: dict[str, float] = {}
    for retrieval in retrievals:
        for passage in retrieval.passages:
            known = best.get(passage.chunk_id)
            if known is None or passage.score > known.score:
                best[passage.chunk_id] = passage
            total[passage.chunk_id] = total.get(passage.chunk_id, 0.0) + passage.score
    fused = [
        replace(passage, score=(passage.score + total[chunk] / len(retrievals)) / 2) for chunk, passage in best.items()
    ]
    return sorted(fused, key=lambda passage: -passage.score)


def as_one(retrievals: Sequence[Retrieval], passages: Sequence[Passage]) -> Retrieval:
    """The searches as one: of the first, whose query was the question itself, but with these passages."""
    timings: dict[str, float] = {}
    for retrieval in retrievals:
        for stage, milliseconds in retrieval.timings_ms.items():
            timings[stage] = round(timings.get(stage, 0.0) + milliseconds, 3)
    return replace(retrievals[0], passages=tuple(passages), timings_ms=timings)
