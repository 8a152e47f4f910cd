"""Why was this document not used?"""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND
from app.api.schemas.explain import ExplainIn, ExplainOut
from app.api.streaming import unless_client_leaves

router = APIRouter(tags=["search"])


@router.post("/explain", responses=NOT_FOUND)
async def explain(body: ExplainIn, request: Request, services: ServicesDep) -> ExplainOut:
    """A document's best passages for a question, with their ranks over the whole collection, and the reason in words.

    A deleted document is not found: 404.
    """
    inspection = services.inspector.inspect(
        body.question, body.document_id, collection=body.collection, top_k=body.top_k, filters=body.filters
    )
    return ExplainOut.of(await unless_client_leaves(request, inspection))
