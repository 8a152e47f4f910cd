"""OpenAI's attribute filters, as ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from app.errors import InvalidFilter

_COMPARISONS = {name: f"${name}" for name in ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin")}
_COMPOUNDS = {name: f"${name}" for name in ("and", "or")}
_OWN_FIELDS = frozenset({"document_id", "external_id", "filename", "media_type"})
_DEEPEST = 6
# Every document has an id.
_ALL: dict[str, Any] = {"document_id": {"$nin": []}}
_NONE: dict[str, Any] = {"document_id": {"$in": []}}


def to_filters(filters: Mapping[str, Any], keys: Collection[str], depth: int = 0) -> dict[str, Any]:
    """A comparison `{"type": "eq", "key", "value"}` or a compound `{"type": "and", "filters"}` in our own words.

    `keys` are the attributes that any file has: with another one no file is equal, and every one unequal. (Our own
    filters take a key that nobody has for a mistake.) Raises `InvalidFilter`.
    """
    kind = filters.get("type")
    if depth > _DEEPEST:
        raise InvalidFilter(f"Filters may be nested {_DEEPEST} deep.", param="filters")
    if kind in _COMPOUNDS:
        parts = filters.get("filters")
        if not isinstance(parts, list) or not parts or not all(isinstance(part, Mapping) for part in parts):
            raise InvalidFilter(f"A filter of type {kind!r} has a list of `filters`.", param="filters")
        return {_COMPOUNDS[kind]: [to_filters(part, keys, depth + 1) for part in parts]}
    key = filters.get("key")
    if kind not in _COMPARISONS or not isinstance(key, str) or not key or "value" not in filters:
        known = ", ".join([*_COMPARISONS, *_COMPOUNDS])
        raise InvalidFilter(
            f"A filter has `type`, `key` and `value`, or `type` and `filters`; types are {known}.", param="filters"
        )
    if key not in keys and key not in _OWN_FIELDS:
        return _ALL if kind in ("ne", "nin") else _NONE
    return {key: {_COMPARISONS[kind]: filters["value"]}}
