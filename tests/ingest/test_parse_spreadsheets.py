"""Workbooks and separated values: cells as people see them, tables with their headers, nothing that is hidden."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
import sample_files as files
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.chartsheet import Chartsheet

from app.errors import DocumentTooExpensive, EmptyDocument, EncryptedDocument, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import parse
from ingest.parsers.number_formats import BUILT_IN, NumberFormat
from ingest.sections import Limits, Parsed
from ingest.tables import join_cells, looks_like_header

Read = Callable[..., Parsed]


@pytest.fixture
def read_sheets(tmp_path: Path) -> Read:
    def read(data: bytes | Callable[[Any], object], limits: Limits | None = None) -> Parsed:
        path = tmp_path / "file.xlsx"
        path.write_bytes(data if isinstance(data, bytes) else files.workbook(data))
        return parse(path, MediaType.XLSX, limits)

    return read


@pytest.fixture
def read_csv(tmp_path: Path) -> Read:
    def read(data: str | bytes, limits: Limits | None = None) -> Parsed:
        path = tmp_path / "file.csv"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return parse(path, MediaType.CSV, limits)

    return read


def sheet_of(*rows: object) -> Callable[[Any], None]:
    def fill(workbook: Any) -> None:
        for row in rows:
            workbook.active.append(row)

    return fill


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [
        ("General", "0.30000000000000004", "0.3"),
        ("General", "12345678901234", "12345678901234"),
        ("0%", "0.15", "15%"),
        ("0.00%", "0.1234", "12.34%"),
        ('"$"#,##0.00', "1234567.891", "$1,234,567.89"),
        ("[$€-407] #,##0.00", "12.5", "€ 12.50"),
        ("¥#,##0", "-1000", "-¥1,000"),
        ('_($* #,##0.00_);_($* (#,##0.00);_($* "-"??_);_(@_)', "-1234.5", "$(1,234.50)"),
        ('_($* #,##0.00_);_($* (#,##0.00);_($* "-"??_);_(@_)', "0", "$-"),
        ('0.0,,"M"', "12500000", "12.5M"),
        ("0.00E+00", "12345", "1.23E+04"),
        ("# ?/?", "1.5", "1 1/2"),
        ("000-00-0000", "123456789", "123-45-6789"),
        ("00000", "123", "00123"),
        ("0.###", "2.50", "2.5"),
        ('0" kg"', "12", "12 kg"),
        ('[<1]0.00;[>=100]"many";0', "150", "many"),
        (";;;", "5", ""),
        ("yyyy-mm-dd", "45306", "2024-01-15"),
        ('yyyy"年"m"月"d"日";@', "45306", "2024年1月15日"),
        ("[$-409]d-mmm-yy;@", "45306", "15-Jan-24"),
        ("dddd, mmmm d", "45306", "Monday, January 15"),
        ("aaaa", "45306", "星期一"),
        ("m/d/yyyy h:mm", "45306.999999", "1/16/2024 0:00"),
        ("h:mm AM/PM", "0.75", "6:00 PM"),
        ("[h]:mm", "1.5", "36:00"),
        ("mm:ss.0", "0.0005", "00:43.2"),
        ("yyyy-mm-dd", "-5", "-5"),
        ("0", "no number", "no number"),
    ],
)
def test_number_formats(code: str, value: str, shown: str) -> None:
    """A number is shown as its cell's format shows it, with its unit."""
    assert NumberFormat(code).number(value) == shown


def test_calendars() -> None:
    """Days before March 1900, and workbooks that count from 1904, have their own dates."""
    assert NumberFormat("yyyy-mm-dd").number("1") == "1900-01-01"
    assert NumberFormat("yyyy-mm-dd", epoch_1904=True).number("0") == "1904-01-01"


@given(st.text(alphabet='0#?.,%/@;E+-"\\_*[$]<>= ymdhsa', max_size=30), st.floats())
def test_any_number_format(code: str, value: float) -> None:
    """No format code and no number is too strange."""
    for each in (code, *BUILT_IN.values()):
        assert isinstance(NumberFormat(each).number(repr(value)), str)


def test_cells_as_people_see_them(read_sheets: Read) -> None:
    """Percentages, currencies, dates, times, booleans, errors and texts stand as they are shown."""

    def fill(workbook: Any) -> None:
        workbook.properties.title = "Figures"
        sheet = workbook.active
        sheet.title = "Prices 2024"
        sheet.append(["What", "Value"])
        for value, code in (
            (0.19, "0%"), (1234.5, '#,##0.00 "€"'), (date(2024, 1, 15), "dd.mm.yyyy"), (time(9, 30), "h:mm"),
            (45306.395833333336, "yyyy-mm-dd h:mm"), (True, "General"), ("#N/A", "General"), (7, "General"),
            ("a\nb", "General"),
        ):  # fmt: skip
            sheet.append(["x", value])
            sheet.cell(sheet.max_row, 2).number_format = code

    parsed = read_sheets(fill)
    assert parsed.title == "Figures"
    assert parsed.sections[0].headings == ("Prices 2024",)
    assert parsed.sections[0].text.split("\n")[3:] == [
        "x | 19%", "x | 1,234.50 €", "x | 15.01.2024", "x | 9:30", "x | 2024-01-15 9:30", "x | TRUE", "x | #N/A",
        "x | 7", "x | a b",
    ]  # fmt: skip


def test_tables_of_a_sheet(read_sheets: Read) -> None:
    """A title above a table is prose; a long table has its header; a blank row and new titles begin another table."""
    first = [["Berlin", number, f"{number} staff in the accounting department"] for number in range(30)]
    second = [["Tokyo", number, f"{number} staff in the accounting department"] for number in range(30)]
    parsed = read_sheets(
        sheet_of(["All offices"], [], ["City", "Floor", "Note"], *first[:9], [], ["Others"], *first[9:], [],
                 ["Japan"], [None, "Town", "Storey", "Remark"], *([None, *row] for row in second), [], ["Source: us"])
    )  # fmt: skip
    title, one, between, two, note = parsed.sections
    assert (between.text, note.text) == ("Japan", "Source: us")
    assert title.text == "Sheet\n\nAll offices"
    assert (one.header, two.header) == ("City | Floor | Note", "Town | Storey | Remark")
    assert one.text.startswith("City | Floor | Note\nBerlin | 0 | 0 staff")
    assert one.text.count("Berlin") == 30
    assert two.text.startswith("Town | Storey | Remark\nTokyo | 0 | 0 staff")


def test_hidden_parts(read_sheets: Read) -> None:
    """Hidden sheets, rows and columns do not get through, and a warning says so."""

    def fill(workbook: Any) -> None:
        sheet = workbook.active
        for row in (["Name", "Salary", "Town"], ["Lee", "SECRET", "Bonn"], ["HIDDEN", "SECRET", "Rome"]):
            sheet.append(row)
        sheet.row_dimensions[3].hidden = True
        sheet.column_dimensions["B"].hidden = True
        for state in ("hidden", "veryHidden"):
            other = workbook.create_sheet(state)
            other.append(["HIDDEN"])
            other.sheet_state = state

    parsed = read_sheets(fill)
    assert [section.text for section in parsed.sections] == ["Sheet\n\nName | Town\nLee | Bonn"]
    assert parsed.warnings == (
        "2 hidden sheets were left out.",
        "Hidden rows or columns were left out of: Sheet.",
    )


def test_formulas(read_sheets: Read) -> None:
    """A formula is never evaluated: its last value counts, and without one its cell is empty."""
    parsed = read_sheets(sheet_of(["Sum", "=1+1"], ["Text", "=cmd|' /C calc'!A0"]))
    assert parsed.sections[0].text == "Sheet\n\nSum\nText"
    assert parsed.warnings == ("2 formulas were never calculated; their cells are empty.",)


def test_rich_and_inline_texts(read_sheets: Read) -> None:
    """Texts in several runs are whole, without the pronunciation that Japanese cells carry."""
    sheet = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c t="inlineStr"><is><r><t>in</t></r><r><t>line_x000D_</t></r></is></c>'
        '<c r="D1" t="d"><v>2024-01-15T00:00:00</v></c><c r="E1" t="s"><v>9</v></c></row>'
    )
    shared = "<si><r><t>東</t></r><r><t>京</t></r><rPh><t>トウキョウ</t></rPh></si>"
    assert read_sheets(hand_made(sheet, shared)).sections[0].text == "One\n\n東京 | inline |  | 2024-01-15"


def hand_made(rows: str, shared: str = "") -> bytes:
    """An XLSX of one sheet around the XML of its rows."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    links = "".join(
        f'<Relationship Id="r{at}" Type="{kind}/{name}" Target="{target}"/>'
        for at, (name, target) in enumerate((("worksheet", "/xl/worksheets/s.xml"), ("sharedStrings", "shared.xml")))
    )
    return files.archive(
        {
            "xl/workbook.xml": f'<workbook {main} xmlns:r="{kind}"><sheets><sheet name="One" r:id="r0"/></sheets>'
            "</workbook>",
            "xl/_rels/workbook.xml.rels": "<Relationships xmlns="
            f'"http://schemas.openxmlformats.org/package/2006/relationships">{links}</Relationships>',
            "xl/worksheets/s.xml": f"<worksheet {main}><sheetData>{rows}</sheetData></worksheet>",
            "xl/shared.xml": f"<sst {main}>{shared}</sst>",
        }
    )


def test_charts_only(read_sheets: Read) -> None:
    """A sheet that is a chart, or that is empty, has no text."""

    def fill(workbook: Any) -> None:
        assert isinstance(workbook.create_chartsheet(), Chartsheet)

    with pytest.raises(EmptyDocument):
        read_sheets(fill)


def test_hostile_workbooks(read_sheets: Read) -> None:
    """Cells at the end of the world cost little; entities, passwords, other formats and too much text are refused."""
    far = "".join(
        f'<row r="{row}"><c r="A{row}"><v>1</v></c><c r="XFD{row}"><v>2</v></c></row>' for row in range(1, 50)
    )
    assert len(read_sheets(hand_made(far)).sections[0].text) < 10_000
    entities = hand_made("<row><c t='inlineStr'><is><t>Safe</t></is></c></row>")
    with zipfile.ZipFile(io.BytesIO(entities)) as archive:
        members = {name: archive.read(name).decode() for name in archive.namelist()}
    members["xl/worksheets/s.xml"] = '<!DOCTYPE x [<!ENTITY b "BOMB">]>' + members["xl/worksheets/s.xml"].replace(
        "Safe", "Safe&b;"
    )
    assert read_sheets(files.archive(members)).sections[0].text == "One\n\nSafe"
    with pytest.raises(DocumentTooExpensive):
        read_sheets(sheet_of(["a" * 60, "b" * 60]), Limits(max_characters=100))
    with pytest.raises(EncryptedDocument):
        read_sheets(files.OLE + "EncryptedPackage".encode("utf-16-le"))
    with pytest.raises(UnreadableDocument, match="XLSB"):
        read_sheets(files.archive({"xl/workbook.bin": ""}))
    with pytest.raises(UnreadableDocument, match="not an Excel workbook"):
        read_sheets(files.archive({"word/document.xml": "<x/>"}))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(separator: str, read_csv: Read) -> None:
    """The separator is found out, also where amounts hold commas; quoted ones, line breaks and ragged rows are fine."""
    rows = [
        ["Item", "Price", "Note"],
        ["Pen", "1,50", "a;b|c,d\te"],
        ["Ink", "2,00", 'two\nlines "so"'],
        ["Cap"],
        ["a"] * 5,
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    assert read_csv(text.getvalue()).sections[0].text.split("\n") == [
        "Item | Price | Note",
        "Pen | 1,50 | a;b|c,d\te",
        'Ink | 2,00 | two lines "so"',
        "Cap",
        "a | a | a | a | a",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_csv_encodings(encoding: str, read_csv: Read) -> None:
    """The encoding is found out; Excel's own hint about the separator is followed."""
    text = "城市,区;人口\n" + "北京,朝阳区;全区常住人口约为三百四十四万\n" * 5
    for hint in ("", "sep=;\r\n"):
        lines = read_csv((hint + text).encode(encoding)).sections[0].text.split("\n")
        assert lines == ["城市,区 | 人口", *["北京,朝阳区 | 全区常住人口约为三百四十四万"] * 5]


def test_csv_header(read_csv: Read) -> None:
    """A long table's header is its row of titles, years among them; a table of values alone has none."""
    rows = "".join(f"Country {number},{number}.5,{number}.75\n" for number in range(40))
    titled, table = read_csv(f"World figures\n\nCountry,2019,2020\n{rows}").sections
    assert titled.text == "World figures"
    assert table.header == "Country | 2019 | 2020"
    assert table.text.startswith("Country | 2019 | 2020\nCountry 0 | 0.5 | 0.75\n")
    assert read_csv(rows).sections[0].header == ""


def test_csv_formulas(read_csv: Read) -> None:
    """Formulas are text."""
    assert "=cmd|'/C calc'!A0 | 12" in read_csv("name,amount\n=cmd|'/C calc'!A0,12\nAlice,150\n").sections[0].text


def test_csv_lone_quotation_mark(read_csv: Read) -> None:
    """A quotation mark without its partner does not swallow the rest of the file."""
    parsed = read_csv('name,size\nscreen,"27\npaper,A4\n')
    assert parsed.sections[0].text == 'name | size\nscreen | "27\npaper | A4'
    assert "quotation marks" in parsed.warnings[0]
    assert read_csv('a,b\n"' + "x,y\n" * 50_000 + '"\n').sections[0].text.count("x | y") == 50_000


def test_csv_without_separator(read_csv: Read) -> None:
    """A list of names is a text, and so is prose, wherever its commas fall."""
    assert read_csv("Lee\nKim\n").sections[0].text == "Lee\nKim\n"
    prose = "Dear all,\nas of May, June, and July, we close early.\nThe canteen, too, does.\nYours\nLee\n"
    assert read_csv(prose).sections[0].text == prose


CELLS = st.text(alphabet="ab, ;\"'\n\t|1中", max_size=6)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=8))
def test_no_cell_is_lost(rows: list[list[str]]) -> None:
    """Whatever the cells hold, all their characters come through."""
    line = "\n".join(join_cells(row) for row in rows)
    assert sorted("".join(line.replace("|", "").split())) == sorted(
        "".join("".join(map("".join, rows)).replace("|", "").split())
    )


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["Name", "Age"], True),
        (["Country", "2019", "2020"], True),
        (["", "Q1", "Q2"], True),
        (["地区", "1月", "2月", "2024年"], True),
        (["Pen", "1.50 €"], False),
        (["Pen", "15%"], False),
        (["Lee", "2024-01-15"], False),
        (["Lee", "lee@example.com"], False),
        (["2019", "2020"], False),
        (["Name"], False),
        (["Name", "", "", "", "Age"], False),
        (["Name", "x" * 200], False),
    ],
)
def test_header_rows(cells: list[str], expected: bool) -> None:
    """A header row is made of short texts; years may be titles, other values may not."""
    assert looks_like_header(cells) is expected
