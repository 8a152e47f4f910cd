"""Printed lines back to paragraphs: a sentence that was broken to fit the page becomes whole again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_WIDE = re.compile(
    r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003ffff]"
)
_ITEM = re.compile(
    r"[-•·▪●◦○■□◆▶➢✓*–—]\s|\(?\d{1,3}[.)、]\s?\D|[(（][\da-zA-Z一二三四五六七八九十]{1,3}[)）]|[一二三四五六七八九十]{1,3}、"
    r"|第[一二三四五六七八九十百\d]{1,4}[章节条]|\d{1,2}(?:\.\d{1,2}){0,3}$"
)
_SECTION_NUMBER = re.compile(r"\d{1,2}(?:\.\d{1,2}){1,3}")
_NUMBER = re.compile(r"[\d.,%$€¥£()（）+\-–—]*\d[\d.,%()（）\-–—]*")
_LEADERS = re.compile(r"(?:\. ?|…|·){4,}\s*[\divxlc]+$")  # an entry of a table of contents, with its page
_CHINESE_CLAUSE = re.compile("[，。；]")  # numbers in a Chinese sentence may stand between spaces, as in a row
_ENDS_SENTENCE = re.compile(r"[.!?。！？：:；;…][\"'”’)\]）」』]*$")
_ENDS_OPEN = re.compile(r"[,，、(（《“\[–—-]$")
_GOES_ON = re.compile(r"[a-zà-ÿ,;，。、；：！？）)》”\]]")
_BROKEN_WORD = re.compile(r"([^\W\d_]+)[-\u2010]$")
_FIRST_WORD = re.compile(r"[a-zà-ÿ]+")
_ENDS_DASH = re.compile(r"\S[-\u2010–—/]$")
_BROKEN_PAIR = re.compile(r"\w+[-\u2010]\s*\n\s*\w+")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_FULL = 0.75  # of the page's usual line: a shorter line ends its paragraph
_LONG_COLUMNS = 24  # a page of shorter lines is a table or a list


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """The words of a document that no line break cuts: they tell how a cut word is written."""
    words: set[str] = set()
    for text in texts:
        words.update(_WORD.findall(_BROKEN_PAIR.sub(" ", text).lower()))
    return frozenset(words)


def join_lines(lines: Sequence[str], words: frozenset[str] = frozenset()) -> list[str]:
    """The paragraphs of one page, in order, from its printed lines. `words` is the document's vocabulary."""
    widths = [display_width(line) for line in lines]
    usual = _usual_width(widths)
    paragraphs: list[list[str]] = []
    width = 0  # of the last line; fragments of one printed line add up
    for at, line in enumerate(lines):
        # Columns are narrower than what runs across the page: the lines around tell.
        around = min(usual, max(widths[max(0, at - 3) : at + 3]))
        if paragraphs and _continues(paragraphs[-1][-1], width, line, around):
            paragraphs[-1].append(line)
            # Behind a full line a new one begins, unless it is a fragment: a word in another font, a raised number.
            width = widths[at] if _ENDS_SENTENCE.search(line) else width + widths[at]
        else:
            paragraphs.append([line])
            width = widths[at]
    return [rejoin(pieces, words) for pieces in paragraphs]


def join_printed(lines: Sequence[str], widths: Sequence[int], usual: int, words: frozenset[str]) -> list[str]:
    """Like `join_lines`, for lines whose widths were measured; `usual` is that of a full line, all in half an em."""
    paragraphs = [[lines[0]]]
    for before, width, line in zip(lines, widths, lines[1:], strict=False):
        if _continues(before, width, line, usual):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return [rejoin(pieces, words) for pieces in paragraphs]


def joint(before: str, after: str) -> str:
    """What stands between two pieces of one paragraph: nothing within Chinese or Japanese, or after a dash."""
    if _WIDE.match(before[-1:]) and _WIDE.match(after):
        return ""
    return "" if _ENDS_DASH.search(before[-2:]) else " "


def runs_on(before: str, after: str) -> bool:
    """Whether a paragraph that ends one page goes on as the first of the next."""
    if _ENDS_SENTENCE.search(before[-10:]) or _ITEM.match(after) or _is_row(before[-200:]):
        return False
    return display_width(before[-200:]) >= 2 * _LONG_COLUMNS and bool(_GOES_ON.match(after) or _WIDE.match(before[-1:]))


def rejoin(pieces: Sequence[str], words: frozenset[str]) -> str:
    """One paragraph from its printed lines, as a reader would read them across the line breaks."""
    parts = [pieces[0]]
    for line in pieces[1:]:
        before = parts[-1]
        broken, following = _BROKEN_WORD.search(before[-60:]), _FIRST_WORD.match(line)
        if broken and following:
            if not _keeps_hyphen(broken[1].lower(), following[0], words):
                parts[-1] = before[:-1]
        else:
            parts.append(joint(before, line))
        parts.append(line)
    return "".join(parts)


def _keeps_hyphen(first: str, second: str, words: frozenset[str]) -> bool:
    """Whether a hyphen at a line end belongs to the word, by how the document writes it elsewhere."""
    if f"{first}-{second}" in words:
        return True
    return first + second not in words and first in words and second in words


def _continues(before: str, width: int, line: str, usual: int) -> bool:
    if _SECTION_NUMBER.fullmatch(before):
        return not _is_row(line)
    if _ITEM.match(line) or _is_row(before) or _is_row(line) or _LEADERS.search(before[-80:]):
        return False
    if _ENDS_OPEN.search(before) or _GOES_ON.match(line):
        return True
    return usual >= _LONG_COLUMNS and width >= usual * _FULL


def _is_row(line: str) -> bool:
    """Whether the line is a row of a table: it ends with two numbers, or with one and two fifths of it are numbers."""
    cells = line.split()
    if _CHINESE_CLAUSE.search(line):
        return False
    if len(cells) < 2 or not _NUMBER.fullmatch(cells[-1]):
        return False
    if _NUMBER.fullmatch(cells[-2]):
        return True
    numbers = sum(1 for cell in cells if _NUMBER.fullmatch(cell))
    return numbers >= 2 and numbers * 5 >= len(cells) * 2


def _usual_width(widths: Sequence[int]) -> int:
    """The width that most full lines of the page have: the 80th percentile."""
    return sorted(widths)[int(len(widths) * 0.8)] if widths else 0


def display_width(text: str) -> int:
    """Width in columns: a Chinese character takes two."""
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))
