"""Mongo-style filters on documents, as SQL: `{"year": {"$gte": 2020}, "language": {"$in": ["en", "zh"]}}`.

A condition holds for a document when one of the values of its field meets it (a list has several). Fields are the
keys of the metadata, dotted for nested objects, and the document's own `document_id`, `external_id`, `filename` and
`media_type`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, not_, or_, select

from app.errors import InvalidFilter
from app.store.documents import typed_value
from app.store.tables import documents, metadata_values, versions

_DEEPEST = 8
# Far below what SQLite takes: an expression 1000 deep, 32,766 values.
_MOST_CONDITIONS = 200
_MOST_VALUES = 1000

_OWN_FIELDS: dict[str, ColumnElement[Any]] = {
    "document_id": documents.c.id,
    "external_id": documents.c.external_id,
    "filename": versions.c.filename,
    "media_type": versions.c.media_type,
}
_ORDERINGS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "$gt": lambda column, value: column > value,
    "$gte": lambda column, value: column >= value,
    "$lt": lambda column, value: column < value,
    "$lte": lambda column, value: column <= value,
}
_OPPOSITES = {"$ne": "$eq", "$nin": "$in"}


def compile_filter(connection: Connection, collection_id: str, filters: Mapping[str, Any]) -> ColumnElement[bool]:
    """A condition on `documents` joined with `versions`.

    Raises `InvalidFilter`: unknown operator, value of a wrong type, or a field that no document of the collection has.
    """
    compiler = _Compiler(connection, collection_id)
    return compiler.conjunction(filters, depth=0)


class _Compiler:
    def __init__(self, connection: Connection, collection_id: str) -> None:
        self._connection = connection
        self._collection_id = collection_id
        self._conditions = 0
        self._values = 0

    def conjunction(self, filters: Any, depth: int) -> ColumnElement[bool]:
        if not isinstance(filters, Mapping) or not filters:
            raise InvalidFilter("A filter is a JSON object with at least one field.", param="filters")
        if depth > _DEEPEST:
            raise InvalidFilter(f"A filter may be nested {_DEEPEST} deep.", param="filters")
        return and_(*(self._clause(key, value, depth) for key, value in filters.items()))

    def _clause(self, key: str, value: Any, depth: int) -> ColumnElement[bool]:
        if key in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise InvalidFilter(f"{key} takes a list of filters.", param="filters")
            parts = [self.conjunction(each, depth + 1) for each in value]
            return and_(*parts) if key == "$and" else or_(*parts)
        if key == "$not":
            return not_(self.conjunction(value, depth + 1))
        if key.startswith("$"):
            raise InvalidFilter(f"Unknown operator {key!r}.", param="filters")
        operators = value if isinstance(value, Mapping) else {"$eq": value}
        if not operators:
            raise InvalidFilter(f"The condition on {key!r} is empty.", param="filters")
        self._require_known(key)
        return and_(*(self._condition(key, operator, operand) for operator, operand in operators.items()))

    def _condition(self, key: str, operator: str, operand: Any) -> ColumnElement[bool]:
        if operator in _OPPOSITES:
            return not_(self._condition(key, _OPPOSITES[operator], operand))
        if operator == "$eq":
            return self._match(key, [operand], lambda column, values: column.in_(values))
        if operator == "$in":
            if not isinstance(operand, list):
                raise InvalidFilter(f"The condition on {key!r} takes a list of values.", param="filters")
            return self._match(key, operand, lambda column, values: column.in_(values))
        if operator in _ORDERINGS:
            if isinstance(operand, bool):
                raise InvalidFilter(f"{operator} compares strings or numbers.", param="filters")
            return self._match(key, [operand], lambda column, values: _ORDERINGS[operator](column, values[0]))
        known = ", ".join(["$eq", "$ne", "$in", "$nin", *_ORDERINGS])
        raise InvalidFilter(f"Unknown operator {operator!r}; known are {known}.", param="filters")

    def _match(
        self, key: str, operands: list[Any], compare: Callable[[Any, list[Any]], ColumnElement[bool]]
    ) -> ColumnElement[bool]:
        self._count(len(operands))
        values: dict[str, list[Any]] = {}
        for operand in operands:
            name, value = _typed(key, operand)
            values.setdefault(name, []).append(value)
        if key in _OWN_FIELDS:
            if values.keys() - {"text"}:
                raise InvalidFilter(f"{key!r} is compared with a string.", param="filters")
            return and_(_OWN_FIELDS[key].is_not(None), compare(_OWN_FIELDS[key], values.get("text", [])))
        return documents.c.id.in_(
            select(metadata_values.c.document_id).where(
                metadata_values.c.collection_id == self._collection_id,
                metadata_values.c.key == key,
                or_(false(), *(compare(metadata_values.c[name], typed) for name, typed in values.items())),
            )
        )

    def _count(self, values: int) -> None:
        self._conditions += 1
        self._values += values
        if self._conditions > _MOST_CONDITIONS or self._values > _MOST_VALUES:
            raise InvalidFilter(
                f"A filter may have at most {_MOST_CONDITIONS} conditions and {_MOST_VALUES} values.", param="filters"
            )

    def _require_known(self, key: str) -> None:
        if key in _OWN_FIELDS:
            return
        of_collection = metadata_values.c.collection_id == self._collection_id
        if self._connection.scalar(
            select(metadata_values.c.id).where(of_collection, metadata_values.c.key == key).limit(1)
        ):
            return
        keys = self._connection.scalars(
            select(metadata_values.c.key).where(of_collection).distinct().order_by(metadata_values.c.key).limit(50)
        )
        raise InvalidFilter(
            f"No document of this collection has a field {key!r}; known are {', '.join([*_OWN_FIELDS, *keys])}.",
            param="filters",
        )


def _typed(key: str, operand: Any) -> tuple[str, str | float | bool]:
    """The column of the operand's type, and its value there."""
    if not isinstance(operand, str | int | float | bool):
        raise InvalidFilter(f"{key!r} can be compared with a string, a number or a boolean.", param="filters")
    try:
        name, value = next((name, value) for name, value in typed_value(operand).items() if value is not None)
    except OverflowError:
        name, value = "number", math.inf
    if name == "number" and not math.isfinite(float(value)):
        raise InvalidFilter("A number in a filter must be finite.", param="filters")
    return name, value
