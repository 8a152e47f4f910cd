"""A document's title is part of what its chunks are found by, and of no quote."""

from __future__ import annotations

import pytest

from app.types import indexed_text, title_of
from tests.retrieval.shelves import Shelf


@pytest.mark.parametrize(
    ("filename", "title"),
    [
        ("BESTBUY_2023_10K.pdf", "BESTBUY 2023 10K"),
        ("年度报告.docx", "年度报告"),
        ("Minutes of May 3.5", "Minutes of May 3.5"),
        ("notes.tar.gz", "notes.tar"),
        ("untitled", ""),
        ("20231104-0012.pdf", ""),
        ("3f2a9c0e77b14d05a1.txt", ""),
    ],
)
def test_titles(filename: str, title: str) -> None:
    """A filename becomes words; one that is only numbers or a checksum says nothing."""
    assert title_of(filename) == title


def test_long_titles() -> None:
    """A title takes no more than a line, whatever the filename."""
    assert len(title_of("word " * 50)) == 100


def test_indexed_text() -> None:
    """Title and headings are one path; what is missing leaves no trace."""
    assert indexed_text("Report.pdf", ("A", "B"), "x | y", "text") == "Report > A > B\nx | y\ntext"
    assert indexed_text("untitled", (), "", "text") == "text"


def test_the_title_is_found(shelf: Shelf) -> None:
    """A chunk is found by the name of its document, which its text does not have."""
    shelf.put("Revenue rose by a tenth.", filename="Zephyr_annual_report.pdf")
    (passage, *_) = shelf.search("zephyr").passages
    assert passage.text == "Revenue rose by a tenth."
    assert passage.scores.lexical is not None
