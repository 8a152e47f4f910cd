"""The Responses API with the `file_search` tool: an answer whose citations name files."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import format_sse_event
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from app.answering.answerer import AskRequest
from app.answering.events import Delta, Done, Event, Failed, Sources
from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND, TOO_MANY
from app.api.file_search import FileSearch
from app.api.receiving import named_fields
from app.api.routes.openai.models import collection_of
from app.api.routes.openai.response_objects import ResponseObject
from app.api.schemas.openai_chat import split_question
from app.api.schemas.openai_responses import FileSearchTool, ResponseIn
from app.api.streaming import event_stream, first_then_rest, unless_client_leaves
from app.errors import FootnoteError
from app.store import vector_stores
from app.types import Collection

logger = logging.getLogger(__name__)
router = APIRouter()


@router.post("/responses", response_model=None, responses={**NOT_FOUND, **TOO_MANY})
async def respond(body: ResponseIn, request: Request, services: ServicesDep) -> Response:
    """An answer from the vector stores of `file_search`, or from the collection that the model's name picks.

    With vector stores any model's name will do: they say where to look. The first one's prompt and settings count.
    """
    body.check()
    tool = body.file_search()
    with named_fields():
        text, history = split_question(body.messages(), param="input")
    collections = await run_in_threadpool(_collections, services, body.model, tool)
    search = FileSearch(
        services,
        collections,
        filters=tool.filters if tool else None,
        most=tool.max_num_results if tool else None,
        score_threshold=tool.score_threshold if tool else None,
    )
    question = AskRequest(
        question=text, history=history, sampling=body.sampling(), search=search, streamed=bool(body.stream)
    )
    response = ResponseObject(body, search)
    if body.stream:
        events = await unless_client_leaves(
            request, first_then_rest(services.answerer.ask(question, collection=collections[0]))
        )
        return event_stream(_encoded(events, response))
    answer = await unless_client_leaves(request, services.answerer.answer(question, collection=collections[0]))
    return JSONResponse(response.whole(answer, answer.passages))


async def _encoded(events: AsyncGenerator[Event, None], response: ResponseObject) -> AsyncGenerator[bytes, None]:
    """Whatever happens, the last event says how it ended."""
    async with aclosing(events):
        try:
            async for event in events:
                match event:
                    case Sources(passages):
                        for each in response.searched(passages):
                            yield _encode(each)
                    case Delta(text):
                        yield _encode(response.said(text))
                    case Done(answer):
                        for each in response.done(answer):
                            yield _encode(each)
                    case Failed(error):
                        yield _encode(response.failed(error))
        except FootnoteError as error:
            yield _encode(response.failed(error))
        except Exception:
            logger.exception("a stream failed")
            yield _encode(response.failed(FootnoteError()))


def _collections(services: Services, model: str, tool: FileSearchTool | None) -> list[Collection]:
    """Where to look. Raises `VectorStoreNotFound`, `ModelNotFound`."""
    if tool is None:
        return [collection_of(services, model)]
    with services.core.database.read() as connection:
        found = {each: vector_stores.collection_of(connection, each) for each in tool.vector_store_ids}
    return list(found.values())


def _encode(event: Mapping[str, Any]) -> bytes:
    return format_sse_event(event=event["type"], data_str=to_json(event).decode())
