"""Search without an answer."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND
from app.api.schemas.search import PassageOut, SearchIn, SearchOut
from app.store.collections import get_collection
from app.types import Collection

router = APIRouter(tags=["search"])


@router.post("/search", response_model=SearchOut, responses=NOT_FOUND)
async def search(body: SearchIn, services: ServicesDep) -> Response:
    """The best passages for a query, with the scores of every leg."""
    found = await services.retriever.retrieve(
        body.query,
        collection=body.collection,
        top_k=body.top_k,
        filters=body.filters,
        explain=body.explain,
    )
    answer = SearchOut(
        passages=[PassageOut.of(passage) for passage in found.passages],
        timings_ms=dict(found.timings_ms),
        explain=None if found.explain is None else dict(found.explain),
    )
    return Response(answer.model_dump_json(), media_type="application/json")


async def find_collection(services: Services, name: str) -> Collection:
    """Raises `CollectionNotFound`."""

    def read() -> Collection:
        with services.core.database.read() as connection:
            return get_collection(connection, name)

    return await run_in_threadpool(read)
