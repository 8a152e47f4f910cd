"""Small to big: what was found by its chunks, widened by their neighbours and merged where it overlaps.

Small chunks are found best, and larger passages are understood best. A chunk's neighbours are those right before and
behind it under the same headings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.store.chunks import StoredChunk
from app.types import Passage

_GAP = 2  # hits no further apart become one passage: what stands between them is a neighbour of both

ReadText = Callable[[str, int, int, int], str]  # of a document's version, from and to an offset


@dataclass(frozen=True, slots=True)
class Joined:
    """A passage with its neighbours, and without them for where there is less room. Both are exact."""

    wide: Passage
    narrow: Passage


@dataclass(frozen=True, slots=True)
class _Run:
    """Hits that follow each other: the passage of the best one, its rank, and the ids of all from first to last."""

    rank: int
    best: Passage
    first: int
    last: int


def join(
    hits: Sequence[tuple[StoredChunk, Passage]], neighbours: Mapping[int, StoredChunk], read_text: ReadText
) -> tuple[Joined, ...]:
    """The hits, best first, as passages that do not overlap, in the order of the best hit of each.

    `neighbours` by id, of which a version's chunks have one run.
    """
    chunks = {**neighbours, **{chunk.id: chunk for chunk, _ in hits}}
    joined: list[tuple[int, Joined]] = []
    version, end = ("", 0), 0  # and where the passage before it in the same version ends
    for run in _runs(hits):
        if _version(run.best) != version:
            version, end = _version(run.best), 0
        first = run.first - _goes_on(chunks, run.first, -1)
        last = run.last + _goes_on(chunks, run.last, 1)
        start, end = max(chunks[first].chunk.start, end), chunks[last].chunk.end
        text = read_text(*version, start, end)
        wide = _passage(run.best, [chunks[at] for at in range(first, last + 1)], start, text)
        core = [chunks[at] for at in range(run.first, run.last + 1)]
        begin = max(core[0].chunk.start, start)
        narrow = _passage(run.best, core, begin, text[begin - start : core[-1].chunk.end - start])
        joined.append((run.rank, Joined(wide, narrow)))
    return tuple(each for _, each in sorted(joined, key=lambda pair: pair[0]))


def _runs(hits: Sequence[tuple[StoredChunk, Passage]]) -> list[_Run]:
    """By version and place in it."""
    ranked = sorted(enumerate(hits), key=lambda each: each[1][0].id)
    runs: list[_Run] = []
    for rank, (chunk, passage) in ranked:
        run = runs[-1] if runs else None
        if run is not None and chunk.id - run.last <= _GAP and _section(run.best) == _section(passage):
            best, rank = (run.best, run.rank) if run.rank < rank else (passage, rank)
            runs[-1] = _Run(rank, best, run.first, chunk.id)
        else:
            runs.append(_Run(rank, passage, chunk.id, chunk.id))
    return runs


def _goes_on(chunks: Mapping[int, StoredChunk], id: int, step: int) -> bool:
    here, there = chunks[id], chunks.get(id + step)
    return there is not None and (here.document_id, here.version, here.chunk.headings) == (
        there.document_id,
        there.version,
        there.chunk.headings,
    )


def _version(passage: Passage) -> tuple[str, int]:
    return passage.document_id, passage.version


def _section(passage: Passage) -> tuple[str, int, tuple[str, ...]]:
    return passage.document_id, passage.version, passage.headings


def _passage(best: Passage, chunks: Sequence[StoredChunk], start: int, text: str) -> Passage:
    """The best hit's passage, over the text of several chunks."""
    places = sorted(
        {place for each in chunks for place in ((each.chunk.start, each.chunk.page), *each.chunk.page_breaks)}
    )
    page = chunks[0].chunk.page
    breaks: list[tuple[int, int]] = []
    last = page
    for offset, number in places:
        if number is None or number == last:
            continue
        last = number
        if offset <= start:
            page = number
        else:
            breaks.append((offset, number))
    return replace(
        best,
        page=page,
        start=start,
        end=start + len(text),
        text=text,
        page_breaks=tuple(breaks),
        page_labels=tuple(dict.fromkeys(label for each in chunks for label in each.chunk.page_labels)),
        header=chunks[0].chunk.header if start == chunks[0].chunk.start else best.header,
    )
