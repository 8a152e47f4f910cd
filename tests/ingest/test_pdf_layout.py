"""What stands where on a PDF's page: columns, tables, headers and footers, turned pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sample_files as files
from printed import WIDTH, drawn, write
from reportlab.pdfgen.canvas import Canvas

from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import Parsed, assemble

LEFT = [
    "The left column holds the beginning of",
    "the text, and each of its lines is about as",
    "wide as the column, which is what tells",
    "running text from the cells of a table.",
    "It ends with a word that goes on in inter-",
]
RIGHT = [
    "national spelling at the top of the right",
    "column, where the reader goes on after he",
    "has come to the end of the left one, and",
    "not before, because no line of one column",
    "belongs to the line beside it.",
]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], Parsed]:
    def read(data: bytes) -> Parsed:
        path = tmp_path / "file.pdf"
        path.write_bytes(data)
        return parse(path, MediaType.PDF)

    return read


def text_of(parsed: Parsed) -> str:
    return assemble(parsed.sections)[0]


def test_columns_below_a_table(read) -> None:  # type: ignore[no-untyped-def]
    """A table over the left column does not make cells of columns whose justified lines have wide gaps."""

    def draw(canvas: Canvas) -> None:
        write(canvas, ["Leave of each grade"], size=14)
        for at, row in enumerate([("Grade", "Days"), ("Junior", "15"), ("Senior", "20"), ("Chief", "25")]):
            write(canvas, [row[0]], y=730 - 14 * at)
            write(canvas, [row[1]], x=130, y=730 - 14 * at)
        for lines, x in ((LEFT, 72), (RIGHT, 320)):
            for at, line in enumerate(lines * 2):
                half = len(line) // 2 if at % 3 == 1 else len(line)  # each half a line of its own
                write(canvas, [line[:half]], x=x, y=650 - 14 * at)
                write(canvas, [line[half:]], x=x + 125, y=650 - 14 * at)
        write(canvas, ["1 A note below the left column"], y=480, size=8)

    text = text_of(read(drawn(draw)))
    table, columns = text.split("Chief | 25")
    assert "Junior | 15\nSenior | 20\n" in table
    assert columns.rindex("running text") < columns.index("at the top of")
    assert "|" not in columns


@pytest.mark.parametrize("row_by_row", [False, True], ids=["column by column", "row by row"])
def test_columns(read, row_by_row: bool) -> None:  # type: ignore[no-untyped-def]
    """Columns are read one after the other, in whatever order the file draws their lines."""

    def draw(canvas: Canvas) -> None:
        write(canvas, ["A title that runs across both of the columns, and is read before them"])
        if row_by_row:
            for at, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True)):
                write(canvas, [left], y=720 - 14 * at)
                write(canvas, [right], x=320, y=720 - 14 * at)
        else:
            write(canvas, LEFT, y=720)
            write(canvas, RIGHT, x=320, y=720)
        write(canvas, ["A short heading below"], y=600)

    text = text_of(read(drawn(draw)))
    assert "goes on in international spelling" in text
    assert text.index("A title") < text.index("left column") < text.index("beside it.") < text.index("A short heading")


def test_table_of_contents(read) -> None:  # type: ignore[no-untyped-def]
    """The entries of a table of contents in two columns stay lines, whatever their indent."""

    def draw(canvas: Canvas) -> None:
        for x, first in ((72, 0), (310, 10)):
            for at in range(10):
                indent = 14 * (at % 3)
                dots = "." * (60 - at % 3 * 4)
                write(
                    canvas, [f"Chapter {first + at:02} {dots} {first + at + 5}"], x=x + indent, y=760 - 14 * at, size=9
                )

    lines = text_of(read(drawn(draw))).split("\n")
    assert [line.split(" .")[0] for line in lines] == [f"Chapter {at:02}" for at in range(20)]


def test_table_without_lines(read) -> None:  # type: ignore[no-untyped-def]
    """Cells that stand under each other make a table; each of its rows is a line."""

    def draw(canvas: Canvas) -> None:
        write(canvas, ["The days of leave are these, by grade and year of service in the company:"])
        for at, row in enumerate([("Grade", "2023", "2024"), ("Junior", "15", "16"), ("Senior grade", "20", "")]):
            for column, cell in enumerate(row):
                write(canvas, [cell], x=72 + 120 * column, y=730 - 14 * at)
        write(canvas, ["After the table the text goes on as if there had been none."], y=660)

    assert text_of(read(drawn(draw))).split("\n") == [
        "The days of leave are these, by grade and year of service in the company:",
        "Grade | 2023 | 2024",
        "Junior | 15 | 16",
        "Senior grade | 20",
        "After the table the text goes on as if there had been none.",
    ]


def test_table_with_lines(read) -> None:  # type: ignore[no-untyped-def]
    """Where cells are drawn, the lines of one cell stay together, however narrow the columns are."""
    rows = [
        (["Grade"], ["Days"], ["Remark"]),
        (["Junior"], ["15"], ["from the first year", "on, by months"]),
        (["Head of", "department"], ["25"], ["agreed"]),
    ]

    def draw(canvas: Canvas) -> None:
        y = 760.0
        for row in rows:
            for column, cell in enumerate(row):
                canvas.rect(72 + 62 * column, y - 34, 62 if column < 2 else 130, 34)
                write(canvas, cell, x=74 + 62 * column, y=y - (12 if len(cell) > 1 else 20))
            y -= 34

    assert text_of(read(drawn(draw))).split("\n") == [
        "Grade | Days | Remark",
        "Junior | 15 | from the first year on, by months",
        "Head of department | 25 | agreed",
    ]


def test_long_table(read) -> None:  # type: ignore[no-untyped-def]
    """A long table is a section of its own that knows its header row."""
    rows = [("Region", "Sales"), *((f"Region number {n}", f"{n},100") for n in range(1, 12))]

    def draw(canvas: Canvas) -> None:
        write(canvas, ["Sales by region, in thousands."])
        for at, row in enumerate(rows):
            for column, cell in enumerate(row):
                write(canvas, [cell], x=72 + 200 * column, y=700 - 14 * at)

    before, table = read(drawn(draw)).sections
    assert (before.text, before.header) == ("Sales by region, in thousands.", "")
    assert table.header == "Region | Sales"
    assert table.text.split("\n") == [" | ".join(row) for row in rows]


def test_table_over_pages(read) -> None:  # type: ignore[no-untyped-def]
    """A table that goes on says its columns again on each page, and its rows stay rows; a header over it goes."""
    words = ["alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa", "theta"]
    titles = ("Region", "Manager", "Sales")

    def page(number: int) -> Callable[[Canvas], None]:
        def draw(canvas: Canvas) -> None:
            write(canvas, ["Report of the Society for Regions"], y=815, size=9)
            for at, row in enumerate(
                [titles, *((f"the {word}", f"Of {word}", f"{number}{at}") for at, word in enumerate(words))]
            ):
                for column, cell in enumerate(row):
                    write(canvas, [cell], x=72 + 150 * column, y=785 - 14 * at)

        return draw

    parsed = read(drawn(*map(page, range(3))))
    tables = [section for section in parsed.sections if section.header]
    assert [(section.page, section.header) for section in tables] == [
        (number, " | ".join(titles)) for number in (1, 2, 3)
    ]
    lines = text_of(parsed).split("\n")
    assert lines.count("Report of the Society for Regions") == 1
    assert [line for line in lines if line.startswith("the ")] == [
        f"the {word} | Of {word} | {number}{at}" for number in range(3) for at, word in enumerate(words)
    ]


def test_rows_at_the_end_of_a_page_stay_rows(read) -> None:  # type: ignore[no-untyped-def]
    """The first row of a page is not joined to the row that ends the page before, as a sentence would be."""

    def page(*names: str) -> Callable[[Canvas], None]:
        def draw(canvas: Canvas) -> None:
            for at, name in enumerate(names):
                for column, cell in enumerate((f"the {name} of it", f"by {name}", f"and to the {name}ern end of it")):
                    write(canvas, [cell], x=72 + 150 * column, y=700 - 14 * at)

        return draw

    lines = text_of(read(drawn(page("north", "south", "east"), page("west", "left", "right")))).split("\n")
    assert [line.count(" | ") for line in lines if line] == [2] * 6


def test_list_is_no_table(read) -> None:  # type: ignore[no-untyped-def]
    """Numbers that stand apart from their items do not make a table."""

    def draw(canvas: Canvas) -> None:
        for at in range(4):
            write(canvas, [f"{at + 1}."], y=760 - 14 * at)
            write(canvas, [f"Item that is number {at + 1} of the list"], x=100, y=760 - 14 * at)

    assert "|" not in text_of(read(drawn(draw)))


def test_headers_and_footers(read) -> None:  # type: ignore[no-untyped-def]
    """What repeats at the edge of pages stays once; page numbers go; numbers of chapters and years stay."""

    def page(number: int) -> Callable[[Canvas], None]:
        def draw(canvas: Canvas) -> None:
            write(canvas, ["Handbook of the Institute, 2026"], y=810, size=9)
            write(canvas, [f"Rule {number * 7}", f"The text of page {['one', 'two', 'three', 'four'][number]}."], y=760)
            write(canvas, [f"Page {number + 5} of 20"], x=WIDTH / 2, y=30, size=9)

        return draw

    parsed = read(drawn(*(page(number) for number in range(4))))
    text = text_of(parsed)
    assert text.count("Handbook of the Institute, 2026") == 1
    assert "of 20" not in text
    assert [section.text.split("\n")[-2:] for section in parsed.sections][1:] == [
        ["Rule 7", "The text of page two."],
        ["Rule 14", "The text of page three."],
        ["Rule 21", "The text of page four."],
    ]


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("sideways", [False, True], ids=["turned page", "turned text"])
def test_turned(read, degrees: int, sideways: bool) -> None:  # type: ignore[no-untyped-def]
    """A turned page, and text that is drawn sideways on an upright one, are read as on any page."""
    lines = ["The first line of a page that was turned goes on", "with the second line, which comes after it."]

    def draw(canvas: Canvas) -> None:
        if sideways:
            canvas.translate(300, 400)
            canvas.rotate(degrees)
            write(canvas, lines, x=-150, y=0)
        else:
            canvas.setPageRotation(degrees)
            write(canvas, lines)

    assert text_of(read(drawn(draw))) == " ".join(lines)


def test_margin(read) -> None:  # type: ignore[no-untyped-def]
    """A stamp that runs up the margin comes after the page, in one piece."""

    def draw(canvas: Canvas) -> None:
        write(canvas, LEFT[:3], x=120)
        canvas.rotate(90)
        write(canvas, ["arXiv:2312.16176v1 of December"], x=300, y=-40)

    assert text_of(read(drawn(draw))).split("\n")[-1] == "arXiv:2312.16176v1 of December"


def test_statement(read) -> None:  # type: ignore[no-untyped-def]
    """Signs of currency stay with their numbers; titles of columns belong to a table of which the rows are shaded."""
    rows = [(f"Item {n} of the statement", "$", f"{n},100", "$", f"{n},200") for n in range(1, 8)]

    def draw(canvas: Canvas) -> None:
        write(canvas, ["As of June 30,"], y=714)
        write(canvas, ["2024"], x=330, y=714)
        write(canvas, ["2023"], x=430, y=714)
        for at, row in enumerate(rows):
            for x, end, cell in zip((72, 300, 312, 400, 412), (300, 312, 400, 412, 500), row, strict=True):
                canvas.setFillGray(0.9 if at % 2 == 0 else 1)
                if at % 2 == 0:
                    canvas.rect(x, 696 - 14 * at, end - x, 14, stroke=0, fill=1)
                canvas.setFillGray(0)
                write(canvas, [cell], x=x + 2, y=700 - 14 * at)

    (table,) = read(drawn(draw)).sections
    assert table.header == "As of June 30, | 2024 | 2023"
    assert table.text.split("\n")[1:] == [f"{row[0]} | $ {row[2]} | $ {row[4]}" for row in rows]


def test_page_number_under_the_text(read) -> None:  # type: ignore[no-untyped-def]
    """A page number goes even where it follows the end of the text, wherever that is; other numbers stay."""

    def page(number: int) -> Callable[[Canvas], None]:
        def draw(canvas: Canvas) -> None:
            write(canvas, [f"Text of section {name}" for name in "abc"], y=700 - 90 * number)
            write(canvas, [str(number + 1)], x=WIDTH / 2, y=600 - 90 * number)

        return draw

    parsed = read(drawn(*(page(number) for number in range(4))))
    assert [section.text.split("\n")[-1] for section in parsed.sections] == ["Text of section c"] * 4


def test_more_characters_than_a_page_holds(read) -> None:  # type: ignore[no-untyped-def]
    """A page of very many characters is read in the order of the file, without looking for places."""

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 1)
        for at in range(700):
            canvas.drawString(10, 830 - at, f"line {at:03} " + "many small words " * 6)

    text = text_of(read(drawn(draw)))
    assert text.index("line 000") < text.index("line 350") < text.index("line 699")


def test_hidden_characters(read) -> None:  # type: ignore[no-untyped-def]
    """A person is told of characters that nobody sees."""
    parsed = read(files.pdf([["年假\u200b十五天，见第三条。"]]))
    assert text_of(parsed) == "年假十五天，见第三条。"
