"""Questions and answers."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from app.answering.answerer import AskRequest
from app.answering.events import CitationFound, Delta, Done, Event, Failed, FunctionsCalled, Sources, Step
from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND, TOO_MANY, ErrorResponse, error_body
from app.api.routes.search import find_collection
from app.api.schemas.answers import AnswerOut, AskIn, CitationEvent, PromptOut
from app.api.schemas.search import PassageOut
from app.api.streaming import SERVER_SENT_EVENT, event_stream, first_then_rest, unless_client_leaves
from app.errors import FootnoteError, InvalidRequest

logger = logging.getLogger(__name__)
router = APIRouter(tags=["answers"])

_EVENTS = """The whole answer; with `stream`, server-sent events:

`step` {"number", "action", "arguments", "outcome", "found", "new"} while `multi` and `agent` gather ·
`sources` {"passages"} before the first word · `delta` {"text"} · `citation` as soon as a sentence is complete, one for
each of its markers: the citation's fields, with `support`, `attributed` and its whole `sentence`; a sentence that cites
nothing has one too, with `marker` null · `done` the whole answer, or `error` {"error", "partial": true, "answer"} when
the language model broke off.

Where a collection's `unsupported` is `mark` or `remove`, each `delta` is a whole sentence that has been checked. With
`dry_run`, what a language model would be asked instead.
"""


@router.post(
    "/ask",
    response_model=AnswerOut | PromptOut,
    responses={
        **NOT_FOUND,
        **TOO_MANY,
        409: {"model": ErrorResponse, "description": "The conversation is about another collection"},
        200: {"description": _EVENTS, "content": {"text/event-stream": SERVER_SENT_EVENT}},
    },
)
async def ask(body: AskIn, request: Request, services: ServicesDep) -> Response:
    """Answer a question from a collection's documents, every sentence with its footnotes."""
    if body.conversation_id is not None and body.messages:
        raise InvalidRequest(
            "A stored conversation has its turns: send `conversation_id` or `messages`.", param="messages"
        )
    collection = await find_collection(services, body.collection)
    question = AskRequest(
        question=body.question,
        history=body.history(),
        top_k=body.top_k,
        filters=body.filters,
        mode=body.mode,
        model=body.model,
        sampling=body.sampling(),
        conversation_id=body.conversation_id,
        explain=body.explain,
        streamed=body.stream,
        strategy=body.strategy,
    )
    if body.dry_run:
        preview = await unless_client_leaves(request, services.answerer.preview(question, collection=collection))
        return JSONResponse(PromptOut.of(preview).model_dump(mode="json"))
    if body.stream:
        events = services.answerer.ask(question, collection=collection)
        # The first event is awaited here: what is wrong with the request still gets its own status.
        started = await unless_client_leaves(request, first_then_rest(events))
        return event_stream(_encoded(started), _delta)
    answer = await unless_client_leaves(request, services.answerer.answer(question, collection=collection))
    return JSONResponse(AnswerOut.of(answer).model_dump(mode="json"))


async def _encoded(events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes | str, None]:
    """An exception would cut the body short: whatever happens, the last event says how it ended."""
    async with aclosing(events):
        try:
            async for event in events:
                yield event.text if isinstance(event, Delta) else _encode(*_event(event))
        except FootnoteError as error:
            yield _encode("error", {**error_body(error), "partial": True})
        except Exception:
            logger.exception("a stream failed")
            yield _encode("error", {**error_body(FootnoteError()), "partial": True})


def _delta(text: str) -> bytes:
    return _encode("delta", {"text": text})


def _event(event: Step | Sources | CitationFound | FunctionsCalled | Done | Failed) -> tuple[str, Mapping[str, Any]]:
    match event:
        case Step():
            return "step", asdict(event)
        case Sources(passages):
            return "sources", {"passages": [PassageOut.of(passage).model_dump() for passage in passages]}
        case CitationFound(citation, sentence):
            return "citation", CitationEvent.of(citation, sentence).model_dump(mode="json")
        case FunctionsCalled():
            raise AssertionError("nobody offers functions here")
        case Done(answer):
            return "done", AnswerOut.of(answer).model_dump(mode="json")
        case Failed(error, so_far):
            return "error", {
                **error_body(error),
                "partial": True,
                "answer": AnswerOut.of(so_far).model_dump(mode="json"),
            }


def _encode(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), to_json(data))  # JSON has no line breaks
