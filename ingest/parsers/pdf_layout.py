"""The reading order of a page: columns one after the other, tables as rows, everything else from top to bottom."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from ingest.parsers.paragraphs import display_width
from ingest.parsers.pdf_drawn_tables import with_drawn_tables
from ingest.parsers.pdf_tables import tables, with_units
from ingest.parsers.pdf_words import Font, Line, PageLines, rows

_MIN_GUTTER = 5.0  # points between two columns
_ALIGNED = 3.0  # points: lines that begin so near each other begin at one place
_MAX_CROSSING = 2.0  # times the lines on the poorer side of a gutter: more lines across it, and it is none
_MIN_COLUMN_LINES = 3
_MAX_SWITCHES = 0.06  # of the lines of a band: the content stream goes through one column after the other
_GUTTERS_TRIED = 3
_MAX_DEPTH = 6  # columns within columns
_PROSE_FILL = 0.8  # of its column's width: lines of running text are this long
_PROSE_COLUMNS = 24  # characters of half an em: cells are shorter
_STRETCH_GAP = 0.7  # of the height: a table and the text under it are further apart than lines
_WIDE_GAP = 3.0  # of the height: lines this far apart on one row do not belong together
_PARAGRAPH_GAP = 1.35  # of the usual distance of two lines
_OTHER_SIZE = 1.2  # lines of other heights are of different paragraphs
_OTHER_SIZE_BY_EYE = 1.6  # where the height is that of the letters that happen to be in the line
_INDENT = 0.8  # of the height


@dataclass(frozen=True, slots=True)
class Text:
    """Printed lines that follow each other, with the width of each and of a full one, in half an em."""

    lines: tuple[str, ...]
    widths: tuple[int, ...]
    usual: int
    may_go_on: bool = False  # it opens a column: its first line may go on with the paragraph before
    fonts: tuple[Font | None, ...] = ()  # of the lines, where they are known

    def cut(self, start: int, end: int) -> Text:
        """Some of the lines."""
        if start == 0 and end == len(self.lines):
            return self
        may_go_on = self.may_go_on and start == 0
        return Text(self.lines[start:end], self.widths[start:end], self.usual, may_go_on, self.fonts[start:end])


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells."""

    rows: tuple[tuple[str, ...], ...]


def blocks(page: PageLines) -> list[Text | Table]:
    """What a reader would read on the page, in his order."""
    found: list[Text | Table] = []
    lines = with_drawn_tables(page)
    for region in _columns(lines, page.ordered) if lines else ():
        for at, block in enumerate(_region_blocks(region, page)):
            found.append(replace(block, may_go_on=True) if at == 0 and isinstance(block, Text) and found else block)
    return found + plain(page.aside)


def plain(text: str) -> list[Text | Table]:
    """Lines of which only the text is known."""
    lines = tuple(line for line in (" ".join(line.split()) for line in text.split("\n")) if line)
    if not lines:
        return []
    widths = tuple(map(display_width, lines))
    return [Text(lines, widths, sorted(widths)[int(len(widths) * 0.8)])]


def _columns(lines: list[Line], ordered: bool, depth: int = _MAX_DEPTH) -> Iterator[list[Line]]:
    """Parts of the page, each of one column or of one table."""
    for gutter in _gutters(lines)[:_GUTTERS_TRIED] if depth else ():
        parts = list(_parts(lines, gutter, ordered))
        if any(column for _, column in parts):
            for part, _ in parts:
                yield from _columns(part, ordered, depth - 1)
            return
    yield lines


def _parts(lines: Sequence[Line], gutter: float, ordered: bool) -> Iterator[tuple[list[Line], bool]]:
    """The lines in parts as they are read, and whether the part is a column."""
    whole: list[Line] = []  # lines that are not in columns, until columns begin
    for band, across in _bands(lines, gutter):
        before, columns, after = ([], [], band) if across else _in_columns(band, gutter, ordered)
        whole += before
        if not columns:
            whole += after
            continue
        if whole:
            yield whole, False
        left, right = _sides(columns, gutter)
        below = _below(left, right) if ordered else []
        aside = set(map(id, below))
        yield [line for line in left if id(line) not in aside], True
        yield right, True
        whole = below + after
    if whole:
        yield whole, False


def _gutters(lines: Sequence[Line]) -> list[float]:
    """Where many lines begin, with many others further left and few across; the best first."""
    starts, ends = sorted(line.x0 for line in lines), sorted(line.x1 for line in lines)
    found: dict[float, float] = {}  # place → how good it is
    for at in range(len(starts) - _MIN_COLUMN_LINES + 1):
        x = starts[at]
        together = bisect_right(starts, x + _ALIGNED) - at
        if together < _MIN_COLUMN_LINES or (at and x - starts[at - 1] < _ALIGNED):
            continue
        on_the_left = bisect_right(ends, x - _MIN_GUTTER)
        # What begins between the last of these and `x` is of the same column, where others are indented.
        begin = bisect_left(starts, ends[on_the_left - 1] + _MIN_GUTTER) if on_the_left else 0
        fewer = min(on_the_left, len(lines) - begin)
        crossing = begin - on_the_left
        if fewer >= _MIN_COLUMN_LINES and crossing <= _MAX_CROSSING * fewer:
            gutter = starts[begin] - _MIN_GUTTER / 2
            found[gutter] = max(found.get(gutter, 0.0), min(fewer, 2 * together) / (1 + crossing))
    return sorted(found, key=lambda gutter: -found[gutter])


def _bands(lines: Sequence[Line], gutter: float) -> Iterator[tuple[list[Line], bool]]:
    """The lines from top to bottom, cut where lines across the gutter begin and end; and whether these are those."""
    band: list[Line] = []
    across = False
    for line in sorted(lines, key=lambda line: line.middle):
        crosses = line.x0 < gutter - 1 and line.x1 > gutter + 1
        if band and crosses != across:
            yield band, across
            band = []
        across = crosses
        band.append(line)
    if band:
        yield band, across


def _sides(band: Sequence[Line], gutter: float) -> tuple[list[Line], list[Line]]:
    return [line for line in band if line.middle_x < gutter], [line for line in band if line.middle_x >= gutter]


def _in_columns(band: list[Line], gutter: float, ordered: bool) -> tuple[list[Line], list[Line], list[Line]]:
    """What stands above the columns in a band, what stands in them, and what below."""
    if ordered and _are_columns(band, gutter):
        return [], band, []
    # Else the look of the lines tells: columns go from the first stretch of running text on both sides to the last.
    stretches = _stretches(band)
    prose = [at for at, stretch in enumerate(stretches) if _is_running_text(stretch, gutter, ordered)]
    if not prose:
        return [], [], band
    parts = stretches[: prose[0]], stretches[prose[0] : prose[-1] + 1], stretches[prose[-1] + 1 :]
    before, columns, after = ([line for stretch in part for line in stretch] for part in parts)
    return before, columns, after


def _stretches(band: Sequence[Line]) -> list[list[Line]]:
    """The lines of a band, from the top to the bottom, cut where nothing stands for most of a line."""
    found: list[list[Line]] = []
    lowest: Line | None = None
    for line in sorted(band, key=lambda line: line.y0):
        if lowest is None or line.y0 - lowest.y1 > _STRETCH_GAP * min(line.height, lowest.height):
            found.append([])
        found[-1].append(line)
        if lowest is None or line.y1 > lowest.y1:
            lowest = line
    return found


def _are_columns(band: Sequence[Line], gutter: float) -> bool:
    """Whether both sides of a gutter were written one after the other, and not row by row as in a table."""
    left, right = _sides(band, gutter)
    if min(len(left), len(right)) < 1 or max(len(left), len(right)) < _MIN_COLUMN_LINES:
        return False
    sides = [line.x0 >= gutter for line in sorted(band, key=lambda line: line.order)]
    switches = sum(before != after for before, after in pairwise(sides))
    if switches > max(2, _MAX_SWITCHES * len(band)):
        return False
    return _is_prose(left) or _is_prose(right) or (switches == 1 and min(len(left), len(right)) >= _MIN_COLUMN_LINES)


def _is_running_text(stretch: Sequence[Line], gutter: float, ordered: bool) -> bool:
    """Whether both sides are prose; or were written one after the other, in lines too long for cells."""
    sides = _sides(stretch, gutter)
    if all(map(_is_prose, sides)):
        return True
    return ordered and _are_columns(stretch, gutter) and all(map(_has_long_lines, sides))


def _below(left: Sequence[Line], right: Sequence[Line]) -> list[Line]:
    """The last lines on the left if they come after the right column: a short heading under both, not across them."""
    end = max(line.order for line in right)
    bottom = max(line.middle for line in right)
    below = [line for line in left if line.order > end]
    top = max((line.middle for line in left if line.order < end), default=bottom)
    return below if len(below) < len(left) and all(line.y0 >= max(top, bottom) for line in below) else []


def _is_prose(lines: Sequence[Line]) -> bool:
    """Whether most lines fill their column, as those of running text do."""
    if not _has_long_lines(lines):
        return False
    left, right = min(line.x0 for line in lines), max(line.x1 for line in lines)
    full = sum(1 for line in lines if line.x1 - line.x0 >= _PROSE_FILL * (right - left))
    letters = sum(1 for line in lines for character in line.text if character.isalpha())
    return full >= 0.6 * len(lines) and letters >= 0.6 * sum(len(line.text) for line in lines)


def _has_long_lines(lines: Sequence[Line]) -> bool:
    enough = len(lines) >= _MIN_COLUMN_LINES
    return enough and median(display_width(line.text) for line in lines) >= _PROSE_COLUMNS


def _region_blocks(lines: Sequence[Line], page: PageLines) -> Iterator[Text | Table]:
    """The tables of one column, and the text between them."""
    between: list[list[Line]] = []
    for part in tables(rows(lines), page.rules):
        if isinstance(part, list):
            between.append(part)
            continue
        yield from _texts(between, page.ordered)
        between = []
        yield Table(with_units(part.cells))
    yield from _texts(between, page.ordered)


def _texts(found: list[list[Line]], ordered: bool) -> Iterator[Text]:
    """Rows of running text, cut where the distance, the size, or an indent tells that a paragraph begins."""
    lines = [line for row in found for line in _reading(row)]
    if not lines:
        return
    steps = [after.middle - before.middle for before, after in pairwise(lines) if after.middle > before.middle]
    step = median(steps) if steps else 0.0
    left = min(line.x0 for line in lines)
    heights = sorted(line.height for line in lines)
    height = heights[len(heights) // 2] or 1.0
    edge = sorted(line.x1 for line in lines)[int(len(lines) * 0.9)]
    paragraph = [lines[0]]
    for before, line in pairwise(lines):
        distance = line.middle - before.middle
        sizes = sorted((before.height, line.height))
        apart = distance > max(step * _PARAGRAPH_GAP, height) or distance < -height
        other = sizes[1] > sizes[0] * (_OTHER_SIZE if ordered else _OTHER_SIZE_BY_EYE)
        indented = line.x0 - before.x0 > _INDENT * height and before.x0 - left < _INDENT * height
        if apart or other or (indented and distance > 0.3 * height):
            yield _text(paragraph, left, edge)
            paragraph = []
        paragraph.append(line)
    yield _text(paragraph, left, edge)


def _text(lines: Sequence[Line], left: float, edge: float) -> Text:
    half_em = max(median(line.height for line in lines) / 2.4, 0.5)
    widths = tuple(int((line.x1 - min(left, line.x0)) / half_em) for line in lines)
    texts, fonts = tuple(line.text for line in lines), tuple(line.font for line in lines)
    return Text(texts, widths, int((edge - left) / half_em), fonts=fonts)


def _reading(row: list[Line]) -> list[Line]:
    """The lines of a row that is not of a table: words set apart are put together, others come in their own order."""
    found: list[Line] = []
    for line in row:
        last = found[-1] if found else None
        if last is not None and line.x0 - last.x1 <= _WIDE_GAP * line.height:
            box = last.x0, min(last.y0, line.y0), line.x1, max(last.y1, line.y1)
            font = last.font if last.font == line.font else None
            found[-1] = Line(f"{last.text} {line.text}", *box, last.order, font=font)
        else:
            found.append(line)
    return sorted(found, key=lambda line: line.order)
