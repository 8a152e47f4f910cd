"""What routes ask for, as annotated types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.answering.dialogue import Dialogue
from app.answering.inspection import Inspector
from app.answering.second_opinion import SecondOpinion
from app.api.draining import Draining
from app.bootstrap import Core
from app.fetching import Fetcher
from app.preview import Previewer
from app.retrieval.pipeline import Retriever


@dataclass(frozen=True, slots=True)
class Services:
    """The wired parts of one server process."""

    core: Core
    retriever: Retriever
    answerer: Dialogue
    second_opinion: SecondOpinion | None  # where a model judges the sentences of answers
    inspector: Inspector
    previewer: Previewer
    fetcher: Fetcher | None  # None where the operator does not allow it
    draining: Draining
    worker_problem: Callable[[], str | None]  # why no documents are ingested; None when they are, or elsewhere


async def _services(request: Request) -> Services:
    # Async, or the framework would call it in a thread.
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]
