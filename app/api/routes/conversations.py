"""Conversations: list, create, read, rename, export and delete them."""

from __future__ import annotations

import re
import secrets
import time
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND, ErrorResponse
from app.api.schemas.conversations import (
    ConversationChange,
    ConversationIn,
    ConversationOut,
    ConversationsOut,
    ConversationWithTurns,
)
from app.api.schemas.wire import CollectionName
from app.api.transcript import ExportFormat, to_markdown
from app.errors import InvalidRequest
from app.store import conversations
from app.store.collections import get_collection

router = APIRouter(prefix="/conversations", tags=["conversations"])

_CURSOR = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)~(.{1,255})", re.DOTALL)
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"model": ErrorResponse, "description": "It exists already"}}


@router.post("", status_code=201, responses={**NOT_FOUND, **_CONFLICT})
def create_conversation(body: ConversationIn, services: ServicesDep) -> ConversationOut:
    """An empty conversation; `POST /ask` with an id that is not known begins one as well."""
    conversation_id = body.id or f"cnv_{secrets.token_hex(12)}"
    with services.core.database.write() as connection:
        collection = get_collection(connection, body.collection)
        created = conversations.create_conversation(
            connection, conversation_id, collection.id, body.title or "", time.time()
        )
    return ConversationOut.of(created)


@router.get("", responses=NOT_FOUND)
def list_conversations(
    services: ServicesDep,
    collection: CollectionName | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> ConversationsOut:
    """The last used first."""
    with services.core.database.read() as connection:
        found = conversations.list_conversations(
            connection,
            collection_id=None if collection is None else get_collection(connection, collection).id,
            limit=limit + 1,
            after=_decode_cursor(cursor),
        )
    page = found[:limit]
    last = page[-1] if len(found) > limit else None
    next_cursor = f"{last.updated_at.timestamp():.6f}~{last.id}" if last else None
    return ConversationsOut(conversations=[ConversationOut.of(each) for each in page], next_cursor=next_cursor)


@router.get("/{conversation_id}", responses=NOT_FOUND)
def read_conversation(
    conversation_id: str,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[int, Query(ge=0)] = 0,
) -> ConversationWithTurns:
    """Its turns in their order."""
    with services.core.database.read() as connection:
        found = conversations.get_conversation(connection, conversation_id)
        turns = conversations.read_turns(connection, conversation_id, after=cursor, limit=limit + 1)
    next_cursor = str(turns[limit - 1].turn) if len(turns) > limit else None
    return ConversationWithTurns.page(found, turns[:limit], next_cursor)


@router.get("/{conversation_id}/export", response_class=Response, responses=NOT_FOUND)
def export_conversation(
    conversation_id: str, services: ServicesDep, format: ExportFormat = ExportFormat.MARKDOWN
) -> Response:
    """All of it as a file: JSON, or Markdown with footnotes."""
    with services.core.database.read() as connection:
        found = conversations.get_conversation(connection, conversation_id)
        turns = conversations.read_turns(connection, conversation_id)
    if format is ExportFormat.JSON:
        content = ConversationWithTurns.page(found, turns, None).model_dump_json(indent=2)
    else:
        content = to_markdown(found, turns)
    name = quote(f"{conversation_id}.{'json' if format is ExportFormat.JSON else 'md'}", safe="")
    return Response(
        content.encode("utf-8", "replace"),
        media_type="application/json" if format is ExportFormat.JSON else "text/markdown; charset=utf-8",
        headers={"Content-Disposition": f"attachment; filename*=utf-8''{name}", "X-Content-Type-Options": "nosniff"},
    )


@router.patch("/{conversation_id}", responses=NOT_FOUND)
def rename_conversation(conversation_id: str, body: ConversationChange, services: ServicesDep) -> ConversationOut:
    """Give it another title."""
    with services.core.database.write() as connection:
        return ConversationOut.of(conversations.rename_conversation(connection, conversation_id, body.title))


@router.delete("/{conversation_id}", status_code=204, response_class=Response, responses=NOT_FOUND)
async def delete_conversation(conversation_id: str, services: ServicesDep) -> Response:
    """With its turns, and what was said of them. An answer that is on its way is not kept."""
    await services.answerer.forget(conversation_id)
    return Response(status_code=204)


def _decode_cursor(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequest("The cursor is not one of ours.", param="cursor")
    return float(match[1]), match[2]
