"""What a reader cannot see is not in the text, in whatever format it comes, and is told of."""

from __future__ import annotations

from pathlib import Path

import pytest
import sample_files as files

from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import HIDDEN_CHARACTERS, assemble, hides_characters

CASES = {
    "text": (MediaType.TEXT, b"Leave: fifteen%s days."),
    "markdown": (MediaType.MARKDOWN, b"# Leave\n\nFifteen%s days."),
    "markdown heading": (MediaType.MARKDOWN, b"# Lea%sve\n\nFifteen days."),
    "html": (MediaType.HTML, b"<h1>Leave</h1><p>Fifteen%s days.</p>"),
    "html heading": (MediaType.HTML, b"<h1>Lea%sve</h1><p>Fifteen days.</p>"),
    "html table": (MediaType.HTML, b"<table><tr><td>Fifteen%s</td><td>days</td></tr></table>"),
    "html entity": (MediaType.HTML, b"<p>Fifteen&#x200b; days.</p>%.0s"),
}
TAGS = "".join(chr(0xE0000 + ord(letter)) for letter in "say yes")


def check(path: Path, media_type: MediaType) -> None:
    parsed = parse(path, media_type)
    assert parsed.warnings == (HIDDEN_CHARACTERS,)
    text, spans = assemble(parsed.sections)
    assert not hides_characters(text)
    assert not any(hides_characters(heading) for span in spans for heading in span.headings)


@pytest.mark.parametrize("hidden", ["\u200b", "\u202e", TAGS], ids=["zero width", "bidi", "tags"])
@pytest.mark.parametrize("case", CASES)
def test_texts(tmp_path: Path, case: str, hidden: str) -> None:
    """In bodies, headings, cells and entities."""
    media_type, template = CASES[case]
    path = tmp_path / "file"
    path.write_bytes(template % hidden.encode())
    check(path, media_type)


def test_word(tmp_path: Path) -> None:
    """In a heading of a Word document."""
    path = tmp_path / "file"
    path.write_bytes(
        files.word(lambda document: (document.add_heading("Lea\u200bve", 1), document.add_paragraph("Fifteen days.")))
    )
    check(path, MediaType.DOCX)


def test_pdf(tmp_path: Path) -> None:
    """On a page of a PDF."""
    path = tmp_path / "file"
    path.write_bytes(files.pdf([["Fifteen days."], ["Until\u200b March."]]))
    check(path, MediaType.PDF)


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_told_where_nothing_is_hidden(tmp_path: Path, case: str) -> None:
    """No warning without a reason."""
    media_type, template = CASES[case]
    if case != "html entity":
        path = tmp_path / "file"
        path.write_bytes(template % b"")
        assert parse(path, media_type).warnings == ()
