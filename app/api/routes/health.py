"""Whether it lives, whether it can serve, and how it does."""

from __future__ import annotations

from enum import StrEnum

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from app import telemetry
from app.answering.second_opinion import SecondOpinion
from app.api.dependencies import Services, ServicesDep
from app.errors import FootnoteError, IndexDamaged
from app.retrieval.reranking import Reranker
from app.store.chunks import count_chunks
from app.store.collections import list_collections
from app.store.documents import count_by_status
from app.store.jobs import count_by_state
from app.types import DocumentStatus, JobState

router = APIRouter(tags=["service"])


class Health(BaseModel):
    status: str


class State(StrEnum):
    """Degraded: answers are given, without what a part would add that cannot be had."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not ready"


class Readiness(BaseModel):
    """`ready` when every part is; otherwise each part that is not says why."""

    status: State
    problems: dict[str, str]


@router.get("/health")
def health() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/ready", responses={503: {"model": Readiness, "description": "Not yet"}})
def ready(services: ServicesDep) -> JSONResponse:
    """Questions can be answered: the models are loaded, the database is there. Also while some part only is missing
    without which answers are worse: the status is `degraded` then."""
    problems, losses = _problems(services), _losses(services)
    state = State.NOT_READY if problems else State.DEGRADED if losses else State.READY
    body = Readiness(status=state, problems=problems | losses)
    return JSONResponse(body.model_dump(), status_code=503 if problems else 200)


@router.get("/metrics", response_class=Response)
def metrics(services: ServicesDep) -> Response:
    """For Prometheus."""
    core = services.core
    with core.database.read() as connection:
        statuses, states = count_by_status(connection), count_by_state(connection)
        telemetry.CHUNKS.set(count_chunks(connection))
        collections = list_collections(connection)
    for status in DocumentStatus:
        telemetry.DOCUMENTS.labels(status.value).set(statuses.get(status, 0))
    for state in JobState:
        telemetry.JOBS.labels(state.value).set(states.get(state, 0))
    for collection in collections:
        index = core.projection.index(collection)
        if index is not None:
            try:
                description = index.describe()
            except IndexDamaged:
                continue  # it heals at the next search or publish, and the other figures matter now
            telemetry.SEGMENTS.labels(collection.name).set(len(description.segments))
            telemetry.INDEX_ROWS.labels(collection.name).set(description.rows)
            telemetry.INDEX_BYTES.labels(collection.name).set(description.bytes)
            telemetry.MERGING.labels(collection.name).set(description.is_merging)
            if description.last_merge is not None:
                telemetry.MERGED_ROWS.labels(collection.name).set(description.last_merge.rows)
            telemetry.INDEX_LAG.labels(collection.name).set(core.projection.lag(collection))
    return Response(telemetry.render_metrics(), media_type=CONTENT_TYPE_LATEST)


def _problems(services: Services) -> dict[str, str]:
    """What keeps questions from being answered, or uploads from being read."""
    problems = {}
    if services.draining.has_begun:
        problems["server"] = "the server is shutting down"
    embedders = services.core.embedders
    embedder = embedders.get(embedders.configured)
    if not embedder.is_ready:
        problems["embedding"] = embedder.problem or "the embedding model is loading"
    problems |= {name: part.problem for name, part in _extras(services).items() if part.problem and part.is_loading}
    try:
        with services.core.database.read() as connection:
            list_collections(connection)
    except FootnoteError as error:
        problems["database"] = error.message
    worker_problem = services.worker_problem()
    if worker_problem:
        problems["worker"] = worker_problem
    return problems


def _losses(services: Services) -> dict[str, str]:
    """What answers have to do without: they go on all the same."""
    return {name: part.problem for name, part in _extras(services).items() if part.problem and not part.is_loading}


def _extras(services: Services) -> dict[str, Reranker | SecondOpinion]:
    extras = {"rerank": services.retriever.reranker, "entailment": services.second_opinion}
    return {name: part for name, part in extras.items() if part is not None}
