"""Sentence boundaries in English and Chinese, as exact spans, in time linear in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOSERS = "\"'”’)]}»」』）】》〉"
# A full stop ends a sentence only before white space; Chinese ends need none. What a line break ends is decided below.
_BOUNDARY = re.compile(rf"[。｡！？；…۔।]+[{re.escape(_CLOSERS)}]*|[.!?؟]+[{re.escape(_CLOSERS)}]*(?=\s|$)|\n")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[“\"'])(?:[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|vs|etc|cf|al|approx|ca|No|Nos|Fig"
    r"|Figs|Eq|Eqs|Sec|Ch|Vol|pp|ed|eds|Inc|Ltd|Co|Corp|Gen|Col|Lt|Sgt|Capt|Rep|Sen|Gov|Jan|Feb|Mar|Apr|Jun|Jul|Aug"
    r"|Sep|Sept|Oct|Nov|Dec)$"
)
_LOOKBACK = 12  # the longest abbreviation with what precedes it
_MARKER_ONLY = re.compile(r"\s*[(\[]?(?:\d{1,3}(?:\.\d{1,3})*|[A-Za-z]|[ivx]{1,4})$")  # of a list item: "3." or "b."
_NEXT_WORD = re.compile(r"\s+[\"'“‘(\[]*(\S)")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•·▪●◦]\s|\d{1,3}[.)、]|[(（]\d{1,3}[)）])")
_WIDE = re.compile(r"[\u3000-\u9fff\uac00-\ud7af\uff00-\uffef]")
_SHORT_LINE = 40  # columns; a wrapped line is longer, a heading or a line of an address is not
_ROW = " | "  # between the cells of a table's row


def split_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Spans `(start, end)` of the sentences of `text`, without the white space around them, in order.

    The row of a table, a list item and a heading's line count as sentences.
    """
    start = 0
    for match in _BOUNDARY.finditer(text):
        mark = match.group()[0]
        if mark == "\n":
            if not _line_ends(text, start, match.start()):
                continue
        elif mark in ".!?؟…" and _goes_on(text, start, match.start(), match.end()):
            continue
        span = _trim(text, start, match.end())
        if span:
            yield span
        start = match.end()
    span = _trim(text, start, len(text))
    if span:
        yield span


def _goes_on(text: str, start: int, mark: int, after: int) -> bool:
    """Whether the sentence continues behind this mark: an abbreviation, or a small letter follows."""
    following = _NEXT_WORD.match(text, after, after + 20)
    if following and following[1].islower():
        return True
    if text[mark:after] != ".":
        return False
    if mark - start <= _LOOKBACK and _MARKER_ONLY.match(text[start:mark]):
        return True
    return bool(_ABBREVIATION.search(text[max(start, mark - _LOOKBACK) : mark]))


def _line_ends(text: str, start: int, newline: int) -> bool:
    """Whether a line break ends the sentence: before a blank line, an item or a row; behind a row or a short line."""
    following = text[newline + 1 : newline + 1 + 4 * _SHORT_LINE].split("\n", 1)[0]
    if not following or following.isspace() or _LIST_ITEM.match(following):
        return True
    line = text[max(start, newline - 4 * _SHORT_LINE) : newline].rsplit("\n", 1)[-1]
    if _ROW in line or _ROW in following:
        return True
    if following.lstrip()[0].islower():
        return False
    return len(line) + (0 if line.isascii() else len(_WIDE.findall(line))) < _SHORT_LINE


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None
