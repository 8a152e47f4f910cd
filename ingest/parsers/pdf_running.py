"""Headers, footers and page numbers: lines that repeat at the edges of pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ingest.parsers.paragraphs import display_width
from ingest.parsers.pdf_words import Line, rows

_EDGE = 0.15  # of the page's height
_EDGE_ROWS = 3  # from the top and from the bottom
_MIN_PAGES = 2
_MIN_SHARE = 0.1  # of the pages: left and right pages may differ, and chapters have headers of their own
_MIN_SHARE_WITHIN = 0.5  # for lines that are not the outermost: they may be the beginning of similar pages
_STEP = 6.0  # points: lines of different pages that differ less stand in the same place
_NEAR = 2.0  # of the height: how far a table's header is from its rows
_MAX_CELL = 32  # characters of half an em, in a table of two columns; longer lines are prose
_NUMBER = re.compile(r"\d+")
_MAX_NUMBERS = 3  # in one line: of which one may be the page's
_ROMAN = re.compile(r"[-–—\s]*[ivxlc]{1,6}[-–—\s]*", re.I)
_BARE_NUMBER = re.compile(
    r"[-–—|·\s]*(?:page|p\.|第)?\s*(?:\d{1,4}|[ivxlc]{1,6})\s*页?(?:\s*(?:of|/|共)\s*\d{1,4}\s*页?)?[-–—|·\s]*", re.I
)
_Key = tuple[str, int, int]  # the text, which of its numbers counts the pages, how far from the page's edge it stands


def without_running_lines(pages: Sequence[tuple[float, list[Line]]]) -> list[list[Line]]:
    """The lines of each page (its height, its lines) without those that repeat at the edges of other pages.

    A line that names something stays where it stands for the first time: it may be the only place that names it. A page
    keeps its lines if nothing else would be left.
    """
    rows_at_edges = [list(_edges(at, height, lines)) for at, (height, lines) in enumerate(pages)]
    seen: Counter[_Key] = Counter()
    for page in rows_at_edges:
        seen.update({key for _, _, keys in page for key in keys})
    count = sum(1 for _, lines in pages if lines)
    enough = {True: max(_MIN_PAGES, int(count * _MIN_SHARE)), False: max(_MIN_PAGES, int(count * _MIN_SHARE_WITHIN))}
    kept_once: set[_Key] = set()
    found = []
    for (_, lines), page in zip(pages, rows_at_edges, strict=True):
        dropped: set[int] = set()
        for row, outermost, keys in page:
            repeated = [key for key in keys if seen[key] >= enough[outermost]]
            if not repeated:
                continue
            if not kept_once.isdisjoint(repeated) or _BARE_NUMBER.fullmatch(_text(row)):
                dropped.update(map(id, row))
            kept_once.update(repeated)
        found.append([line for line in lines if id(line) not in dropped] or lines)
    return found


def _edges(page: int, height: float, lines: Sequence[Line]) -> Iterator[tuple[list[Line], bool, list[_Key]]]:
    """The rows near the top and the bottom of a page, whether they are the outermost ones, and their keys."""
    top = _outermost(lines, lambda line: line.y0, height * _EDGE)
    bottom = _outermost(lines, lambda line: -line.y1, -height * (1 - _EDGE))
    below = rows(lines)
    for at, row in enumerate(top[:_EDGE_ROWS]):
        if len(row) > 1 and _names_columns(row, next((each for each in below if each[0].y0 > row[0].middle), [])):
            break  # a table that goes on from page to page says again what its columns are
        yield row, at == 0, _keys(_text(row), page, round(row[0].middle / _STEP))
    for at, row in enumerate(bottom[: -_EDGE_ROWS - 1 : -1]):
        yield row, at == 0, _keys(_text(row), page, -1 - round((height - row[0].middle) / _STEP))


def _names_columns(row: Sequence[Line], below: Sequence[Line]) -> bool:
    """Whether cells stand close under most lines of a row. Columns of prose, and one line beside another, are none."""
    if not below or below[0].y0 - row[0].y1 > _NEAR * row[0].height:
        return False
    if len(row) == 2 and any(display_width(line.text) > _MAX_CELL for line in below):
        return False
    under = [title for title in row if any(line.x0 < title.x1 and title.x0 < line.x1 for line in below)]
    return len(below) > 1 and len(under) > max(1, len(row) / 2)


def _outermost(lines: Sequence[Line], distance: Callable[[Line], float], edge: float) -> list[list[Line]]:
    """The rows near an edge of the page, from the top down; one at least, even if the page begins further in."""
    nearest = min(map(distance, lines), default=0.0)
    return rows(line for line in lines if distance(line) < max(edge, nearest + _STEP))


def _keys(text: str, page: int, place: int) -> list[_Key]:
    """The line as it is, and for each of its numbers with that number counted from the page's own."""
    if _BARE_NUMBER.fullmatch(text):
        place = 0  # it may follow the end of the text
    if _ROMAN.fullmatch(text):
        return [("", 0, place)]
    keys: list[_Key] = [(text, -1, place)] if re.search(r"[^\W\d_]", text) else []
    for at, number in enumerate(list(_NUMBER.finditer(text))[:_MAX_NUMBERS]):
        if len(number[0]) <= 6:
            relative = f"{text[: number.start()]}{int(number[0]) - page:+d}{text[number.end() :]}"
            keys.append((relative, at, place))
    return keys


def _text(row: Sequence[Line]) -> str:
    return " ".join(line.text for line in row)
