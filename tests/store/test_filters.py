"""Filters on documents: what they find, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.errors import InvalidFilter
from app.store.collections import create_collection, get_collection
from app.store.filters import compile_filter
from app.store.tables import documents, versions
from tests.store.library import NOW, Library

SHELF: dict[str, dict[str, Any]] = {
    "a": {"year": 2019, "language": "en", "tags": ["sea", "storm"], "draft": True, "size": {"width": 3.5}},
    "b": {"year": 2020, "language": "zh", "tags": ["sea"], "draft": False, "size": {"width": 4}},
    "c": {"year": 2021, "language": "en", "tags": [], "mixed": [1, "one", True, None]},
    "d": {},
}


@pytest.fixture
def shelf(library: Library) -> Library:
    """Four documents, named by their external ids."""
    for name, metadata in SHELF.items():
        library.upload(f"Document {name}.", filename=f"{name}.txt", external_id=name, metadata=metadata)
    return library


def found(library: Library, filters: Any) -> str:
    with library.database.read() as connection:
        collection = get_collection(connection, "default")
        condition = compile_filter(connection, collection.id, filters)
        query = (
            select(documents.c.external_id)
            .join(versions, (versions.c.document_id == documents.c.id) & (versions.c.version == documents.c.version))
            .where(documents.c.collection_id == collection.id, condition)
            .order_by(documents.c.external_id)
        )
        return "".join(connection.scalars(query))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"year": 2020}, "b"),
        ({"year": {"$eq": 2020.0}}, "b"),
        ({"year": {"$gte": 2020}}, "bc"),
        ({"year": {"$gt": 2019, "$lt": 2021}}, "b"),
        ({"year": {"$lte": 2020}}, "ab"),
        ({"year": {"$ne": 2020}}, "acd"),
        ({"year": {"$in": [2019, 2021, "2020"]}}, "ac"),
        ({"year": {"$nin": [2019, 2021]}}, "bd"),
        ({"year": {"$in": []}}, ""),
        ({"year": {"$nin": []}}, "abcd"),
        ({"year": {"$in": list(range(1000, 2000))}}, ""),
        ({"year": {"$in": list(range(1020, 2020))}}, "a"),
        ({"year": "2020"}, ""),
        ({"language": "en", "year": {"$lt": 2020}}, "a"),
        ({"tags": "sea"}, "ab"),
        ({"tags": {"$in": ["storm", "sun"]}}, "a"),
        ({"tags": {"$nin": ["storm"]}}, "bcd"),
        ({"draft": True}, "a"),
        ({"draft": False}, "b"),
        ({"draft": 1}, ""),
        ({"size.width": {"$gt": 3.5}}, "b"),
        ({"mixed": 1}, "c"),
        ({"mixed": "one"}, "c"),
        ({"mixed": True}, "c"),
        ({"$or": [{"year": 2019}, {"language": "zh"}]}, "ab"),
        ({"$and": [{"tags": "sea"}, {"tags": "storm"}]}, "a"),
        ({"$not": {"language": "en"}}, "bd"),
        ({"$not": {"$or": [{"year": 2019}, {"year": {"$gt": 2020}}]}}, "bd"),
        ({"filename": "b.txt"}, "b"),
        ({"filename": {"$gte": "c"}}, "cd"),
        ({"external_id": {"$in": ["a", "d"]}}, "ad"),
        ({"media_type": "text/plain", "year": 2021}, "c"),
        ({"language": "en' OR '1'='1"}, ""),
        ({"language": {"$gte": "'; DROP TABLE documents; --"}}, "abc"),
        ({"year": 1e308}, ""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_filter_finds(shelf: Library, filters: dict[str, Any], expected: str) -> None:
    """A filter finds exactly the documents that meet it: by value and type, in lists and in nested objects."""
    assert found(shelf, filters) == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({}, "at least one field"),
        ([], "at least one field"),
        ({"yaer": 2020}, "no document of this collection has a field 'yaer'.*known are .*year"),
        ({"size": 3}, "'size'"),
        ({"year' OR 1=1 --": 1}, "has a field"),
        ({"year": {"$near": 1}}, "unknown operator '\\$near'"),
        ({"$where": "1"}, "unknown operator"),
        ({"year": {}}, "empty"),
        ({"year": None}, "compared with"),
        ({"year": [2020]}, "compared with"),
        ({"year": {"$gt": {"$gt": 1}}}, "compared with"),
        ({"year": {"$in": 2020}}, "takes a list"),
        ({"year": {"$in": list(range(1001))}}, "at most .* 1000 values"),
        ({"year": {"$in": [None]}}, "compared with"),
        ({"$and": {}}, "takes a list"),
        ({"$or": []}, "takes a list"),
        ({"$not": []}, "at least one field"),
        ({"filename": 1}, "with a string"),
        ({"year": math.nan}, "finite"),
        ({"year": math.inf}, "finite"),
        ({"year": 10**400}, "finite"),
        ({"$or": [{"year": number} for number in range(5000)]}, "at most 200 conditions"),
        ({"$and": [{"year": {"$in": list(range(900))}}] * 2}, "at most .* 1000 values"),
        ({"draft": {"$gt": False}}, "strings or numbers"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_filter_is_refused(shelf: Library, filters: Any, message: str) -> None:
    """What cannot be meant is refused with a message that says why, and the known fields where one is unknown."""
    with pytest.raises(InvalidFilter, match=f"(?i){message}"):
        found(shelf, filters)


def test_a_filter_may_not_be_bottomless(shelf: Library) -> None:
    """Deep nesting is refused before it costs anything."""
    filters: dict[str, Any] = {"year": 2020}
    for _ in range(9):
        filters = {"$not": filters}
    with pytest.raises(InvalidFilter, match="nested"):
        found(shelf, filters)


def test_a_filter_sees_its_own_collection_only(shelf: Library) -> None:
    """Fields and values of another collection do not exist here."""
    with shelf.database.write() as connection:
        create_collection(connection, "law", {}, NOW)
    shelf.upload("A law.", collection="law", metadata={"paragraph": 1, "year": 2020})
    assert found(shelf, {"year": 2020}) == "b"
    with pytest.raises(InvalidFilter, match="paragraph"):
        found(shelf, {"paragraph": 1})


_VALUES = st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.none(), st.just([1]))
_OPERATORS = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$regex", "", "year"])
_CONDITIONS = st.one_of(
    _VALUES, st.dictionaries(_OPERATORS, st.one_of(_VALUES, st.lists(_VALUES, max_size=3)), max_size=3)
)
_FIELDS = st.sampled_from(["year", "language", "tags", "draft", "size.width", "filename", "nothing"])
_FILTERS = st.recursive(
    st.dictionaries(_FIELDS, _CONDITIONS, max_size=3),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=8,
)


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filters=_FILTERS)
def test_any_filter_is_answered_or_refused(shelf: Library, filters: dict[str, Any]) -> None:
    """Whatever a client sends, a filter finds documents or is refused; and `$not` finds exactly the others."""
    try:
        inside = found(shelf, filters)
        outside = found(shelf, {"$not": filters})
    except InvalidFilter:
        return
    assert sorted(inside + outside) == list(SHELF)
