"""Pages of rows, oldest or newest first, from behind or before one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, select, tuple_

from app.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which rows are wanted. `after` and `before` are ids; with both, what lies between."""

    limit: int
    newest_first: bool = True
    after: str | None = None
    before: str | None = None


def read_page(connection: Connection, query: Select[Any], page: PageQuery) -> tuple[list[Row[Any]], bool]:
    """The rows of a query with columns `id` and `created_at`, and whether more follow in the direction asked for.

    Raises `InvalidRequest` for a cursor that is not among them.
    """
    entries = query.subquery()
    key = tuple_(entries.c.created_at, entries.c.id)
    wanted = select(entries)
    for name, cursor, is_behind in (("after", page.after, True), ("before", page.before, False)):
        if cursor is not None:
            found = connection.execute(select(entries.c.created_at).where(entries.c.id == cursor)).one_or_none()
            if found is None:
                raise InvalidRequest(f"There is no {cursor!r} in this list.", param=name)
            limit = tuple_(found.created_at, cursor)
            wanted = wanted.where(key < limit if page.newest_first is is_behind else key > limit)
    # The page that ends just before a row is read backwards, from that row on.
    is_backwards = page.before is not None and page.after is None
    descending = page.newest_first is not is_backwards
    columns = (entries.c.created_at, entries.c.id)
    ordered = wanted.order_by(*(column.desc() if descending else column.asc() for column in columns))
    rows = list(connection.execute(ordered.limit(page.limit + 1)))
    kept = rows[: page.limit]
    return (kept[::-1] if is_backwards else kept), len(rows) > page.limit
