"""The words of a PDF's page with their places, as PDFium finds them, put together to printed lines."""

from __future__ import annotations

import ctypes
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium

from ingest.parsers.pdf_seen import is_invisible, is_picture

_TOKEN = re.compile("[^\\s\ufffe]+\ufffe?|\ufffe")  # U+FFFE is PDFium's hyphen at a line end
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_MAX_COORDINATE = 20_000.0  # points; pages of more than 7 m have no lines worth the trouble
_GAP = 0.8  # of the line's height: wider than between words, so another cell, another column, or a tab
_SAME_LINE = 0.45  # of the height: how far two centres may be apart
_MAX_OBJECTS = 20_000
_MOST_CHARACTERS = 60_000  # on a page; of a newspaper it has half as many
_RULE = 3.0  # points: a thicker line is an area
_SHORTEST_RULE = 6.0
_SMALLEST = 0.7  # points: nobody reads a word of less height
_BOLD = re.compile("bold|black|heavy|demi|cmbx|hei(?!ght)|黑|gothic-?[5-9]", re.I)  # in a font's name
_ITALIC = re.compile("ital|obli|cmti", re.I)
_BOLD_WEIGHT = 650  # of a font whose name does not tell
_FONT_NAME_BYTES = 64


class Font(NamedTuple):
    """How a line is printed, as far as titles differ in it from what they stand over."""

    size: float  # points, to the half
    is_bold: bool
    is_italic: bool


@dataclass(slots=True)
class Line:
    """A run of words on one line without a wide gap. Coordinates in points from the page's upper left corner."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    order: int = 0  # among the lines of the page's own content stream
    cells: tuple[tuple[str, ...], ...] = ()  # of a table that is put in place of its lines
    font: Font | None = None  # None where it is unknown, or changes within the line
    first: int = 0  # of its words: where they stand in the page's text
    last: int = 0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2

    @property
    def middle_x(self) -> float:
        return (self.x0 + self.x1) / 2


@dataclass(slots=True)
class Rule:
    """A line that is drawn, such as a table's: from `start` to `end`, at `at` on the other axis."""

    start: float
    end: float
    at: float


@dataclass(slots=True)
class PageLines:
    """What stands where on a page."""

    width: float
    height: float
    lines: list[Line] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)  # horizontal, from the top down
    walls: list[Rule] = field(default_factory=list)  # vertical, from the left to the right
    aside: str = ""  # what is written in another direction, such as a stamp in the margin
    characters: int = 0
    hides_text: bool = False  # words that nobody sees are left out
    ordered: bool = True  # whether the lines come in the order in which somebody wrote them

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


@dataclass(slots=True)
class _Word:
    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    dx: float  # from the first character to the last, which tells where it runs
    dy: float
    break_before: str  # the white space that stands before it
    at: int = 0  # where it stands in the page's text


def read_page(page: pypdfium2.PdfPage, max_characters: int) -> PageLines:
    """The printed lines of a page, upright as it is shown, in the order of its content stream."""
    textpage = page.get_textpage()
    try:
        count = textpage.count_chars()
        width, height = page.get_size()
        found = PageLines(width, height, characters=count)
        if not 0 < count <= max_characters:
            return found
        if count > _MOST_CHARACTERS:
            found.lines = _without_places(textpage.get_text_range())
            return found
        words, turned = _upright(_seen(list(_words(page, textpage)), page, textpage, found), found)
        found.lines = _lines(words, [])
        if not turned and _may_hold_table(found.lines):
            found.rules, found.walls = _rules(page)
            if found.walls:
                found.lines = _lines(words, found.walls)
        _tell_fonts(textpage, found.lines)
    finally:
        textpage.close()
    return found


def _seen(
    words: list[_Word], page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage, found: PageLines
) -> list[_Word]:
    """The words without those that nobody sees, unless they are what OCR has read on a scan and put behind it."""
    # Of no height at all: the font does not tell it.
    seen = [w for w in words if not (0 < w.y1 - w.y0 < _SMALLEST or is_invisible(textpage, w.at))]
    if len(seen) == len(words) or is_picture(page, sum(len(word.text) for word in seen)):
        return words
    found.hides_text = True
    return seen


def _tell_fonts(textpage: pypdfium2.PdfTextPage, lines: Sequence[Line]) -> None:
    """Set each line's font, by its first word and its last."""
    fonts = _Fonts(textpage)
    for line in lines:
        font = fonts.of(line.first)
        if line.last == line.first or font == fonts.of(line.last):
            line.font = font


class _Fonts:
    """What characters are printed in."""

    def __init__(self, textpage: pypdfium2.PdfTextPage) -> None:
        self._textpage = textpage.raw
        self._name = ctypes.create_string_buffer(_FONT_NAME_BYTES)
        self._flags = ctypes.c_int()
        self._matrix = pdfium.FS_MATRIX()
        self._faces: dict[tuple[bytes, int], tuple[bool, bool]] = {}

    def of(self, index: int) -> Font | None:
        """Of a character; None where there is none."""
        if index < 0:
            return None
        pdfium.FPDFText_GetFontInfo(self._textpage, index, self._name, _FONT_NAME_BYTES, ctypes.byref(self._flags))
        key = self._name.value, pdfium.FPDFText_GetFontWeight(self._textpage, index)
        size, matrix = pdfium.FPDFText_GetFontSize(self._textpage, index), self._matrix
        if pdfium.FPDFText_GetMatrix(self._textpage, index, ctypes.byref(matrix)):
            size *= math.hypot(matrix.c, matrix.d)  # the page may show it larger or smaller
        face = self._faces.get(key)
        if face is None:
            name = key[0].decode("utf-8", "replace")
            is_italic = _ITALIC.search(name) is not None
            # PDFium guesses the weight from the width of the stems, and takes slanted ones for bold.
            is_bold = _BOLD.search(name) is not None or (key[1] >= _BOLD_WEIGHT and not is_italic)
            face = self._faces[key] = is_bold, is_italic
        return Font(round(size * 2) / 2, *face)


def _without_places(text: str) -> list[Line]:
    """The lines of a page that holds more than a page can, as if they stood under each other."""
    lines = [line for line in text.replace("\ufffe", "-").split("\n") if line.strip()]
    return [Line(line, 0, 12.0 * at, 6.0 * len(line), 12.0 * at + 10, at) for at, line in enumerate(lines)]


def rows(lines: Iterable[Line]) -> list[list[Line]]:
    """Lines side by side, from the top to the bottom, each row from left to right."""
    found: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.middle):
        row = found[-1] if found else None
        if row and line.middle - row[0].middle <= _SAME_LINE * min(line.height, row[0].height):
            row.append(line)
        else:
            found.append([line])
    for row in found:
        row.sort(key=lambda line: line.x0)
    return found


def _words(page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage) -> Iterator[_Word]:
    # Positions count in UTF-16 units, so a character beyond the basic plane is replaced by two while looking for words.
    text = textpage.get_text_range()
    units = text if text.isascii() else re.sub("[\U00010000-\U0010ffff]", "\U00010000\U00010000", text)
    exact = len(units) == textpage.count_chars()
    place = _Places(page, textpage)
    box = place.of
    end = 0
    shift = 0  # characters beyond the basic plane so far
    for match in _TOKEN.finditer(units):
        start, stop = match.span()
        token = match[0]
        if "\U00010000" in token:
            wide = token.count("\U00010000") // 2
            token = text[start - shift : stop - shift - wide]
            shift += wide
        at = start if exact else place.index(start)
        first, last = box(at), box(stop - 1 if exact else place.index(stop - 1))
        x0, y0, x1, y1 = first
        if last is not first:
            x0, y0 = min(x0, last[0]), min(y0, last[1])
            x1, y1 = max(x1, last[2]), max(y1, last[3])
        if x0 >= -_MAX_COORDINATE and y0 >= -_MAX_COORDINATE and x1 <= _MAX_COORDINATE and y1 <= _MAX_COORDINATE:
            dx, dy = last[0] - first[0], last[1] - first[1]
            yield _Word(token.replace("\ufffe", "-"), x0, y0, x1, y1, dx, dy, units[end:start], at)
        end = stop


class _Places:
    """Boxes of characters as the page is shown: PDFium knows them before the page is turned."""

    def __init__(self, page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage) -> None:
        self._left, self._bottom, self._right, self._top = page.get_bbox()
        self._rotation = page.get_rotation()
        self._textpage = textpage.raw
        self._box = pdfium.FS_RECTF()
        self._reference = ctypes.byref(self._box)

    def index(self, position: int) -> int:
        """Which character stands at a position in the page's text; -1 where there is none."""
        return int(pdfium.FPDFText_GetCharIndexFromTextIndex(self._textpage, position))

    def of(self, index: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom; outside of everything where there is none."""
        if index < 0 or not pdfium.FPDFText_GetLooseCharBox(self._textpage, index, self._reference):
            return (-2 * _MAX_COORDINATE,) * 4
        box = self._box
        return turn(
            (box.left - self._left, self._top - box.top, box.right - self._left, self._top - box.bottom),
            self._rotation,
            self._right - self._left,
            self._top - self._bottom,
        )


def turn(
    box: tuple[float, float, float, float], degrees: int, width: float, height: float
) -> tuple[float, float, float, float]:
    """A box on a page of this size, after the page was turned clockwise."""
    x0, y0, x1, y1 = box
    if degrees == 90:
        return height - y1, x0, height - y0, x1
    if degrees == 180:
        return width - x1, height - y1, width - x0, height - y0
    if degrees == 270:
        return y0, width - x1, y1, width - x0
    return box


def _upright(words: list[_Word], found: PageLines) -> tuple[list[_Word], bool]:
    """The words in the direction that most of them run, and whether the page had to be turned for that."""
    characters = {0: 0, 90: 0, 180: 0, 270: 0}
    for word in words:
        characters[_direction(word)] += len(word.text)
    if characters[0] == sum(characters.values()):
        return words, False
    degrees = max(characters, key=lambda key: characters[key])
    # A single character does not tell its direction.
    found.aside = " ".join(word.text for word in words if _direction(word) != degrees and len(word.text) > 1)
    words = [word for word in words if _direction(word) == degrees or len(word.text) == 1]
    if degrees:
        for word in words:
            box = (word.x0, word.y0, word.x1, word.y1)
            word.x0, word.y0, word.x1, word.y1 = turn(box, degrees, found.width, found.height)
        found.width, found.height = found.height, found.width
    return words, degrees != 0


def _direction(word: _Word) -> int:
    """How far the page has to be turned clockwise until the word can be read."""
    if abs(word.dx) >= abs(word.dy):
        return 180 if word.dx < 0 and not _RIGHT_TO_LEFT.search(word.text) else 0
    return 90 if word.dy < 0 else 270


def _lines(words: Sequence[_Word], walls: Sequence[Rule]) -> list[Line]:
    """Words put together to lines, in their order, cut at wide gaps and where a drawn line stands between them."""
    found: list[Line] = []
    for word in words:
        line = found[-1] if found else None
        if line is not None and _goes_on(line, word) and not (walls and _is_between(walls, line, word)):
            line.text += (" " if word.break_before else "") + word.text
            line.last = word.at
            line.x0, line.x1 = min(line.x0, word.x0), max(line.x1, word.x1)
            if word.y1 - word.y0 > line.height:  # a raised number has begun the line
                line.y0, line.y1 = word.y0, word.y1
        else:
            line = Line(word.text, word.x0, word.y0, word.x1, word.y1, len(found), first=word.at, last=word.at)
            found.append(line)
    return found


def _goes_on(line: Line, word: _Word) -> bool:
    height = max(line.y1 - line.y0, word.y1 - word.y0)
    if abs(line.y0 + line.y1 - word.y0 - word.y1) > height:  # their middles are half a line apart
        return False
    return max(word.x0 - line.x1, line.x0 - word.x1) <= _GAP * height  # to the left, too: some writing runs so


def _is_between(walls: Sequence[Rule], line: Line, word: _Word) -> bool:
    left, right = (line.x1, word.x0) if word.x0 >= line.x0 else (word.x1, line.x0)
    middle = (word.y0 + word.y1) / 2
    first = bisect_left(walls, left - 1, key=lambda wall: wall.at)
    for wall in islice(walls, first, None):
        if wall.at > right + 1:
            return False
        if wall.start <= middle <= wall.end:
            return True
    return False


def _may_hold_table(lines: Sequence[Line]) -> bool:
    """Whether several lines stand side by side; only then rules are worth looking for."""
    beside = sum(1 for row in rows(lines) if len(row) > 1)
    return beside >= 2


def _rules(page: pypdfium2.PdfPage) -> tuple[list[Rule], list[Rule]]:
    """Lines and edges of boxes that are drawn on the page: the horizontal and the vertical ones, in order."""
    left, bottom, right, top = page.get_bbox()
    rotation = page.get_rotation()
    across: list[Rule] = []
    upright: list[Rule] = []
    edges = [ctypes.c_float() for _ in range(4)]
    references = [ctypes.byref(edge) for edge in edges]
    for index in range(min(pdfium.FPDFPage_CountObjects(page.raw), _MAX_OBJECTS)):
        shape = pdfium.FPDFPage_GetObject(page.raw, index)
        if pdfium.FPDFPageObj_GetType(shape) != pdfium.FPDF_PAGEOBJ_PATH:
            continue
        if not pdfium.FPDFPageObj_GetBounds(shape, *references):
            continue
        x0, y0, x1, y1 = (edge.value for edge in edges)
        box = (x0 - left, top - y1, x1 - left, top - y0)
        x0, y0, x1, y1 = turn(box, rotation, right - left, top - bottom)
        if x1 - x0 >= _SHORTEST_RULE:
            across += [Rule(x0, x1, y0)] if y1 - y0 <= _RULE else [Rule(x0, x1, y0), Rule(x0, x1, y1)]
        if y1 - y0 >= _SHORTEST_RULE:
            upright += [Rule(y0, y1, x0)] if x1 - x0 <= _RULE else [Rule(y0, y1, x0), Rule(y0, y1, x1)]
    return sorted(across, key=lambda rule: rule.at), sorted(upright, key=lambda rule: rule.at)
