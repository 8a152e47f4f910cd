"""What a collection's answers together tell."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from app.answering.insights import group_questions
from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND
from app.api.schemas.feedback import CountsOut, InsightsOut, QuestionGroupOut, RatedOut, UncitedOut, UnsupportedOut
from app.api.schemas.wire import CollectionName
from app.store import feedback
from app.store.collections import get_collection

router = APIRouter(tags=["answers"])

_MOST_QUESTIONS = 2000  # that are grouped; the newest
_SECONDS_A_DAY = 86_400


@router.get("/insights", responses=NOT_FOUND)
def read_insights(
    services: ServicesDep,
    collection: CollectionName = "default",
    days: Annotated[int, Query(ge=1, le=3650)] = 90,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> InsightsOut:
    """Questions that found nothing, grouped; answers with unsupported sentences; feedback; documents never cited."""
    since = time.time() - days * _SECONDS_A_DAY
    with services.core.database.read() as connection:
        found = get_collection(connection, collection)
        counts = feedback.count_answers(connection, found.id, since)
        questions = feedback.unanswered_questions(connection, found.id, since, _MOST_QUESTIONS)
        unsupported = feedback.unsupported_answers(connection, found.id, since, limit)
        rated = feedback.read_feedback(connection, found.id, since, limit)
        uncited_count, uncited = feedback.uncited_documents(connection, found.id, limit)
    return InsightsOut(
        collection=collection,
        since=datetime.fromtimestamp(since, UTC),
        answers=CountsOut.of(counts),
        unanswered=[QuestionGroupOut.of(group) for group in group_questions(questions)[:limit]],
        unsupported=[UnsupportedOut.of(each) for each in unsupported],
        feedback=[RatedOut.on(*each) for each in rated],
        uncited_count=uncited_count,
        uncited=[UncitedOut.of(document) for document in uncited],
    )
