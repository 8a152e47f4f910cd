"""Tables whose cells are drawn, by lines between them or by shades behind them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from ingest.parsers.paragraphs import display_width
from ingest.parsers.pdf_tables import joined
from ingest.parsers.pdf_words import Line, PageLines, Rule, rows

_MIN_FILLED = 0.25  # of the cells: a form or a figure has more lines than text in rows
_MAX_TITLE_LINES = 3
_MAX_TITLE = 32  # characters of half an em; longer lines are prose
_STRIPES_APART = 2.0  # of their height: rows between two shaded ones
_TITLES_ABOVE = 1.5  # of their height
_TOUCHING = 3.0  # points between two pieces of one drawn line
_FRAME = 0.9  # of the page's height: a wall this long is the page's frame


def with_drawn_tables(page: PageLines) -> list[Line]:
    """The page's lines, those of a table with drawn cells replaced by one that holds the cells."""
    lines = page.lines
    for top, bottom, xs in _joined_areas(_walled_areas(page)):
        ys = _distinct([rule.at for rule in page.rules if top - _TOUCHING <= rule.at <= bottom + _TOUCHING])
        if not ys:
            continue
        above = _titles_above(lines, xs, ys[0])
        if above:
            ys.insert(0, min(line.y0 for line in above))
        box = xs[0], ys[0], xs[-1], ys[-1]
        inside = [line for line in lines if not line.cells and _is_within(line, box)]
        cells = _cells(inside, xs, ys)
        filled = sum(bool(cell) for row in cells for cell in row)
        if sum(1 for row in cells if sum(map(bool, row)) > 1) < 2 or filled < _MIN_FILLED * sum(map(len, cells)):
            continue
        table = Line("", *box, min(line.order for line in inside), cells)
        within = set(map(id, inside))
        lines = [*(line for line in lines if id(line) not in within), table]
    return sorted(lines, key=lambda line: line.order) if lines is not page.lines else lines


def _titles_above(lines: Sequence[Line], xs: Sequence[float], top: float) -> list[Line]:
    """The titles of columns that stand right above the first drawn line, as where only the rows are shaded."""
    titles: list[Line] = []
    fitting = [
        line for line in lines if not line.cells and xs[0] - _TOUCHING < line.x0 and line.x1 < xs[-1] + _TOUCHING
    ]
    for row in reversed(rows(line for line in fitting if line.middle < top)[-_MAX_TITLE_LINES:]):
        if len(row) < 2 or row[0].middle < top - _TITLES_ABOVE * row[0].height:
            break
        if any(display_width(line.text) > _MAX_TITLE for line in row):
            break
        titles += row
        top = min(line.y0 for line in row)
    return titles


def _is_within(line: Line, box: tuple[float, float, float, float]) -> bool:
    return box[0] < line.middle_x < box[2] and box[1] < line.middle < box[3]


def _joined_areas(areas: Iterable[tuple[float, float, list[float]]]) -> list[tuple[float, float, list[float]]]:
    """The areas, with those put together that are the shaded rows of one table."""
    found: list[tuple[float, float, list[float]]] = []
    last_height = 0.0
    for top, bottom, xs in areas:
        if found and top - found[-1][1] <= _STRIPES_APART * min(last_height, bottom - top):
            shared = sum(1 for x in xs if any(abs(x - other) <= _TOUCHING for other in found[-1][2]))
            if shared * 2 >= len(xs):
                found[-1] = found[-1][0], bottom, _distinct([*found[-1][2], *xs])
                last_height = bottom - top
                continue
        found.append((top, bottom, xs))
        last_height = bottom - top
    return found


def _walled_areas(page: PageLines) -> Iterator[tuple[float, float, list[float]]]:
    """Where vertical lines make at least two columns: top, bottom, and where the lines are."""
    walls = sorted(
        (wall for wall in page.walls if wall.end - wall.start < _FRAME * page.height), key=lambda wall: wall.start
    )
    group: list[Rule] = []
    bottom = 0.0
    for wall in [*walls, None]:
        if wall is not None and (not group or wall.start <= bottom + _TOUCHING):
            group.append(wall)
            bottom = max(bottom, wall.end)
            continue
        xs = _distinct([each.at for each in group])
        if len(xs) >= 3:
            yield group[0].start, bottom, xs
        if wall is not None:
            group, bottom = [wall], wall.end


def _distinct(values: Sequence[float]) -> list[float]:
    """The values in order, those that nearly touch as one."""
    found: list[float] = []
    for value in sorted(values):
        if not found or value - found[-1] > _TOUCHING:
            found.append(value)
    return found


def _cells(lines: Sequence[Line], xs: Sequence[float], ys: Sequence[float]) -> tuple[tuple[str, ...], ...]:
    """The text of each cell; rows and columns without any text are left out."""
    texts: dict[tuple[int, int], list[str]] = {}
    for line in sorted(lines, key=lambda line: (round(line.middle), line.x0)):
        place = bisect_left(ys, line.middle), bisect_left(xs, max(line.x0 + 1, xs[0] + 0.1))
        texts.setdefault(place, []).append(line.text)
    columns = sorted({column for _, column in texts})
    return tuple(
        tuple(joined(texts.get((row, column), [])) for column in columns) for row in sorted({row for row, _ in texts})
    )
