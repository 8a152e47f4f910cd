"""JSON and JSON Lines as text: keys as paths, records as lines, numbers as they are written."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DocumentTooExpensive, EmptyDocument, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import Limits, Parsed

Read = Callable[..., Parsed]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(data: str | bytes, limits: Limits | None = None) -> Parsed:
        path = tmp_path / "file.json"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return parse(path, MediaType.JSON, limits)

    return read


def test_paths(read: Read) -> None:
    """Each value is a line with its path; a list of plain values is one line, a record of a list another."""
    text = (
        read(
            '{"name": "Lee", "address": {"city": "柏林", "zip": null}, "tags": ["a", true, 1.50],'
            ' "orders": [{"id": 5, "of": {"total": 9.90}}, {"id": 6, "items": [1, 2]}], "empty": {}}'
        )
        .sections[0]
        .text
    )
    assert text == (
        "- name: Lee\n- address.city: 柏林\n- address.zip: null\n- tags: a, true, 1.50\n"
        "orders[0]: id: 5 | of.total: 9.90\norders[1]: id: 6 | items: 1, 2"
    )


def test_numbers_are_exact(read: Read) -> None:
    """A number keeps all of its digits, however many there are."""
    digits = "1234567890" * 1000
    text = read(f'{{"big": {digits}, "fine": 0.1000000000000000055511151231257827, "e": 1E400}}').sections[0].text
    assert text == f"- big: {digits}\n- fine: 0.1000000000000000055511151231257827\n- e: 1E400"


def test_large_objects_are_sections(read: Read) -> None:
    """What is long stands under its key as a heading, to a few levels; what is short stays with the rest."""
    long = {f"key{number}": "value " * 20 for number in range(9)}
    sections = read(json.dumps({"server": long, "name": "x", "a": {"b": {"c": {"d": long}}}})).sections
    assert [section.headings for section in sections] == [
        *((), ("server",), ("a",), ("a", "b"), ("a", "b", "c")),
    ]
    assert sections[0].text == "- name: x"
    assert sections[1].text.startswith("server\n\n- key0: value")
    assert sections[-1].text.startswith("c\n\n- d.key0: value")


def test_records(read: Read) -> None:
    """A list of records has a line for each; a long record has a line for each of its values."""
    short = [{"name": "Lee", "days": 15}, {"name": "Kim", "days": 20}]
    assert read(json.dumps(short)).sections[0].text == "name: Lee | days: 15\nname: Kim | days: 20"
    long = [{"name": "Lee", "text": "word " * 300}, {"name": "Kim"}]
    assert read(json.dumps(long)).sections[0].text.startswith("- name: Lee\n- text: word word")
    assert read(json.dumps(long)).sections[0].text.endswith("\n\n- name: Kim")


def test_json_lines(read: Read) -> None:
    """Each line is a record, whatever the file is called; a line that is none is told of."""
    parsed = read('\ufeff{"a": 1}\r\n\n{"a": "x\u2028y"}\n{"a": \n[1, 2]\n')
    assert parsed.sections[0].text == "- a: 1\n- a: x\u2028y\n- 1, 2"
    assert parsed.warnings == ("Line 4 is not JSON (Expecting value); it was left out.",)


def test_refusals(read: Read) -> None:
    """What is no JSON, what is nested without end, and what would be endless text are clear failures."""
    with pytest.raises(UnreadableDocument, match=r"not JSON: .*, line 2\."):
        read('{"a": 1,\n b}')
    with pytest.raises(UnreadableDocument, match="not JSON"):
        read("Dear all,\n\nplain words.")
    for nested in ("[" * 100_000 + "]" * 100_000, '{"a":' * 300 + "1" + "}" * 300):
        with pytest.raises(UnreadableDocument, match="nested too deeply"):
            read(nested)
    key = "k" * 2000
    with pytest.raises(DocumentTooExpensive):
        read(json.dumps({"a": {"b": {"c": {key: {str(number): 0 for number in range(100)}}}}}), Limits(10, 100_000))
    with pytest.raises(EmptyDocument):
        read("{}")


TEXTS = st.text(alphabet="abc中 ", min_size=1, max_size=5).map(str.strip).filter(bool)
VALUES = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=20
)


@given(VALUES)
def test_no_value_is_lost(value: object) -> None:
    """Every text that a document holds can be found in what was read."""
    leaves: list[str] = []
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            leaves.append(each)
        else:
            pending.extend(each.values() if isinstance(each, dict) else each)  # type: ignore[attr-defined]
    with tempfile.NamedTemporaryFile("w") as file:
        json.dump(value, file)
        file.flush()
        try:
            sections = parse(Path(file.name), MediaType.JSON).sections
        except EmptyDocument:
            assert not leaves
            return
    text = "\n".join(section.text for section in sections)
    assert all(leaf in text for leaf in leaves)
