"""DOCX: paragraphs, headings, lists, tables and notes, in document order.

The XML is read as a stream of events rather than through an object for each paragraph: memory stays flat, and text in
content controls, tracked insertions and text boxes is found as well.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lxml import etree

from app.errors import EncryptedDocument, UnreadableDocument
from ingest.parsers.archive import open_archive
from ingest.sections import Limits, Parsed, SectionBuilder

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT_NAMESPACE = b"http://purl.oclc.org/ooxml/wordprocessingml/main"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_PARAGRAPH, _TABLE, _ROW, _CELL = f"{_W}p", f"{_W}tbl", f"{_W}tr", f"{_W}tc"
_MOVED_AWAY = f"{_W}moveFrom"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Style names are English inside the file, except those that were made by hand or by other programs.
_HEADING_NAME = re.compile(
    r"(?:heading|标题|標題|見出し|제목|überschrift|titre|título|titolo|заголовок)\s*([1-9])", re.I
)
_SYMBOLS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_XML_OPTIONS: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}


def parse_docx(path: Path, limits: Limits) -> Parsed:
    """The document's own text, then its footnotes and endnotes. Hidden and deleted text stays out."""
    with path.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            raise EncryptedDocument
    with open_archive(path) as archive:
        names = set(archive.namelist())
        if "word/document.xml" not in names:
            raise UnreadableDocument("The file is not a Word document.")
        builder = SectionBuilder(limits)
        levels = _heading_levels(archive) if "word/styles.xml" in names else {}
        for part in ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml"):
            if part in names:
                _read_part(archive, part, levels, builder)
        return Parsed(builder.sections(), title=_title(archive) if "docProps/core.xml" in names else None)


def _read_part(archive: zipfile.ZipFile, part: str, levels: Mapping[str, int], builder: SectionBuilder) -> None:
    unseen = 0  # open fallbacks, which repeat a text box for old programs
    tags = (_PARAGRAPH, _TABLE, _ROW, _CELL, _FALLBACK)
    with archive.open(part) as stream:
        if part == "word/document.xml" and _STRICT_NAMESPACE in archive.open(part).read(4096):
            raise UnreadableDocument("The file is a Strict Open XML document; save it as an ordinary DOCX.")
        for event, element in etree.iterparse(stream, events=("start", "end"), tag=tags, **_XML_OPTIONS):
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
            elif element.tag == _ROW:
                builder.close_row()
            elif element.tag == _TABLE:
                builder.close_table()
            if event == "end":
                _forget(element)


def _read_paragraph(paragraph: etree._Element, levels: Mapping[str, int], builder: SectionBuilder) -> None:
    text = _text_of(paragraph)
    level = _level_of(paragraph.find(f"{_W}pPr"), levels)
    if level is not None:
        builder.heading(level, text)
    elif paragraph.find(f"{_W}pPr/{_W}numPr") is not None and text.strip():
        builder.block(f"- {text}")
    else:
        builder.block(text)


def _text_of(paragraph: etree._Element) -> str:
    parts: list[str] = []
    for run in paragraph.iter(f"{_W}r"):
        hidden = run.find(f"{_W}rPr/{_W}vanish")
        if hidden is not None and hidden.get(f"{_W}val") not in ("0", "false"):
            continue
        if run.getparent().tag == _MOVED_AWAY:
            continue
        for element in run:
            if element.tag == f"{_W}t":
                parts.append(element.text or "")
            else:
                parts.append(_SYMBOLS.get(element.tag, ""))
    return "".join(parts)


def _level_of(properties: etree._Element | None, levels: Mapping[str, int]) -> int | None:
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
    root = etree.fromstring(archive.read("word/styles.xml"), etree.XMLParser(**_XML_OPTIONS))
    for style in root.iter(f"{_W}style"):
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


def _outline_level(element: etree._Element) -> int | None:
    value = element.get(f"{_W}val", "")
    return int(value) + 1 if value in tuple("012345678") else None  # 9 means body text


def _title(archive: zipfile.ZipFile) -> str | None:
    root = etree.fromstring(archive.read("docProps/core.xml"), etree.XMLParser(**_XML_OPTIONS))
    return " ".join((root.findtext(_TITLE) or "").split()) or None


def _forget(element: etree._Element) -> None:
    """Free what was read, the element's elder siblings included, so that memory does not grow with the document."""
    if element.tag in (_PARAGRAPH, _ROW, _TABLE):
        element.clear()
        while element.getprevious() is not None and element.getparent() is not None:
            del element.getparent()[0]
