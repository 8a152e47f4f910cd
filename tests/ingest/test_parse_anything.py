"""Whatever the bytes are, a parser finds text or says in its own words why not."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

import pytest
import sample_files as files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import IngestionError, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import PARSERS, parse
from ingest.sections import assemble

SAMPLES: dict[MediaType, bytes] = {
    MediaType.PDF: files.pdf([["Leave", "Fifteen days."], ["Until March."]], outline=[(0, 0, "Leave")], title="T"),
    MediaType.DOCX: files.word(lambda document: document.add_heading("Leave", 1) and document.add_table(2, 2)),
    MediaType.PPTX: files.slides(files.small_slides),
    MediaType.XLSX: files.workbook(lambda workbook: workbook.active.append(["Leave", 0.15])),
    MediaType.ODT: files.open_text("<text:h>Leave</text:h><text:p>Fifteen <text:s text:c='2'/>days.</text:p>"),
    MediaType.EPUB: files.book({"one.xhtml": "<h1>Leave</h1><p>Fifteen days."}),
    MediaType.EML: b"From: a@b.c\nSubject: =?utf-8?q?Leave?=\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nHi\n"
    b"--x\nContent-Type: text/csv; name=a.csv\nContent-Transfer-Encoding: base64\n\nYSxiCjEsMg==\n--x--\n",
    MediaType.CSV: b'name,days\n"Leave",15\n"a\nb",',
    MediaType.TSV: b"name\tdays\nLeave\t15\n",
    MediaType.JSON: b'{"Leave": {"days": 15, "of": [{"a": 1.50}, null, [true, []]]}, "x": "\\u0041"}',
    MediaType.JSON_LINES: b'{"Leave": 15}\n{"a": [1, 2]}\n',
    MediaType.HTML: b"<title>T</title><h1>Leave</h1><p>Fifteen <b>days</b><table><tr><td>1<td>2</table><!-- x -->",
    MediaType.MARKDOWN: b"---\ntitle: T\n---\n# Leave\n\n**Fifteen** [days](u)\n\n| a | b |\n|--|--|\n```\ncode\n```\n",
    MediaType.TEXT: "Leave: fifteen days. 年假十五天。".encode(),
}


def try_parse(media_type: str, data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        try:
            parsed = parse(Path(file.name), media_type)
        except IngestionError:
            return
    text, spans = assemble(parsed.sections)
    assert text.encode()
    assert spans


@pytest.mark.parametrize("media_type", SAMPLES)
def test_samples(media_type: MediaType) -> None:
    """The samples that are mutated below can be read."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(SAMPLES[media_type])
        if media_type is not MediaType.DOCX:
            assert "Leave" in assemble(parse(Path(file.name), media_type).sections)[0]


@pytest.mark.parametrize("media_type", SAMPLES)
@given(data=st.binary(max_size=500))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_bytes(media_type: MediaType, data: bytes) -> None:
    """Random bytes raise nothing but the parsers' own errors."""
    try_parse(media_type, data)


@pytest.mark.parametrize("media_type", SAMPLES)
@given(
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=4)), max_size=20),
    cut=st.integers(0, 1 << 20),
)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_mutated_files(media_type: MediaType, changes: list[tuple[int, bytes]], cut: int) -> None:
    """A damaged file raises nothing but the parsers' own errors."""
    data = bytearray(SAMPLES[media_type])
    for at, patch in changes:
        at %= len(data)
        data[at : at + len(patch)] = patch
    if cut % 3 == 0:
        del data[cut % len(data) :]
    try_parse(media_type, bytes(data))


@pytest.mark.parametrize("error", [MemoryError, RecursionError, KeyError, AssertionError])
def test_any_exception(error: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever a library raises becomes an error that a person understands."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setitem(PARSERS, MediaType.TEXT, fail)  # type: ignore[arg-type]
    with pytest.raises(IngestionError, match=r"memory|deeply|damaged"):
        parse(tmp_path / "x", MediaType.TEXT)


ZIPPED = [media_type for media_type in SAMPLES if SAMPLES[MediaType(media_type)].startswith(b"PK")]


@pytest.mark.parametrize("media_type", ZIPPED)
@given(
    which=st.integers(0, 100),
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=4)), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_mutated_members(media_type: MediaType, which: int, changes: list[tuple[int, bytes]]) -> None:
    """A whole archive with damage in one of its members raises nothing but the parsers' own errors."""
    with zipfile.ZipFile(io.BytesIO(SAMPLES[media_type])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[which % len(members)]
    data = bytearray(members[name])
    for at, patch in changes:
        at %= len(data) or 1
        data[at : at + len(patch)] = patch
    try_parse(media_type, files.archive({**members, name: bytes(data)}))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


@given(VALUES)
def test_any_json(value: object) -> None:
    """Whatever is valid JSON can be read, if there is any text in it."""
    try_parse(MediaType.JSON, json.dumps(value).encode())


def test_unknown_media_type(tmp_path: Path) -> None:
    """A media type without a parser is refused with the list of those that have one."""
    with pytest.raises(UnreadableDocument, match="PDF, DOCX"):
        parse(tmp_path / "x", "image/gif")
