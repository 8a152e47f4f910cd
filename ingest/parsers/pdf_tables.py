"""Tables of which nothing is drawn: lines that stand in columns."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from statistics import median

from ingest.parsers.pdf_words import Line, Rule

_BULLET = re.compile(
    r"[-•·▪●◦○■□◆▶➢✓*–—☐☑\ue000-\uf8ff]|\(?[\da-zA-Z]{1,3}[.)、．]|[（(][\d一二三四五六七八九十]{1,3}[)）]|\[\d{1,3}\]"
)
_LEADERS = re.compile(r"(?:\. ?){4,}|…{2,}|·{4,}")
_BESIDE = 0.3  # of the height: lines that overlap so much are not under each other
_CLOSE = 0.35  # of the height: lines of one cell are no further apart
_BEFORE = frozenset("$€£¥")
_BEHIND = frozenset(("%", ")", ")%", "%)"))
_CUT_OFF = frozenset((" $", " €", " £", " ¥"))
_MAX_CELL_LINES = 12
_MOST_ROWS = 300  # on a page


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
    while at < min(len(found), start + _MOST_ROWS):
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


def joined(parts: Sequence[str]) -> str:
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
            table.append(tuple(joined(parts) for parts in texts))
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
