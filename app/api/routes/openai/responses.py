"""The Responses API with the `file_search` tool: an answer whose citations name files, kept to be continued."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import format_sse_event
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from app.answering.answerer import AskRequest
from app.answering.events import Delta, Done, Event, Failed, Sources
from app.answering.memory import messages_of_exchanges
from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND, TOO_MANY
from app.api.file_search import FileSearch
from app.api.receiving import named_fields
from app.api.routes.openai.models import collection_of
from app.api.routes.openai.response_objects import ResponseObject, restored
from app.api.schemas.openai_chat import split_question
from app.api.schemas.openai_files import Deleted
from app.api.schemas.openai_responses import FileSearchTool, ResponseIn
from app.api.streaming import OR_A_STREAM, event_stream, first_then_rest, unless_client_leaves
from app.errors import FootnoteError, PreviousResponseNotFound, UnsupportedParameter
from app.store import responses, vector_stores
from app.store.answers import days_kept
from app.store.attachments import file_ids
from app.types import Answer, Collection, Message

logger = logging.getLogger(__name__)
router = APIRouter()


@router.post("/responses", response_model=None, responses={**NOT_FOUND, **TOO_MANY, **OR_A_STREAM})
async def respond(body: ResponseIn, request: Request, services: ServicesDep) -> Response:
    """An answer from the vector stores of `file_search`, or from the collection that the model's name picks.

    With vector stores any model's name will do: they say where to look. The first one's prompt and settings count.
    """
    body.check()
    tool = body.file_search()
    with named_fields():
        said = body.messages()
    text, history = split_question(said, param="input")
    if body.instructions:
        history = (Message("system", body.instructions), *history)
    if body.previous_response_id is not None:
        history = (*await run_in_threadpool(_said_before, services, body.previous_response_id), *history)
    collections = await run_in_threadpool(_collections, services, body.model, tool)
    search = FileSearch(
        services,
        collections,
        filters=tool.filters if tool else None,
        most=tool.max_num_results if tool else None,
        score_threshold=tool.score_threshold if tool else None,
    )
    question = AskRequest(
        question=text,
        history=history,
        sampling=body.sampling(),
        search=search,
        streamed=bool(body.stream),
        strategy=body.strategy,
        is_kept=body.is_kept,
    )
    is_kept = body.is_kept and days_kept(collections[0].settings) > 0
    response = ResponseObject.begin(body, search, is_kept=is_kept)
    shelf = _Shelf(services, response, said)
    if body.stream:
        events = await unless_client_leaves(
            request, first_then_rest(services.answerer.ask(question, collection=collections[0]))
        )
        return event_stream(_encoded(events, response, shelf))
    answer = await unless_client_leaves(request, services.answerer.answer(question, collection=collections[0]))
    await shelf.keep(answer)
    return JSONResponse(response.whole(answer, answer.passages))


@router.get("/responses/{response_id}", response_model=None, responses=NOT_FOUND)
def read_response(
    response_id: str, services: ServicesDep, stream: bool = False, starting_after: int | None = None
) -> dict[str, Any]:
    """A response that was kept. What it quoted of a document that is deleted since is no longer in it."""
    if stream or starting_after is not None:
        raise UnsupportedParameter("A response that is over is read as a whole.", param="stream")
    with services.core.database.read() as connection:
        stored = responses.get_response(connection, response_id)
        files = file_ids(connection, {citation.document_id for citation in stored.answer.answer.citations})
    return restored(stored, files)


@router.delete("/responses/{response_id}", responses=NOT_FOUND)
def delete_response(response_id: str, services: ServicesDep) -> Deleted:
    """With its answer. What continues it no longer knows of it."""
    with services.core.database.write() as connection:
        responses.delete_response(connection, response_id)
    return Deleted(id=response_id, object="response")


class _Shelf:
    """Where a response is kept, before its client is told that it is complete."""

    def __init__(self, services: Services, response: ResponseObject, said: Sequence[Message]) -> None:
        self._services = services
        self._response = response
        self._said = said

    async def keep(self, answer: Answer, error: FootnoteError | None = None) -> None:
        """Unless it is not to be kept; an answer that was given is not lost because it cannot be."""
        if not self._response.head.is_kept:
            return
        await self._services.answerer.archive.settle()  # its answer is written first
        try:
            is_kept = await run_in_threadpool(self._store, answer, error)
        except Exception:
            logger.exception("the response %s was given, but could not be kept", self._response.head.id)
            is_kept = False
        if not is_kept:
            self._response.forget()

    def _store(self, answer: Answer, error: FootnoteError | None) -> bool:
        with self._services.core.database.write() as connection:
            return responses.store_response(connection, self._response.kept(answer, self._said, error), answer.id)


def _said_before(services: Services, response_id: str) -> tuple[Message, ...]:
    """Raises `PreviousResponseNotFound`."""
    with services.core.database.read() as connection:
        found = responses.exchanges(connection, response_id)
    if not found:
        raise PreviousResponseNotFound(
            f"Previous response with id {response_id!r} not found.", param="previous_response_id"
        )
    return messages_of_exchanges(found)


async def _encoded(
    events: AsyncGenerator[Event, None], response: ResponseObject, shelf: _Shelf
) -> AsyncGenerator[bytes, None]:
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
                        await shelf.keep(answer)
                        for each in response.done(answer):
                            yield _encode(each)
                    case Failed(error, so_far):
                        await shelf.keep(so_far, error)
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
