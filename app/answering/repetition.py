"""A language model that repeats itself without end: noticed while it streams.

Text is a sequence of words, and of single characters where words have no spaces. Where the last words stood before,
always at the same distance, for the length of whole copies, the model is in a loop. That every word has to agree keeps
lists, tables and rows of numbers apart from it: their items differ somewhere.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Sequence

from app.answering.citations import MARKER
from app.index.analysis import CJK

_UNIT = re.compile(rf"[{CJK}]|(?:(?![{CJK}])\w)+")
_CJK_UNIT = re.compile(f"[{CJK}]")
_GRAM = 6  # units that are compared at once
_REMEMBERED = 8  # positions of each: a period may hold the same words several times
_SUSPICIOUS = 6  # repeated grams in a row from which text is held back
_COPIES = 2  # beyond the first; a long one (below) has to come once more only
_LONG = 40  # units
_LEAST = 24  # units, of words in sentences
_LEAST_FEW_WORDS = 60  # of one or two different words: "no, no, no"
_LEAST_NUMBERS = 200  # of digits alone
_LEAST_TABLE = 400  # of cells
_MOST_WITHOUT_WORDS = 2000  # characters: line breaks, dashes, or one word that does not end
_LOOSE_END = " \t\n[(【“\"'‘*#-"


class LoopGuard:
    """Passes a stream's text on, and ends it in a loop: `is_looping`.

    The repeated copies are cut off as far as nobody has read them; suspicious text is held back for that.
    """

    def __init__(self, *, hold_all: bool) -> None:
        """`hold_all`: nobody reads along, so nothing is passed on before the end, and one copy is all that is left."""
        self._hold_all = hold_all
        self._text = ""
        self._passed_on = 0
        self._scanned = 0
        self._units: list[str] = []
        self._starts: list[int] = []
        self._seen: dict[tuple[str, ...], deque[int]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self._runs: dict[int, int] = {}  # distance → grams in a row that stood before at that distance
        self.is_looping = False

    def add(self, text: str) -> str:
        """The next piece; gives what may be passed on now."""
        self._text += text
        for match in _UNIT.finditer(self._text, self._scanned):
            if match.end() == len(self._text) and not _CJK_UNIT.match(match.group()):
                break  # the word may go on
            self._scanned = match.end()
            self._read(match)
            if self.is_looping:
                return ""
        if len(self._text) - self._scanned > _MOST_WITHOUT_WORDS:
            self.is_looping = True
            self._cut(self._scanned)
            return ""
        is_suspicious = any(run >= _SUSPICIOUS for run in self._runs.values())
        return "" if self._hold_all or is_suspicious else self._release()

    def finish(self) -> str:
        """What is left to pass on."""
        return self._release()

    def _release(self) -> str:
        text = self._text[self._passed_on :]
        self._passed_on = max(self._passed_on, len(self._text))
        return text

    def _read(self, match: re.Match[str]) -> None:
        self._units.append(match.group().lower())
        self._starts.append(match.start())
        at = len(self._units) - 1
        if at < _GRAM - 1:
            return
        before = self._seen[tuple(self._units[-_GRAM:])]
        self._runs = {at - position: self._runs.get(at - position, 0) + 1 for position in before}
        before.append(at)
        for period, run in self._runs.items():
            if run >= (period if period >= _LONG else _COPIES * period) and run >= self._least(period):
                self.is_looping = True
                begins = at - run - (_GRAM - 1) - period + 1
                self._cut(self._starts[begins + period])
                return

    def _least(self, period: int) -> int:
        words = self._units[-period:]
        if re.search(r"[|\t]", self._text[self._starts[-max(period, _GRAM)] :]):
            return _LEAST_TABLE
        if all(word.isnumeric() for word in words):
            return _LEAST_NUMBERS
        return _LEAST if _different(words) > 2 else _LEAST_FEW_WORDS

    def _cut(self, end: int) -> None:
        """Keep what comes before `end`, with the whole of a marker that stands there."""
        marker = next((match for match in MARKER.finditer(self._text) if match.start() < end <= match.end()), None)
        kept = self._text[: marker.end() if marker else end].rstrip(_LOOSE_END)
        self._text = self._text[: max(len(kept), self._passed_on)]


def _different(words: Sequence[str]) -> int:
    return len({word for word in words if not word.isnumeric()})
