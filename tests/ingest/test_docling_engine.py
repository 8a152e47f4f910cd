"""PDFs by Docling: what its document becomes, with a converter that stands in for it, and what is said without it."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pypdf
import pytest
import sample_files as files

from app.config import ParseLimits
from app.errors import DocumentTooExpensive, EncryptedDocument, IngestionError
from app.media_types import MediaType
from app.types import PdfEngine
from ingest.parsers import docling_engine, parse
from ingest.parsers.docling_engine import read_by_docling
from ingest.sandbox import ParserPool
from ingest.sections import Limits, assemble


def item(label: str, text: str = "", page: int = 1, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(label=label, text=text, prov=[SimpleNamespace(page_no=page)], **more)


def table(rows: Sequence[Sequence[str]], page: int = 1, headers: int = 1) -> SimpleNamespace:
    """A table as Docling has it: a cell that covers two columns stands in both; "<" goes on with the cell before."""
    grid = []
    for at, row in enumerate(rows):
        cells: list[Any] = []
        for column, text in enumerate(row):
            cell = SimpleNamespace(
                text=text, column_header=at < headers, start_row_offset_idx=at, start_col_offset_idx=column
            )
            cells.append(cells[-1] if text == "<" else cell)
        grid.append(cells)
    return item("table", page=page, data=SimpleNamespace(grid=grid))


ITEMS = [
    item("title", "Handbook"),
    item("page_header", "Confidential"),
    item("section_header", "Leave", level=1),
    item("text", "Fifteen days a year."),
    item("list_item", "until March", enumerated=False, marker="-"),
    item("list_item", "with notice", page=2, enumerated=True, marker="2."),
    item("section_header", "Rates", page=2, level=2),
    table(
        [
            ["Grade", "Days", "Pay"],
            *([f"Grade {n}, of offices and laboratories", str(n), "<"] for n in range(12)),
        ],
        page=2,
    ),
    item("section_header", "工资", page=3, level=1),
    item("text", "每月十五日发放。", page=3),
    item("picture", page=3),
]


def converted(data: bytes, items: Sequence[SimpleNamespace] = ITEMS) -> Any:
    def iterate_items() -> Iterator[tuple[SimpleNamespace, int]]:
        return ((each, 1) for each in items)

    return SimpleNamespace(document=SimpleNamespace(iterate_items=iterate_items), errors=[])


def test_headings_pages_tables_and_lists() -> None:
    """Headings hold over pages, a long table has its header row, and what repeats on every page is left out."""
    found, warnings = read_by_docling(b"", Limits(), converted)
    text, _ = assemble(found)
    assert warnings == ()
    assert [(section.page, section.headings, section.header) for section in found] == [
        (1, ("Handbook",), ""),
        (1, ("Handbook", "Leave"), ""),
        (2, ("Handbook", "Leave"), ""),
        (2, ("Handbook", "Leave", "Rates"), ""),
        (2, ("Handbook", "Leave", "Rates"), "Grade | Days | Pay"),
        (3, ("Handbook", "工资"), ""),
    ]
    assert "Fifteen days a year.\n\n- until March\n\n2. with notice" in text
    assert "laboratories | 7\n" in text
    assert "每月十五日发放。" in text
    assert "Confidential" not in text


def test_part_of_a_document() -> None:
    """What Docling could not read is warned of; more text than is allowed is refused."""
    result = converted(b"")
    result.errors.append("a page")
    assert read_by_docling(b"", Limits(), lambda _: result)[1] == ("Docling could not read all of it.",)
    with pytest.raises(DocumentTooExpensive):
        read_by_docling(b"", Limits(max_characters=10), converted)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.pdf"


def test_it_is_given_the_file_without_its_encryption(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords, limits, labels and forms are as with the parser of our own."""
    given: list[bytes] = []

    def convert(data: bytes) -> Any:
        given.append(data)
        return converted(data)

    monkeypatch.setattr(docling_engine, "_convert", convert)
    path.write_bytes(files.pdf([["Secret."], []], password="secret", title="Handbook"))
    with pytest.raises(EncryptedDocument):
        parse(path, MediaType.PDF, pdf_engine=PdfEngine.DOCLING)
    parsed = parse(path, MediaType.PDF, password="secret", pdf_engine=PdfEngine.DOCLING)
    assert (parsed.pages, parsed.title) == (2, "Handbook")
    assert "Fifteen days" in assemble(parsed.sections)[0]
    assert not pypdf.PdfReader(io.BytesIO(given[0])).is_encrypted
    with pytest.raises(DocumentTooExpensive, match="1 are allowed"):
        parse(path, MediaType.PDF, Limits(max_pages=1), password="secret", pdf_engine=PdfEngine.DOCLING)
    assert len(given) == 1


@pytest.mark.skipif(importlib.util.find_spec("docling") is not None, reason="the extra is installed")
def test_without_the_extra_it_is_named(path: Path) -> None:
    """In the parser's own process, too; the other formats are read as ever."""
    path.write_bytes(files.pdf([["Words."]]))
    note = path.with_suffix(".txt")
    note.write_text("Words.", encoding="utf-8")
    with ParserPool(1, ParseLimits(), pdf_engine=PdfEngine.DOCLING) as pool:
        with pytest.raises(IngestionError, match=r"footnote\[docling\]"):
            pool.parse(path, MediaType.PDF, path.name)
        assert pool.parse(note, MediaType.TEXT, note.name).sections[0].text == "Words."


def test_models_that_are_not_there(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What Docling says of its models' folder becomes a reason with a way out; its variables reach the parser."""
    package = tmp_path / "docling"
    (package / "datamodel").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "datamodel" / "__init__.py").write_text("")
    (package / "datamodel" / "base_models.py").write_text("class InputFormat: PDF = 'pdf'\nclass DocumentStream: ...\n")
    (package / "document_converter.py").write_text(
        "import os\n"
        "class DocumentConverter:\n"
        "    def __init__(self, allowed_formats): pass\n"
        "    def initialize_pipeline(self, format):\n"
        "        raise FileNotFoundError if 'models' in os.environ['DOCLING_ARTIFACTS_PATH'] else KeyError\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DOCLING_ARTIFACTS_PATH", str(tmp_path / "models"))
    path.write_bytes(files.pdf([["Words."]]))
    with (
        ParserPool(1, ParseLimits(), pdf_engine=PdfEngine.DOCLING) as pool,
        pytest.raises(
            IngestionError, match=r"not be started \(FileNotFoundError\): it needs its models, .*ARTIFACTS_PATH"
        ),
    ):
        pool.parse(path, MediaType.PDF, path.name)
