"""Files and lists of anything, as OpenAI's clients send and read them."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, Self, TypeVar

from fastapi import Query
from pydantic import BaseModel

from app.store.files import File
from app.store.paging import PageQuery
from app.types import Document


class Listed(BaseModel):
    """What a list can hold."""

    id: str


T = TypeVar("T", bound=Listed)


class ListOut(BaseModel, Generic[T]):
    """A page; the next one begins `after` its `last_id`."""

    object: Literal["list"] = "list"
    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, data: list[T], has_more: bool) -> Self:
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return cls(data=data, first_id=first, last_id=last, has_more=has_more)


def page_query(
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
    before: str | None = None,
) -> PageQuery:
    """OpenAI's parameters of a list."""
    return PageQuery(limit, order == "desc", after, before)


class FileOut(Listed):
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, file: File) -> Self:
        return cls(
            id=file.id,
            bytes=file.bytes,
            created_at=int(file.created_at.timestamp()),
            filename=file.filename,
            purpose=file.purpose,
        )

    @classmethod
    def of_document(cls, document: Document) -> Self:
        """A document that was uploaded without a file is one of its own."""
        return cls(
            id=document.id,
            bytes=document.bytes,
            created_at=int(document.created_at.timestamp()),
            filename=document.filename,
            purpose="assistants",
        )


class Deleted(BaseModel):
    id: str
    object: str
    deleted: Literal[True] = True
