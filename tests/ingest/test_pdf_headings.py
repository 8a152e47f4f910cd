"""Headings that only their print tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from printed import drawn
from reportlab.pdfgen.canvas import Canvas

from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import Parsed

PROSE = "The committee met in spring and went through the accounts of the year before it"
Printed = tuple[str, str, float]  # a line, its font, and its size


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Parsed]:
    def read(*pages: list[Printed], bookmark: str | None = None) -> Parsed:
        def page(lines: list[Printed]) -> Callable[[Canvas], None]:
            def draw(canvas: Canvas) -> None:
                if bookmark and canvas.getPageNumber() == 1:
                    canvas.bookmarkPage(bookmark)
                    canvas.addOutlineEntry(bookmark, bookmark)
                y = 780.0
                for line, font, size in lines:
                    canvas.setFont(font, size)
                    canvas.drawString(72, y, line)
                    y -= 1.3 * size

            return draw

        path = tmp_path / "file.pdf"
        path.write_bytes(drawn(*map(page, pages)))
        return parse(path, MediaType.PDF)

    return read


def plain(*lines: str) -> list[Printed]:
    return [(line, "Times-Roman", 11) for line in lines]


def bold(*lines: str, size: float = 11) -> list[Printed]:
    return [(line, "Times-Bold", size) for line in lines]


def prose(count: int = 6) -> list[Printed]:
    return plain(*[f"{PROSE} {number}." for number in range(count)])


def paths(parsed: Parsed) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(section.headings for section in parsed.sections))


def test_sizes_and_weights(read) -> None:  # type: ignore[no-untyped-def]
    """Larger lines and bold ones are headings, the larger over the smaller, and go on to the next page."""
    first = [*bold("Yearly report", size=18), *prose(), *bold("Income"), *prose()]
    parsed = read(first, [*prose(), *bold("Costs"), *prose(), *bold("Outlook", size=18), *prose()])
    assert paths(parsed) == [
        ("Yearly report",),
        ("Yearly report", "Income"),
        ("Yearly report", "Costs"),
        ("Outlook",),
    ]
    assert [section.page for section in parsed.sections if section.headings[-1] == "Income"] == [1, 2]


def test_text_is_kept(read) -> None:  # type: ignore[no-untyped-def]
    """A heading's line opens its section; no line is lost or doubled."""
    parsed = read([*prose(2), *bold("Income"), *prose(3)])
    text = "\n".join(section.text for section in parsed.sections)
    assert parsed.sections[-1].text.startswith("Income\n")
    assert text.count("Income") == 1
    assert text.count("The committee") == 5


def test_title_of_several_lines(read) -> None:  # type: ignore[no-untyped-def]
    """Lines of one print that follow each other are one title."""
    parsed = read([*prose(), *bold("Consolidated statements", "of cash flows"), *prose()])
    assert paths(parsed)[-1] == ("Consolidated statements of cash flows",)


@pytest.mark.parametrize(
    "line",
    [
        "This is said once more, and louder than the rest.",
        "in bold letters within a sentence",
        "• An item of a list",
        "(in thousands of euros)",
        "2023 2022",
        "12",
        "Chapter one . . . . . . . . . . 7",
    ],
)
def test_no_headings(read, line: str) -> None:  # type: ignore[no-untyped-def]
    """Bold sentences, items, units and numbers are no headings."""
    assert paths(read([*prose(), *bold(line), *prose()])) == [()]


def test_emphasis(read) -> None:  # type: ignore[no-untyped-def]
    """A line of a paragraph that happens to be bold is no heading, and its sentence stays whole."""
    before = plain(*[f"{PROSE} {number}" for number in range(6)])
    parsed = read(
        [*before, *bold("Emphasis May Fill A Whole Line Of A Sentence That Goes On With More"), *plain("words.")]
    )
    assert paths(parsed) == [()]
    assert "year before it 5 Emphasis May" in " ".join(section.text for section in parsed.sections)


def test_rows_of_a_table(tmp_path: Path) -> None:
    """What is bold in a table, such as its sums, is no heading."""
    rows = [("Sales", "10"), ("Rents", "20"), ("Total", "30"), ("Wages", "12"), ("Taxes", "5"), ("Total", "17")]

    def draw(canvas: Canvas) -> None:
        for at, line in enumerate(prose()):
            canvas.setFont(line[1], line[2])
            canvas.drawString(72, 780 - 14 * at, line[0])
        for at, (name, amount) in enumerate(rows):
            canvas.setFont("Times-Bold" if name == "Total" else "Times-Roman", 11)
            canvas.drawString(72, 640 - 14 * at, name)
            canvas.drawString(300, 640 - 14 * at, amount)
            canvas.drawString(400, 640 - 14 * at, amount)

    path = tmp_path / "table.pdf"
    path.write_bytes(drawn(draw))
    assert paths(parse(path, MediaType.PDF)) == [()]


def test_all_bold(read) -> None:  # type: ignore[no-untyped-def]
    """Where most of the text is bold, bold is the text's own print."""
    assert paths(read([(line, "Times-Bold", size) for line, _, size in prose(20)])) == [()]


def test_outline_first(read) -> None:  # type: ignore[no-untyped-def]
    """A document's own outline names its headings; then the print does not count."""
    assert paths(read([*bold("Income"), *prose(), *bold("Costs"), *prose()], bookmark="Income")) == [("Income",)]


def test_outline_of_chapters(read) -> None:  # type: ignore[no-untyped-def]
    """Under the few chapters that an outline names, the print tells the headings."""
    first = [*bold("Accounts", size=18), *prose(), *bold("Income"), *prose()]
    parsed = read(first, *[[*bold(f"Section {number}"), *prose()] for number in range(6)], bookmark="Accounts")
    assert paths(parsed)[:3] == [("Accounts",), ("Accounts", "Income"), ("Accounts", "Section 0")]
