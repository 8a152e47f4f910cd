"""PDFs by Docling instead: its models find the headings, the tables and the order. An extra that a setting chooses."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from app.errors import IngestionError
from ingest.sections import Limits, Section, SectionBuilder

MISSING = "install the extra with `pip install footnote[docling]`, or unset FOOTNOTE_PDF_ENGINE"
_NEEDS = (
    "it needs its models, from `docling-tools models download`, in a folder that DOCLING_ARTIFACTS_PATH names, and"
    " several GB of FOOTNOTE_PARSE_LIMITS__MEMORY_BYTES"
)
_PART = "Docling could not read all of it."
_TABLES = ("table", "document_index")
_UNREAD = ("page_header", "page_footer", "empty_value")

Convert = Callable[[bytes], Any]  # to a `ConversionResult` of Docling


def read_by_docling(
    data: bytes, limits: Limits, convert: Convert | None = None
) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """The sections of a PDF that is not encrypted, and warnings. Raises what Docling raises, and `IngestionError`."""
    result = (convert or _convert)(data)
    builder = SectionBuilder(limits)
    page = 0
    for item, _ in result.document.iterate_items():
        if item.prov and item.prov[0].page_no != page:
            page = item.prov[0].page_no
            builder.turn_to_page(page)
        _take(item, builder)
    return builder.sections(), (_PART,) if result.errors else ()


def _take(item: Any, builder: SectionBuilder) -> None:
    label = str(getattr(item.label, "value", item.label))
    text = str(getattr(item, "text", ""))
    if label == "title":
        builder.heading(1, text)
    elif label == "section_header":
        builder.heading(item.level + 1, text)
    elif label in _TABLES:
        for cells, is_header in _rows(item.data.grid):
            builder.row(cells, is_header)
        builder.close_table()
    elif label == "list_item":
        builder.block(f"{item.marker} {text}" if item.enumerated else f"- {text}")
    elif label not in _UNREAD:
        builder.block(text)


def _rows(grid: Sequence[Sequence[Any]]) -> Iterator[tuple[list[str], bool]]:
    """The texts of each row, and whether it is a header. A cell over several places is only in the first of them."""
    for at, row in enumerate(grid):
        cells = [
            cell.text if (cell.start_row_offset_idx, cell.start_col_offset_idx) == (at, column) else ""
            for column, cell in enumerate(row)
        ]
        yield cells, bool(row) and all(cell.column_header for cell in row)


def _convert(data: bytes) -> Any:
    if importlib.util.find_spec("docling") is None:
        raise IngestionError(f"PDFs are read by Docling here, which is not installed: {MISSING}.")
    converter = _converter()
    from docling.datamodel.base_models import DocumentStream

    return converter.convert(DocumentStream(name="file.pdf", stream=io.BytesIO(data)))


@cache
def _converter() -> Any:
    """With its models, which take seconds to load. There is no network here: they must have been fetched before."""
    try:
        from docling.datamodel.base_models import InputFormat
        from docling.document_converter import DocumentConverter

        converter = DocumentConverter(allowed_formats=[InputFormat.PDF])
        converter.initialize_pipeline(InputFormat.PDF)
    except Exception as error:  # its libraries meet a lack of files, network or memory with any exception
        raise IngestionError(f"Docling could not be started ({type(error).__name__}): {_NEEDS}.") from error
    return converter
