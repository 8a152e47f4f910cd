"""ODT: paragraphs, headings, lists, tables and notes, in document order, read from a stream of events."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.errors import EncryptedDocument, UnreadableDocument
from ingest.parsers.archive import Element, forget, open_archive, read_tree, require, stream_xml
from ingest.sections import Limits, Parsed, SectionBuilder, Source

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_ENCRYPTED = "{urn:oasis:names:tc:opendocument:xmlns:manifest:1.0}encryption-data"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_PARAGRAPH, _HEADING = f"{_TEXT}p", f"{_TEXT}h"
_TABLE_TAG, _ROW = f"{_TABLE}table", f"{_TABLE}table-row"
_HEADER_ROWS = f"{_TABLE}table-header-rows"
_CELLS = (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell")
_ITEM, _NOTE, _SECTION = f"{_TEXT}list-item", f"{_TEXT}note", f"{_TEXT}section"
_BODY, _STYLE_TAG = f"{_OFFICE}text", f"{_STYLE}style"
# What is in the file but not on the page: deleted text, comments, and where indexes and fields come from.
_UNSEEN = (f"{_TEXT}tracked-changes", f"{_OFFICE}annotation", f"{_TEXT}hidden-text", f"{_TEXT}variable-decls")
# Blocks of their own, although they stand within a paragraph.
_INSERTED = (f"{_DRAW}text-box", _NOTE, *_UNSEEN)
_FORGOTTEN = (_PARAGRAPH, _HEADING, _ROW, _TABLE_TAG, _ITEM)
_TAGS = (*_FORGOTTEN, *_CELLS, _HEADER_ROWS, _NOTE, _SECTION, *_UNSEEN, _STYLE_TAG, _BODY)
_SYMBOLS = {f"{_TEXT}tab": "\t", f"{_TEXT}line-break": "\n"}
_SPACES = re.compile(r"[ \t\r\n]+")
_MAX_REPEATED = 20  # spaces or cells


def parse_odt(source: Source, limits: Limits) -> Parsed:
    """The text as it stands on the pages, then its notes. Hidden and deleted text stays out."""
    with open_archive(source) as archive:
        if next(read_tree(archive, "META-INF/manifest.xml").iter(_ENCRYPTED), None) is not None:
            raise EncryptedDocument
        require(archive, "content.xml", "an OpenDocument text")
        builder = SectionBuilder(limits)
        reader = _Reader(builder)
        for style in read_tree(archive, "styles.xml").iter(_STYLE_TAG):
            reader.learn_style(style)
        with stream_xml(archive, "content.xml", _TAGS) as events:
            for event, element in events:
                if event == "start":
                    reader.start(element)
                else:
                    reader.end(element)
                    if element.tag in _FORGOTTEN:
                        forget(element)
        reader.finish()
        title = read_tree(archive, "meta.xml").findtext(f".//{_TITLE}") or ""
        return Parsed(builder.sections(), title=" ".join(title.split()) or None)


class _Reader:
    """Follows the events of `content.xml`."""

    def __init__(self, builder: SectionBuilder) -> None:
        self._builder = builder
        self._notes: list[str] = []
        self._hidden: set[str] = set()  # names of styles
        self._titles = {"Title"}
        self._is_text = False
        self._unseen = 0  # open elements that hide what is in them
        self._in_notes = 0
        self._in_header = 0
        self._item_begins = False

    def learn_style(self, style: Element) -> None:
        """Remember the styles of what is hidden, and of titles."""
        name, parent = style.get(f"{_STYLE}name", ""), style.get(f"{_STYLE}parent-style-name", "")
        properties = style.find(f"{_STYLE}text-properties")
        if parent in self._titles:
            self._titles.add(name)
        if parent in self._hidden or (properties is not None and properties.get(f"{_TEXT}display") == "none"):
            self._hidden.add(name)

    def start(self, element: Element) -> None:
        tag = element.tag
        if _is_unseen(element):
            self._unseen += 1
        elif self._unseen:
            return
        elif tag == _BODY:
            self._is_text = True
        elif tag == _NOTE:
            self._in_notes += 1
        elif tag == _HEADER_ROWS:
            self._in_header += 1
        elif tag == _ROW:
            self._builder.open_row()
        elif tag in _CELLS:
            self._builder.open_cell()
        elif tag == _ITEM:
            self._item_begins = True

    def end(self, element: Element) -> None:
        tag = element.tag
        if _is_unseen(element):
            self._unseen -= 1
        elif self._unseen:
            return
        elif tag == _STYLE_TAG:
            self.learn_style(element)
        elif tag in (_PARAGRAPH, _HEADING):
            self._read_paragraph(element)
        elif tag == _NOTE:
            self._in_notes -= 1
        elif tag == _HEADER_ROWS:
            self._in_header -= 1
        elif tag in _CELLS:
            for _ in range(_count(element, f"{_TABLE}number-columns-repeated") - 1):
                self._builder.open_cell()
        elif tag == _ROW:
            self._builder.close_row(header=self._in_header > 0)
        elif tag == _TABLE_TAG:
            self._builder.close_table()
        elif tag == _ITEM:
            self._item_begins = False

    def finish(self) -> None:
        """Hand over the notes, which stand behind the text."""
        if not self._is_text:
            raise UnreadableDocument("The file is not an OpenDocument text.")
        for note in self._notes:
            self._builder.block(note)

    def _read_paragraph(self, paragraph: Element) -> None:
        style = paragraph.get(f"{_TEXT}style-name", "")
        marks = paragraph.iter(f"{_TEXT}hidden-paragraph")
        if style in self._hidden or any(mark.get(f"{_TEXT}is-hidden") == "true" for mark in marks):
            return
        text = "".join(self._texts(paragraph)).strip()
        if self._in_notes:
            self._notes.append(text)
        elif paragraph.tag == _HEADING:
            level = paragraph.get(f"{_TEXT}outline-level", "1")
            self._builder.heading(int(level) if level.isdecimal() and len(level) < 3 else 1, text)
        elif style in self._titles:
            self._builder.heading(0, text)
        else:
            self._builder.block(f"- {text}" if self._item_begins and text else text)
        self._item_begins &= not text

    def _texts(self, element: Element) -> Iterator[str]:
        """The text of an element. White space counts as one space, those that are meant are elements."""
        yield _SPACES.sub(" ", element.text or "")
        for child in element:
            if not isinstance(child.tag, str):
                pass  # a comment
            elif child.tag == f"{_TEXT}s":
                yield " " * _count(child, f"{_TEXT}c")
            elif child.tag in _SYMBOLS:
                yield _SYMBOLS[child.tag]
            elif child.tag not in _INSERTED and child.get(f"{_TEXT}style-name", "") not in self._hidden:
                yield from self._texts(child)
            yield _SPACES.sub(" ", child.tail or "")


def _is_unseen(element: Element) -> bool:
    if element.tag in _UNSEEN or (element.tag == _SECTION and element.get(f"{_TEXT}display") == "none"):
        return True
    return element.tag == _ROW and element.get(f"{_TABLE}visibility") in ("collapse", "filter")


def _count(element: Element, name: str) -> int:
    """How often something is repeated; what is repeated without end, says nothing."""
    value = element.get(name, "1")
    return min(int(value), _MAX_REPEATED) if value.isdecimal() and len(value) < 9 else 1
