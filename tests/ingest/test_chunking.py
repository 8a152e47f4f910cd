"""Chunks: exact offsets, whole sentences, one heading path, within the budget."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.types import Chunk, indexed_text
from ingest.chunking import chunk
from ingest.sections import Section, assemble

_TOKEN = re.compile(r"[\u3000-\u9fff]|\w+|[^\w\s]")


def count(texts: Sequence[str]) -> list[int]:
    """Tokens as a word-piece tokenizer would see them, roughly."""
    return [len(_TOKEN.findall(text)) for text in texts]


def chunks_of(*sections: Section, budget: int = 20, overlap: int = 0) -> tuple[str, list[Chunk]]:
    text, spans = assemble(sections)
    return text, chunk(text, spans, count, budget, overlap)


def prose(sentences: int, words: int = 9) -> str:
    return " ".join(f"Sentence {number} " + "word " * (words - 3) + "ends." for number in range(sentences))


ALPHABETS = st.sampled_from(["ab c. ", "中文，。 ", "a.\n#|", "x", "\u0301a 。\n\n"])
TEXTS = ALPHABETS.flatmap(lambda alphabet: st.text(alphabet=alphabet, max_size=400)) | st.text(max_size=200)
SECTIONS = st.lists(
    st.builds(
        Section,
        TEXTS,
        st.none() | st.integers(1, 5),
        st.sampled_from([(), ("A",), ("A", "B"), ("ab",)]),
        header=st.sampled_from(["", "a"]),
    ),
    max_size=6,
)


@given(SECTIONS, st.integers(1, 40), st.integers(0, 40))
@settings(deadline=None)
def test_properties(sections: list[Section], budget: int, overlap: int) -> None:
    """For any text: offsets are exact, nothing visible is left out, no chunk is over the budget or out of order."""
    text, spans = assemble(sections)
    chunks = chunk(text, spans, count, budget, overlap)
    uncovered = list(text)
    for ordinal, piece in enumerate(chunks):
        assert piece.ordinal == ordinal
        assert text[piece.start : piece.end] == piece.text
        assert piece.text.strip() == piece.text != ""
        assert piece.tokens <= budget or piece.end - piece.start == 1
        span = next(span for span in reversed(spans) if span.start <= piece.start)
        assert piece.page == span.page
        uncovered[piece.start : piece.end] = [" "] * (piece.end - piece.start)
    assert not "".join(uncovered).strip()
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end


def test_sentences_stay_whole() -> None:
    """A chunk ends where a sentence does."""
    _, chunks = chunks_of(Section(prose(10)), budget=25)
    assert len(chunks) > 3
    assert all(piece.text.startswith("Sentence") and piece.text.endswith("ends.") for piece in chunks)


def test_overlap() -> None:
    """A chunk begins with the last whole sentences of the one before, up to the overlap and no more."""
    _, chunks = chunks_of(Section(prose(12, words=8)), budget=40, overlap=10)
    for before, after in pairwise(chunks):
        shared = before.end - after.start
        assert shared > 0
        assert count([before.text[-shared:]])[0] <= 10


def test_headings_part_chunks() -> None:
    """A chunk has one heading path, however short its section is."""
    _, chunks = chunks_of(Section("A\n\nOne.", headings=("A",)), Section("B\n\nTwo.", headings=("B",)), budget=99)
    assert [(piece.headings, piece.text) for piece in chunks] == [(("A",), "A\n\nOne."), (("B",), "B\n\nTwo.")]


def test_bare_heading() -> None:
    """A heading without a body goes with the section that follows it."""
    _, chunks = chunks_of(Section("1 A", headings=("A",)), Section("A.1\n\nBody.", headings=("A", "A.1")), budget=99)
    assert [(piece.headings, piece.text) for piece in chunks] == [(("A", "A.1"), "1 A\n\nA.1\n\nBody.")]


def test_tables() -> None:
    """The parts of a long table know its header row, the first one by itself; no prose is in them."""
    rows = "\n".join(f"Item {number} | {number} kg" for number in range(6))
    table = Section(f"Name | Weight\n{rows}", header="Name | Weight")
    _, chunks = chunks_of(Section("Before."), table, Section("After."), budget=20)
    assert chunks[0].text == "Before."
    assert chunks[-1].text == "After."
    first, *others = chunks[1:-1]
    assert first.text.startswith("Name | Weight\nItem 0")
    assert (first.header, {part.header for part in others}) == ("", {"Name | Weight"})
    assert all(_indexed(part) == f"Name | Weight\n{part.text}" for part in others)
    assert all(count([_indexed(part)])[0] <= 20 for part in others)


def test_heading_paths() -> None:
    """A heading path that is long takes of the room for the text; a short one does not."""
    words = " ".join(f"word{number}" for number in range(200))
    _, short = chunks_of(Section(words, headings=("A",)), budget=50)
    _, long = chunks_of(Section(words, headings=(" ".join("title" for _ in range(30)),)), budget=50)
    assert max(part.tokens for part in short) > 40
    assert max(part.tokens for part in long) <= 30


def _indexed(part: Chunk) -> str:
    return indexed_text("", part.headings, part.header, part.text)


def test_pages() -> None:
    """A sentence may run over a page; its chunk has the page of its first character, and knows where others begin."""
    first = "It begins on this page and"
    second = f"ends on that one. {prose(3)}"
    _, chunks = chunks_of(Section(first, 1), Section(second, 2, joint=" "), budget=12)
    assert chunks[0].text == "It begins on this page and ends on that one."
    assert [piece.page for piece in chunks] == [1, 2, 2, 2]
    assert [piece.page_breaks for piece in chunks] == [((len(first) + 1, 2),), (), (), ()]


def test_no_tiny_tail() -> None:
    """What would be a tiny last chunk is shared out with the one before."""
    _, chunks = chunks_of(Section(prose(9, words=8)), budget=65)
    assert len(chunks) == 2
    assert min(piece.tokens for piece in chunks) >= 20


def test_paragraphs() -> None:
    """A chunk rather ends with its paragraph than a sentence later."""
    paragraph = prose(4, words=8)
    _, chunks = chunks_of(Section("\n\n".join([paragraph] * 4)), budget=50)
    assert [piece.text for piece in chunks] == [paragraph] * 4


def test_long_sentence() -> None:
    """A sentence over the budget is cut at clauses and white space, never inside a word if that can be helped."""
    _, chunks = chunks_of(Section("word, " * 200), budget=30)
    assert all(piece.tokens <= 30 for piece in chunks)
    assert all(piece.text.startswith("word") and piece.text.endswith(("word", ",")) for piece in chunks)


def test_counting_is_batched() -> None:
    """The tokenizer is asked once for a whole document, and never for more than a few thousand characters at a time."""
    calls: list[int] = []

    def recording(texts: Sequence[str]) -> list[int]:
        calls.append(max(map(len, texts)))
        return count(texts)

    text, spans = assemble([Section(prose(500))])
    chunk(text, spans, recording, 100, 20)
    assert len(calls) == 1
    text, spans = assemble([Section("汉" * 50_000)])
    chunk(text, spans, recording, 100, 20)
    assert len(calls) < 6
    assert max(calls) <= 2000


def test_budget_must_be_positive() -> None:
    """A budget of nothing is refused."""
    with pytest.raises(ValueError, match="positive"):
        chunk("a", [], count, 0, 0)
