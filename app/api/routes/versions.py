"""What becomes of a document after it was accepted: its progress as events, another try, and its versions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.sse import format_sse_event
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND, ErrorResponse, error_body
from app.api.receiving import revealed
from app.api.routes.search import find_collection
from app.api.schemas.documents import DocumentOut, RetryIn, VersionOut, VersionsOut
from app.api.schemas.wire import CollectionName
from app.api.streaming import SERVER_SENT_EVENT, event_stream
from app.errors import CollectionNotFound, Conflict, DocumentNotFound, FootnoteError
from app.store import deletions, documents, history, jobs
from app.store.collections import get_collection_by_id
from app.types import Document, DocumentStatus

router = APIRouter(tags=["documents"])

_POLL_SECONDS = 0.25
_OVERLAP_SECONDS = 2.0  # a transaction may have taken so long from its clock to its commit
_ENDS = (DocumentStatus.READY, DocumentStatus.FAILED)
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`document`, as `GET /documents/{id}` has it; `deleted`, with its `id`",
        "content": {"text/event-stream": SERVER_SENT_EVENT},
    }
}


@router.get("/documents/{document_id}/events", response_class=Response, responses={**NOT_FOUND, **_EVENTS})
async def follow_document(document_id: str, services: ServicesDep) -> Response:
    """Server-sent events: the document as it is, and as it goes on until it is ready, failed or deleted."""
    first = await run_in_threadpool(_read, services, document_id)
    return event_stream(_until_the_end(services, first))


@router.get("/events", response_class=Response, responses={**NOT_FOUND, **_EVENTS})
async def follow_collection(services: ServicesDep, collection: CollectionName = "default") -> Response:
    """Server-sent events: every document of the collection that comes, changes or goes from now on."""
    found = await find_collection(services, collection)
    return event_stream(_changes(services, found.id, time.time()))


@router.post(
    "/documents/{document_id}/retry",
    status_code=202,
    responses={**NOT_FOUND, 409: {"model": ErrorResponse, "description": "It has not failed"}},
)
def retry(document_id: str, services: ServicesDep, body: RetryIn | None = None) -> DocumentOut:
    """Try a failed document again, from the stage that failed; one that is encrypted needs its password once more."""
    password = revealed(body.password) if body else None
    with services.core.database.write() as connection:
        document = documents.get_document(connection, document_id)
        if document.status is not DocumentStatus.FAILED:
            raise Conflict(f"The document has not failed: it is {document.status.value}.")
        jobs.revive(connection, document.id, document.version, time.time(), password=password)
        return DocumentOut.of(documents.get_document(connection, document_id))


@router.get("/documents/{document_id}/versions", responses=NOT_FOUND)
def list_versions(document_id: str, services: ServicesDep) -> VersionsOut:
    """The version that answers, the one that is on its way, and the earlier ones that are kept: newest first."""
    with services.core.database.read() as connection:
        found = history.list_versions(connection, document_id)
    return VersionsOut(document_id=document_id, versions=[VersionOut.of(version) for version in found])


@router.post(
    "/documents/{document_id}/versions/{version}/restore",
    status_code=202,
    responses={**NOT_FOUND, 409: {"model": ErrorResponse, "description": "It is the one that answers"}},
)
def restore_version(document_id: str, version: int, services: ServicesDep) -> DocumentOut:
    """Go back to an earlier version, as a new one: nothing is parsed or embedded again."""
    with services.core.database.write() as connection:
        history.restore_version(connection, document_id, version, time.time())
        return DocumentOut.of(documents.get_document(connection, document_id))


async def _until_the_end(services: Services, document: Document) -> AsyncGenerator[bytes, None]:
    told: Document | None = None
    while True:
        if document != told:
            yield _encoded([document])
            told = document
        if document.status in _ENDS:
            return
        await asyncio.sleep(_POLL_SECONDS)
        try:
            document = await run_in_threadpool(_read, services, document.id)
        except DocumentNotFound:
            yield _deleted([document.id])
            return
        except FootnoteError as error:  # the database is out of reach
            yield _failed(error)
            return


async def _changes(services: Services, collection_id: str, since: float) -> AsyncGenerator[bytes, None]:
    told: dict[str, Document] = {}  # of the last moment: its changes may not all have been there to be seen
    gone: dict[str, float] = {}  # likewise
    while True:
        try:
            found, deleted = await run_in_threadpool(_changed, services, collection_id, since)
        except CollectionNotFound as error:
            yield _failed(error)
            return
        except FootnoteError:  # it may be back in a moment
            found, deleted = list(told.values()), gone
        if new := [document for document in found if told.get(document.id) != document]:
            yield _encoded(new)
        if lost := [document_id for document_id in deleted if document_id not in gone]:
            yield _deleted(lost)
        told, gone = {document.id: document for document in found}, deleted
        times = [*(document.updated_at.timestamp() for document in found), *deleted.values()]
        since = max([since, *(each - _OVERLAP_SECONDS for each in times)])
        await asyncio.sleep(_POLL_SECONDS)


def _read(services: Services, document_id: str) -> Document:
    with services.core.database.read() as connection:
        return documents.get_document(connection, document_id)


def _changed(services: Services, collection_id: str, since: float) -> tuple[list[Document], dict[str, float]]:
    with services.core.database.read() as connection:
        get_collection_by_id(connection, collection_id)
        changed = documents.changed_since(connection, collection_id, since)
        return changed, deletions.deleted_since(connection, collection_id, since)


def _encoded(changed: Sequence[Document]) -> bytes:
    return b"".join(
        format_sse_event(event="document", data_str=DocumentOut.of(document).model_dump_json()) for document in changed
    )


def _deleted(document_ids: Sequence[str]) -> bytes:
    return b"".join(
        format_sse_event(event="deleted", data_str=to_json({"id": document_id}).decode())
        for document_id in document_ids
    )


def _failed(error: FootnoteError) -> bytes:
    return format_sse_event(event="error", data_str=to_json(error_body(error)).decode())
