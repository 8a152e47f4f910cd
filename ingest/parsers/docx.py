"""DOCX: paragraphs, headings, lists, tables and notes, in document order.

The XML is read as a stream of events rather than through an object for each paragraph: memory stays flat, and text in
content controls, tracked insertions and text boxes is found as well.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping

from ingest.parsers.archive import Element, core_title, forget, open_archive, read_tree, require, stream_xml
from ingest.sections import Limits, Parsed, SectionBuilder, Source

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_PARAGRAPH, _TABLE, _ROW, _CELL = f"{_W}p", f"{_W}tbl", f"{_W}tr", f"{_W}tc"
_SPAN = f"{_W}gridSpan"
_MOVED_AWAY = f"{_W}moveFrom"
# Style names are English inside the file, except those that were made by hand or by other programs.
_HEADING_NAME = re.compile(
    r"(?:heading|标题|標題|見出し|제목|überschrift|titre|título|titolo|заголовок)\s*([1-9])", re.I
)
_SYMBOLS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}


def parse_docx(source: Source, limits: Limits) -> Parsed:
    """The document's own text, then its footnotes and endnotes. Hidden and deleted text stays out."""
    with open_archive(source) as archive:
        require(archive, "word/document.xml", "a Word document")
        builder = SectionBuilder(limits)
        levels = _heading_levels(archive)
        names = set(archive.namelist())
        for part in ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml"):
            if part in names:
                _read_part(archive, part, levels, builder)
        return Parsed(builder.sections(), title=core_title(archive))


def _read_part(archive: zipfile.ZipFile, part: str, levels: Mapping[str, int], builder: SectionBuilder) -> None:
    unseen = 0  # open fallbacks, which repeat a text box for old programs
    with stream_xml(archive, part, (_PARAGRAPH, _TABLE, _ROW, _CELL, _SPAN, _FALLBACK)) as events:
        for event, element in events:
            if element.tag == _FALLBACK:
                unseen += 1 if event == "start" else -1
            elif unseen:
                pass
            elif event == "start":
                if element.tag == _ROW:
                    builder.open_row()
                elif element.tag == _CELL:
                    builder.open_cell()
            elif element.tag == _PARAGRAPH:
                _read_paragraph(element, levels, builder)
            elif element.tag == _SPAN:
                columns = element.get(f"{_W}val", "")
                builder.widen_cell(int(columns) if columns.isdecimal() and len(columns) < 4 else 1)
            elif element.tag == _ROW:
                builder.close_row(header=_is_on(element.find(f"{_W}trPr/{_W}tblHeader")))
            elif element.tag == _TABLE:
                builder.close_table()
            if event == "end" and element.tag in (_PARAGRAPH, _ROW, _TABLE):
                forget(element)


def _read_paragraph(paragraph: Element, levels: Mapping[str, int], builder: SectionBuilder) -> None:
    text = _text_of(paragraph)
    level = _level_of(paragraph.find(f"{_W}pPr"), levels)
    if level is not None:
        builder.heading(level, text)
    elif paragraph.find(f"{_W}pPr/{_W}numPr") is not None and text.strip():
        builder.block(f"- {text}")
    else:
        builder.block(text)


def _text_of(paragraph: Element) -> str:
    parts: list[str] = []
    for run in paragraph.iter(f"{_W}r"):
        if _is_on(run.find(f"{_W}rPr/{_W}vanish")):
            continue
        if run.getparent().tag == _MOVED_AWAY:
            continue
        for element in run:
            if element.tag == f"{_W}t":
                parts.append(element.text or "")
            else:
                parts.append(_SYMBOLS.get(element.tag, ""))
    return "".join(parts)


def _is_on(switch: Element | None) -> bool:
    return switch is not None and switch.get(f"{_W}val") not in ("0", "false", "off")


def _level_of(properties: Element | None, levels: Mapping[str, int]) -> int | None:
    """The heading level, 0 for the title: the paragraph's own outline level, or its style's."""
    if properties is None:
        return None
    outline = properties.find(f"{_W}outlineLvl")
    if outline is not None:
        return _outline_level(outline)
    style = properties.find(f"{_W}pStyle")
    return levels.get(style.get(f"{_W}val", "")) if style is not None else None


def _heading_levels(archive: zipfile.ZipFile) -> dict[str, int]:
    """Heading level by style id; a style takes over the level of the one that it is based on."""
    levels: dict[str, int] = {}
    parents: dict[str, str] = {}
    for style in read_tree(archive, "word/styles.xml").iter(f"{_W}style"):
        style_id = style.get(f"{_W}styleId", "")
        name, parent = style.find(f"{_W}name"), style.find(f"{_W}basedOn")
        outline = style.find(f"{_W}pPr/{_W}outlineLvl")
        title = name.get(f"{_W}val", "") if name is not None else ""
        named = _HEADING_NAME.fullmatch(title)
        level = _outline_level(outline) if outline is not None else None
        if level is None and (named or title.lower() == "title"):
            level = int(named[1]) if named else 0
        if level is not None:
            levels[style_id] = level
        elif parent is not None and outline is None:
            parents[style_id] = parent.get(f"{_W}val", "")
    for style_id, parent_id in parents.items():
        for _ in range(10):  # deeper chains than Word's own; also the end of a circle
            if parent_id in levels:
                levels[style_id] = levels[parent_id]
                break
            parent_id = parents.get(parent_id, "")
    return levels


def _outline_level(element: Element) -> int | None:
    value = element.get(f"{_W}val", "")
    return int(value) + 1 if value in tuple("012345678") else None  # 9 means body text
