"""Tables of a page: those whose cells are drawn, and those whose lines stand in columns."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from ingest.parsers.paragraphs import display_width
from ingest.parsers.pdf_words import Line, PageLines, Rule, rows

_BULLET = re.compile(
    r"[-•·▪●◦○■□◆▶➢✓*–—☐☑\ue000-\uf8ff]|\(?[\da-zA-Z]{1,3}[.)、．]|[（(][\d一二三四五六七八九十]{1,3}[)）]|\[\d{1,3}\]"
)
_LEADERS = re.compile(r"(?:\. ?){4,}|…{2,}|·{4,}")
_BESIDE = 0.3  # of the height: lines that overlap so much are not under each other
_CLOSE = 0.35  # of the height: lines of one cell are no further apart
_MIN_FILLED = 0.25  # of the cells: a form or a figure has more lines than text in rows
_BEFORE = frozenset("$€£¥")
_BEHIND = frozenset(("%", ")", ")%", "%)"))
_CUT_OFF = frozenset((" $", " €", " £", " ¥"))
_MAX_CELL_LINES = 12
_MAX_TITLE_LINES = 3
_MAX_TITLE = 32  # characters of half an em; longer lines are prose
_STRIPES_APART = 2.0  # of their height: rows between two shaded ones
_TITLES_ABOVE = 1.5  # of their height
_TOUCHING = 3.0  # points between two pieces of one drawn line
_FRAME = 0.9  # of the page's height: a wall this long is the page's frame


def with_ruled_tables(page: PageLines) -> list[Line]:
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


def with_units(cells: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The rows with signs of currency and per cent in the cells of the numbers that they belong to."""
    table = [[*row] for row in cells]
    for row in table:
        for at in range(len(row) - 1):
            if row[at][-2:] in _CUT_OFF and row[at + 1]:  # it stood closer to the number before
                row[at], row[at + 1] = row[at][:-2], f"{row[at][-1]} {row[at + 1]}"
    for at in range(len(table[0]) - 2, -1, -1):
        pairs = [(row[at], row[at + 1]) for row in table if row[at] and row[at + 1]]
        if len(table[0]) < 3 or not pairs:
            continue
        if all(sign in _BEFORE for sign, _ in pairs):
            for row in table:
                row[at : at + 2] = [f"{row[at]} {row[at + 1]}".strip()]
        elif all(sign in _BEHIND for _, sign in pairs):
            for row in table:
                row[at : at + 2] = [row[at] + row[at + 1]]
    return tuple(map(tuple, table))


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
        tuple(_joined(texts.get((row, column), [])) for column in columns) for row in sorted({row for row, _ in texts})
    )


def tables(found: list[list[Line]], rules: Sequence[Rule]) -> Iterator[list[Line] | Line]:
    """The rows of a column in order; those that make up a table as one line that holds its cells."""
    at = 0
    while at < len(found):
        ruled = next((line for line in found[at] if line.cells), None)
        if ruled is not None:
            beside = [line for line in found[at] if line is not ruled]
            if beside:
                yield beside
            yield ruled
            at += 1
            continue
        end = _table_end(found, at) if len(found[at]) > 1 else at
        grid = _grid(found[at:end]) if end - at >= 2 else None
        if grid is None:
            yield found[at]
            at += 1
        else:
            at = grid.extend(found, end, rules)
            first = found[at - 1][0]
            yield Line("", first.x0, first.y0, first.x1, first.y1, cells=grid.rows(rules))


def _table_end(found: list[list[Line]], start: int) -> int:
    """Where the run of rows ends that may be one table: rows of several lines, and short ones between them."""
    left = min(line.x0 for line in found[start])
    right = max(line.x1 for line in found[start])
    end = at = start + 1
    while at < len(found):
        row = found[at]
        if any(line.cells for line in row):
            break
        if row[0].y0 - max(line.y1 for line in found[at - 1]) > 2.5 * row[0].height:
            break
        if len(row) > 1:
            end = at + 1
            left, right = min(left, row[0].x0), max(right, row[-1].x1)
        elif row[0].x1 - row[0].x0 > 0.6 * (right - left) or at - end >= 3:
            break  # running text, or the end of the cells
        at += 1
    return end


def _grid(found: list[list[Line]]) -> _Grid | None:
    """The rows as a table, where they are one: at least two columns, and not a list, an index or a few stray words."""
    several = [row for row in found if len(row) > 1]
    columns = _stripes([line for row in several for line in row], len(several))
    if len(columns) < 2 or (len(several) < 3 and (len(several) < 2 or len(columns) < 3)):
        return None
    if sum(1 for row in several if _LEADERS.search(" ".join(line.text for line in row))) * 2 > len(several):
        return None
    if len(columns) == 2 and sum(1 for row in several if _BULLET.fullmatch(row[0].text)) * 2 > len(several):
        return None
    # Most rows must fill two columns; words that happen to be under each other do not.
    grid = _Grid(found, columns)
    if sum(1 for row in several if len({grid._column(line) for line in row}) > 1) < 0.6 * len(several):
        return None
    return grid


def _stripes(lines: Sequence[Line], count: int) -> list[tuple[float, float]]:
    """The vertical stripes that hold the lines. A few lines across may join them, such as headings over two columns."""
    edges = sorted([(line.x0 + 0.5, 1) for line in lines] + [(max(line.x1 - 0.5, line.x0 + 0.6), -1) for line in lines])
    allowed = max(0, int(0.12 * count))
    stripes: list[tuple[float, float]] = []
    depth = 0
    for x, change in edges:
        if depth <= allowed < depth + change:
            start = x
        if depth > allowed >= depth + change:
            stripes.append((start, x))
        depth += change
    merged: list[tuple[float, float]] = []
    for stripe in stripes:
        if merged and stripe[0] - merged[-1][1] < 1:
            merged[-1] = merged[-1][0], stripe[1]
        else:
            merged.append(stripe)
    return merged


def _joined(parts: Sequence[str]) -> str:
    """A cell of several printed lines."""
    text = ""
    for part in parts:
        text += ("" if not text or (_is_wide(text[-1]) and _is_wide(part[0])) else " ") + part
    return text


def _is_wide(character: str) -> bool:
    return "\u2e80" <= character <= "\u9fff" or "\uff00" <= character <= "\uff60" or character >= "\U00020000"


class _Grid:
    """Rows of lines that stand in the same columns."""

    def __init__(self, found: list[list[Line]], columns: list[tuple[float, float]]) -> None:
        self.found = found
        self.columns = columns

    def extend(self, found: list[list[Line]], end: int, rules: Sequence[Rule]) -> int:
        """Take in the rows from `end` on that stand in the columns too, above a rule that ends the table."""
        if not rules:
            return end
        at = end
        last = 0
        while at < min(len(found), end + _MAX_CELL_LINES) and all(
            self._fits(line) and not line.cells for line in found[at]
        ):
            at += 1
            below = found[at][0].middle if at < len(found) else found[at - 1][0].y1 + found[at - 1][0].height
            y = found[at - 1][0].middle
            if any(y < rule.at < below and self._spans(rule) for rule in rules):
                last = at
        if last:
            self.found = [*self.found, *found[end:last]]
        return last or end

    def _fits(self, line: Line) -> bool:
        return sum(1 for start, stop in self.columns if min(line.x1, stop) - max(line.x0, start) > 1) <= 1

    def _spans(self, rule: Rule) -> bool:
        left, right = self.columns[0][0], self.columns[-1][1]
        return min(rule.end, right) - max(rule.start, left) > 0.1 * (right - left)

    def rows(self, rules: Sequence[Rule]) -> tuple[tuple[str, ...], ...]:
        """The cells of each row, those of several printed lines put together."""
        cells = [[self._column(line) for line in row] for row in self.found]
        groups = self._groups(cells, rules)
        table = []
        for group in groups:
            texts: list[list[str]] = [[] for _ in self.columns]
            for at in group:
                for line, column in zip(self.found[at], cells[at], strict=True):
                    texts[column].append(line.text)
            table.append(tuple(_joined(parts) for parts in texts))
        return tuple(table)

    def _column(self, line: Line) -> int:
        """The column that the line overlaps most."""
        overlaps = [min(line.x1, end) - max(line.x0, start) for start, end in self.columns]
        return max(range(len(overlaps)), key=lambda at: overlaps[at])

    def _groups(self, cells: list[list[int]], rules: Sequence[Rule]) -> list[list[int]]:
        """Which printed rows make one row of the table: those between two drawn rules, or those without a beginning."""
        by_rules = self._ruled_groups(rules)
        # Three rules and few lines between them: they separate rows, and not only the header from the rest.
        if len(by_rules) >= 3 and len(self.found) <= 3 * len(by_rules):
            return by_rules
        groups: list[list[int]] = []
        for at in range(len(cells)):
            if groups and self._continues(groups[-1], at, cells):
                groups[-1].append(at)
            else:
                groups.append([at])
        return groups

    def _ruled_groups(self, rules: Sequence[Rule]) -> list[list[int]]:
        across = [rule.at for rule in rules if self._spans(rule)]
        groups: list[list[int]] = []
        before = 0.0
        for at, row in enumerate(self.found):
            middle = median(line.middle for line in row)
            if groups and bisect_left(across, middle) == bisect_left(across, before):
                groups[-1].append(at)
            else:
                groups.append([at])
            before = middle
        return groups

    def _continues(self, group: list[int], at: int, cells: list[list[int]]) -> bool:
        """Whether a row goes on with cells of the row above: it has no beginning and stands close, or beside."""
        above, row = self.found[group[-1]], self.found[at]
        overlap = max(line.y1 for line in above) - min(line.y0 for line in row)
        if overlap > _BESIDE * min(above[0].height, row[0].height):
            return True  # cells of other heights, each in the middle of its row
        if 0 in cells[at] or not set(cells[at]) <= set(cells[group[-1]]):
            return False
        return -overlap < _CLOSE * row[0].height
