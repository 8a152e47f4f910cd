"""What was found, with its neighbours: exact, without overlap, in the order of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import anyio
import pytest

from app.retrieval.joining import Joined, join
from app.retrieval.passages import passage_of
from app.retrieval.reading import Reader
from app.store.chunks import StoredChunk
from app.types import Passage, Scores
from ingest.chunking import chunk
from ingest.sections import Section, assemble
from tests.retrieval.shelves import Shelf

_SECTIONS = [
    Section("\n".join(f"Sentence {number} is on page {page}." for number in range(8)), page, headings, joint="\n\n")
    for page, headings in ((1, ("A",)), (2, ("A",)), (3, ("B",)))
]
TEXT, _SPANS = assemble(_SECTIONS)
CHUNKS = [
    StoredChunk(number, "doc_1", 1, "file.txt", each)
    for number, each in enumerate(
        chunk(TEXT, _SPANS, lambda texts: [len(text.split()) for text in texts], budget=20, overlap=6), start=101
    )
]


def joined(hits: Sequence[StoredChunk]) -> tuple[Joined, ...]:
    return join(
        [(each, passage(each, 1.0 - rank / 10)) for rank, each in enumerate(hits)],
        {each.id: each for each in CHUNKS},
        lambda document, version, start, end: TEXT[start:end],
    )


def passage(stored: StoredChunk, score: float) -> Passage:
    return passage_of(stored, score=score)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_exact_and_without_overlap(count: int) -> None:
    """Whatever was found, every passage is the text between its offsets, holds its hits, and overlaps no other."""
    for hits in combinations(CHUNKS, count):
        found = joined(hits[::-1])
        for each in found:
            for part in (each.wide, each.narrow):
                assert part.text == TEXT[part.start : part.end]
                assert all(f"page {part.page_at(part.start + at)}." in line for at, line in _lines(part.text))
            assert each.wide.start <= each.narrow.start
            assert each.narrow.end <= each.wide.end
        shown = {at for each in found for at in range(each.wide.start, each.wide.end)}
        assert all(shown.issuperset(range(hit.chunk.start, hit.chunk.end)) for hit in hits)
        in_text = sorted((each.wide for each in found), key=lambda each: each.start)
        assert all(before.end <= after.start for before, after in pairwise(in_text))


def _lines(text: str) -> list[tuple[int, str]]:
    starts = [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]
    return [(at, line) for at, line in zip(starts, text.split("\n"), strict=True) if line]


def test_neighbours() -> None:
    """A passage has the chunk before it and the one behind."""
    (each,) = joined([CHUNKS[2]])
    assert (each.wide.start, each.wide.end) == (CHUNKS[1].chunk.start, CHUNKS[3].chunk.end)
    assert (each.narrow.start, each.narrow.end) == (CHUNKS[2].chunk.start, CHUNKS[2].chunk.end)
    assert each.wide.chunk_id == CHUNKS[2].chunk_id


def test_sections() -> None:
    """What stands under another heading is no neighbour."""
    last = max(number for number, each in enumerate(CHUNKS) if each.chunk.headings == ("A",))
    (each,) = joined([CHUNKS[last]])
    assert each.wide.end == CHUNKS[last].chunk.end
    assert len(joined([CHUNKS[last], CHUNKS[last + 1]])) == 2


def test_hits_side_by_side() -> None:
    """Hits with at most one chunk between them are one passage, at the place of the best of them."""
    first, second = joined([CHUNKS[2], CHUNKS[-1], CHUNKS[0]])
    assert first.narrow.start == CHUNKS[0].chunk.start
    assert first.narrow.end == CHUNKS[2].chunk.end
    assert (first.wide.score, first.wide.chunk_id) == (1.0, CHUNKS[2].chunk_id)
    assert second.wide.chunk_id == CHUNKS[-1].chunk_id


def test_documents() -> None:
    """Chunks of other documents are no neighbours, though their numbers follow."""
    other = StoredChunk(CHUNKS[0].id - 1, "doc_0", 1, "other.txt", CHUNKS[0].chunk)
    hit = CHUNKS[0]
    (each,) = join([(hit, passage(hit, 1.0))], {other.id: other}, lambda document, version, start, end: TEXT[start:end])
    assert (each.wide.start, each.wide.end) == (hit.chunk.start, hit.chunk.end)


def test_neighbours_of_a_real_search(shelf: Shelf) -> None:
    """What a search found is joined with what stands around it, as long as its document is there."""
    document = shelf.upload("a longer text").document.id
    job = shelf.claim()
    assert job is not None
    texts = ["It began in May.", "The zephyr blew for days.", "It ended in June.", "Nothing followed."]
    shelf.store(job, texts)
    shelf.core.projection.sync(shelf.read(document).collection_id)
    shelf.go_live(job)
    reader = Reader(shelf.core.database)
    found = shelf.search("zephyr", top_k=1).passages
    (joined,) = anyio.run(reader.join, found)
    assert found[0].text == joined.narrow.text == texts[1]
    assert joined.wide.text == "\n".join(texts[:3])
    shelf.delete(document)
    assert anyio.run(reader.join, found) == ()


def test_a_passage_is_told_by_its_label() -> None:
    """Whether a passage was found or read beside another, its page is called as the file calls it."""
    labelled = replace(CHUNKS[0], chunk=replace(CHUNKS[0].chunk, page=2, page_labels=((2, "ii"),)))
    read = passage_of(labelled)
    assert (read.page, read.page_label, read.score, read.scores) == (2, "ii", 0.0, Scores())
