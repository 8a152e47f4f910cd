"""Whatever the bytes are, a parser finds text or says in its own words why not."""

from __future__ import annotations

import tempfile
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


def test_unknown_media_type(tmp_path: Path) -> None:
    """A media type without a parser is refused with the list of those that have one."""
    with pytest.raises(UnreadableDocument, match="PDF, DOCX"):
        parse(tmp_path / "x", "image/gif")
