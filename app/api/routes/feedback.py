"""Feedback on an answer."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND
from app.api.schemas.feedback import FeedbackIn, FeedbackOut
from app.errors import InvalidRequest
from app.store import feedback
from app.store.answers import get_answer
from app.store.documents import get_document

router = APIRouter(tags=["answers"])


@router.post("/feedback", responses=NOT_FOUND)
async def give_feedback(body: FeedbackIn, services: ServicesDep) -> FeedbackOut:
    """Say whether an answer was good, and where the right one stands; the last word counts."""
    await services.answerer.archive.settle()  # an answer may be rated before it is written
    return FeedbackOut.of(await run_in_threadpool(_store, services, body))


def _store(services: Services, body: FeedbackIn) -> feedback.Feedback:
    with services.core.database.write() as connection:
        answer = get_answer(connection, body.answer_id)
        passage = body.correct_passage
        if passage is None:
            span = None
        elif passage.chunk_id is not None:
            span = feedback.span_of_chunk(connection, passage.chunk_id)
        else:
            span = feedback.span_of(connection, *passage.span())
        if span is not None and get_document(connection, span.document_id).collection_id != answer.collection_id:
            raise InvalidRequest("The passage is of another collection than the answer.", param="correct_passage")
        return feedback.give_feedback(connection, body.answer_id, body.rating, body.comment, span, time.time())
