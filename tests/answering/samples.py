"""Passages made by hand, a retriever that returns them, and parts set up for a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from app.answering.answerer import Answerer
from app.answering.openai_generator import OpenAIGenerator
from app.config import Settings
from app.retrieval.joining import Joined
from app.retrieval.pipeline import Retrieval
from app.types import Collection, Passage, Scores
from tests.fake_engine import FakeEngine

PANTHERS = (
    "The Panthers defense gave up just 308 points, ranking sixth in the league. "
    "Kawann Short led the team in sacks with 11. Jared Allen had 136 career sacks."
)
BRIDGE = "The harbour bridge opened in 1932. It took eight years to build and cost 4.2 million pounds."
CHINESE = "黑豹队的防守只丢了308分，在联赛中排名第六。卡万·肖特以11次擒杀领先全队。他们的教练是罗恩·里维拉。"


def passage(
    text: str, *, number: int = 1, start: int = 0, score: float = 1.0, lexical: float = 9.0, dense: float = 0.6
) -> Passage:
    """A passage that starts at `start` of its document."""
    return Passage(
        document_id=f"doc_{number}",
        version=1,
        chunk_id=f"chk_{number}",
        filename=f"file{number}.txt",
        page=number,
        headings=(),
        start=start,
        end=start + len(text),
        text=text,
        score=score,
        scores=Scores(dense, lexical),
    )


class Comparing:
    """Texts are all equally like any query."""

    likeness = 0.5

    async def similarities(self, query: str, texts: Sequence[str], *, collection: Collection) -> Sequence[float]:
        return [self.likeness] * len(texts)


@dataclass
class FixedRetriever(Comparing):
    """Finds the same passages whatever it is asked, and remembers what it was asked."""

    passages: Sequence[Passage]
    queries: list[str] = field(default_factory=list)

    async def retrieve(
        self,
        query: str,
        *,
        collection: str,
        top_k: int | None = None,
        filters: Mapping[str, Any] | None = None,
        explain: bool = False,
    ) -> Retrieval:
        self.queries.append(query)
        details = {"candidates": []} if explain else None
        found = tuple(self.passages[:top_k])
        return Retrieval(query, found, 1.0, {"embed": 1.0, "search": 2.0}, details)


@dataclass
class FixedReader:
    """Reads the same passages around any other."""

    passages: Sequence[Passage]
    widen: Callable[[Passage], Passage] = field(default=lambda passage: passage)

    async def neighbours(self, passage: Passage) -> list[Passage]:
        return list(self.passages)

    async def join(self, passages: Sequence[Passage]) -> tuple[Joined, ...]:
        return tuple(Joined(self.widen(passage), passage) for passage in passages)

    async def still_live(self, passages: Sequence[Passage]) -> list[Passage]:
        return list(passages)


def make_settings(engine: FakeEngine | None = None, **changes: Any) -> Settings:
    """Settings for an engine, with timeouts short enough for a test."""
    values: dict[str, Any] = {
        "llm_base_url": engine.base_url if engine else None,
        "llm_timeouts": {"connect_seconds": 2.0, "first_token_seconds": 5.0, "token_seconds": 5.0},
    }
    return Settings(_env_file=None, **{**values, **changes})


def make_generator(engine: FakeEngine, client: httpx.AsyncClient, **changes: Any) -> OpenAIGenerator:
    return OpenAIGenerator(client, make_settings(engine, **changes))


def make_answerer(
    passages: Sequence[Passage],
    generator: OpenAIGenerator | None = None,
    *,
    widen: Callable[[Passage], Passage] = lambda passage: passage,
    **changes: Any,
) -> tuple[Answerer, FixedRetriever]:
    retriever = FixedRetriever(passages)
    answerer = Answerer(
        retriever=retriever,  # type: ignore[arg-type]
        generator=generator,
        settings=make_settings(**changes),
        reader=FixedReader(passages, widen),  # type: ignore[arg-type]
    )
    return answerer, retriever


def make_collection(**settings: Any) -> Collection:
    now = datetime.now(UTC)
    return Collection("col_1", "default", 1, "hashing", 64, False, None, settings, 0, now, now)
