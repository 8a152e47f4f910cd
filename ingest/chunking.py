"""A document's text into chunks: under its headings, of whole sentences, to a budget of the embedder's tokens."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from app.sentences import split_sentences
from app.types import Chunk
from ingest.sections import Span

CountTokens = Callable[[Sequence[str]], list[int]]

_MAX_PIECE_CHARACTERS = 2000  # a longer sentence is cut before it is counted, so that counting stays linear
# A tokenizer may know a long run of anything as one unknown token; such a run still takes room.
_MAX_CHARACTERS_PER_TOKEN = 16
_MIN_TAIL = 1 / 3  # of the budget: less than this is not left for a chunk of its own
_PATH_SHARE = 1 / 5  # of the budget: what a heading path may take besides
_PARAGRAPH_FROM = 2 / 3  # of the budget: from here on a chunk rather ends with its paragraph
# Where a sentence that is too long is cut, best first.
_CUTS = (re.compile(r"\n"), re.compile(r"[，、；：,;:](?=\s)|[，、；：]"), re.compile(r"\s"))


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or a piece of one that is too long."""

    start: int
    end: int
    tokens: int
    opens_paragraph: bool


def chunk(text: str, spans: Sequence[Span], count_tokens: CountTokens, budget: int, overlap: int) -> list[Chunk]:
    """Chunks of at most `budget` tokens, in order, each beginning with up to `overlap` tokens of the one before.

    `text` and `spans` are what `assemble` returns; `count_tokens` gives the number of tokens of each of many texts. A
    chunk has one heading path, and is of one table or of none; it may run over pages: it has the page of its first
    character, and knows where others begin. Every character that is not white space is in some chunk, and
    `text[start:end] == chunk.text`.
    """
    if budget < 1:
        raise ValueError("the budget must be positive")
    blocks = list(_blocks(text, spans))
    context_tokens = _count_context(spans, count_tokens, budget)
    rooms = [max(budget - context_tokens[_of(last)], math.ceil(budget / 2)) for _, _, last in blocks]
    units = _count_units(text, [list(_pieces(text, start, end)) for start, end, _ in blocks], count_tokens, rooms)
    starts = [span.start for span in spans]
    chunks: list[Chunk] = []
    for (_, _, last), block_units, room in zip(blocks, units, rooms, strict=True):
        for first, end in _pack(block_units, room, min(overlap, room // 2)):
            start, stop = block_units[first].start, block_units[end - 1].end
            page, breaks = _pages(spans[bisect_right(starts, start) - 1 : bisect_left(starts, stop)])
            tokens = sum(unit.tokens for unit in block_units[first:end])
            header = "" if last.header in text[start:stop] else last.header  # it is not needed a second time
            chunks.append(
                Chunk(len(chunks), start, stop, text[start:stop], page, last.headings, tokens, breaks, header)
            )
    return chunks


def with_page_labels(chunks: Iterable[Chunk], labels: Sequence[str]) -> list[Chunk]:
    """The chunks with the labels of their pages, where the file calls these otherwise than by their numbers."""
    called = {page: label for page, label in enumerate(labels, 1) if label not in ("", str(page))}
    return [
        replace(chunk, page_labels=tuple((page, called[page]) for page in chunk.pages if page in called))
        if called
        else chunk
        for chunk in chunks
    ]


def _pages(spans: Sequence[Span]) -> tuple[int | None, tuple[tuple[int, int], ...]]:
    """The page of the first span, and where the others begin a new one."""
    breaks = [
        (span.start, span.page)
        for before, span in pairwise(spans)
        if span.page is not None and span.page != before.page
    ]
    return spans[0].page, tuple(breaks)


def _blocks(text: str, spans: Sequence[Span]) -> Iterator[tuple[int, int, Span]]:
    """Runs of text under one heading path, tables by themselves: start, end, and the last span, which tells of both.

    A heading without a body of its own goes with what follows it.
    """
    start: int | None = None
    for index, span in enumerate(spans):
        if start is None:
            start = span.start
        following = spans[index + 1] if index + 1 < len(spans) else None
        if following and ((_of(following) == _of(span) and not span.header) or _is_bare_heading(text, span)):
            continue
        yield start, span.end, span
        start = None


def _count_context(
    spans: Sequence[Span], count_tokens: CountTokens, budget: int
) -> dict[tuple[tuple[str, ...], str], int]:
    """What of the budget goes to the heading path and the header row of a span: the embedder reads them as well."""
    contexts = list(dict.fromkeys(map(_of, spans)))
    texts = [text for headings, header in contexts for text in (" > ".join(headings), header)]
    counts = count_tokens(texts) if any(texts) else [0] * len(texts)
    free = int(budget * _PATH_SHARE)
    return {
        context: max(0, path - free) + header
        for context, path, header in zip(contexts, counts[::2], counts[1::2], strict=True)
    }


def _of(span: Span) -> tuple[tuple[str, ...], str]:
    return span.headings, span.header


def _is_bare_heading(text: str, span: Span) -> bool:
    """Whether the span is its heading's line and no more; a number may stand before the title."""
    if not span.headings or span.end - span.start > len(span.headings[-1]) + 12:
        return False
    return " ".join(text[span.start : span.end].split()).endswith(span.headings[-1])


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences of a block, the longest of them cut."""
    for from_, to in split_sentences(text[start:end]):
        if to - from_ <= _MAX_PIECE_CHARACTERS:
            yield start + from_, start + to
        else:
            yield from _cut(text, start + from_, start + to, _MAX_PIECE_CHARACTERS)


def _count_units(
    text: str, pieces: list[list[tuple[int, int]]], count_tokens: CountTokens, rooms: Sequence[int]
) -> list[list[_Unit]]:
    """Units with their tokens, none over its block's room. Everything is counted at once; what was too long, again."""
    counted: dict[tuple[int, int], int] = {}
    pending = [(*piece, room) for block, room in zip(pieces, rooms, strict=True) for piece in block]
    finer: dict[tuple[int, int], list[tuple[int, int]]] = {}
    while pending:
        counts = count_tokens([text[start:end] for start, end, _ in pending])
        too_long: list[tuple[int, int, int]] = []
        for (start, end, room), tokens in zip(pending, counts, strict=True):
            tokens = max(tokens, math.ceil((end - start) / _MAX_CHARACTERS_PER_TOKEN))
            if tokens > room and end - start > 1:
                parts = list(_cut(text, start, end, max(1, (end - start) * room // (tokens + room // 8))))
                finer[start, end] = parts
                too_long.extend((*part, room) for part in parts)
            else:
                counted[start, end] = tokens
        pending = too_long
    units: list[list[_Unit]] = []
    for block in pieces:
        leaves = [leaf for piece in block for leaf in _leaves(piece, finer)]
        before = [leaves[0][0], *(end for _, end in leaves)] if leaves else []
        units.append(
            [
                _Unit(start, end, counted[start, end], "\n" in text[last:start])
                for (start, end), last in zip(leaves, before, strict=False)
            ]
        )
    return units


def _leaves(piece: tuple[int, int], finer: dict[tuple[int, int], list[tuple[int, int]]]) -> Iterator[tuple[int, int]]:
    stack = [piece]
    while stack:
        piece = stack.pop()
        if piece in finer:
            stack.extend(reversed(finer[piece]))
        else:
            yield piece


def _cut(text: str, start: int, end: int, characters: int) -> Iterator[tuple[int, int]]:
    """Cut `text[start:end]` into pieces of at most `characters`: at a line's or clause's end, a space, or anywhere."""
    while end - start > characters:
        at = _cut_point(text, start, start + characters)
        piece = _trim(text, start, at)
        if piece:
            yield piece
        start = at
    piece = _trim(text, start, end)
    if piece:
        yield piece


def _cut_point(text: str, start: int, limit: int) -> int:
    """The best place for a cut in the second half of `text[start:limit]`."""
    for pattern in _CUTS:
        ends = [match.end() for match in pattern.finditer(text, (start + limit) // 2, limit)]
        if ends:
            return ends[-1]
    return limit


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _pack(units: Sequence[_Unit], budget: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Ranges `(first, end)` of units: full but not over the budget, no tiny last one, ends at paragraphs preferred."""
    total = [0, *accumulate(unit.tokens for unit in units)]
    first = done = 0  # the next chunk begins at `first`; the units before `done` are in a chunk already
    while done < len(units):
        end = max(bisect_right(total, total[first] + budget) - 1, done + 1)
        if end < len(units):
            end = _better_end(units, total, first, done, end, budget)
        yield first, end
        first = done = end
        if end < len(units):
            # Room for the overlap is only what the next unit leaves; else the next chunk would bring nothing new.
            room = min(overlap, budget - units[end].tokens)
            while first > 0 and total[end] - total[first - 1] <= room:
                first -= 1


def _better_end(units: Sequence[_Unit], total: Sequence[int], first: int, done: int, end: int, budget: int) -> int:
    """An end not after `end`: one that halves what would leave a tiny tail, or the end of a paragraph."""
    rest = total[-1] - total[first]
    if rest - budget < budget * _MIN_TAIL:
        half = bisect_right(total, total[first] + rest / 2)
        return max(done + 1, min(half, end))
    for at in range(end, done + 1, -1):
        if total[at] - total[first] < budget * _PARAGRAPH_FROM:
            break
        if units[at].opens_paragraph:
            return at
    return end
