"""Answers whose sentences are checked while they stream: kept, marked or removed where nothing supports them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.answering.checked_text import CheckedText
from app.answering.events import CitationFound, Delta, Event
from app.answering.evidence import read_passages
from app.types import Support, Unsupported
from tests.answering.samples import BRIDGE, CHINESE, PANTHERS, passage

EVIDENCE = read_passages([passage(PANTHERS, number=1), passage(BRIDGE, number=2), passage(CHINESE, number=3)])
TRUE, FALSE = "The harbour bridge opened in 1932. [2]", "It cost 9 million pounds. [2]"


def said(pieces: Sequence[str], unsupported: Unsupported) -> tuple[CheckedText, list[Event]]:
    text = CheckedText(EVIDENCE, unsupported, {})
    events = [event for piece in pieces for event in text.add(piece)]
    return text, [*events, *text.finish()]


def deltas(events: Sequence[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Delta)]


@pytest.mark.parametrize(
    ("answer", "unsupported", "text"),
    [
        (f"{TRUE} {FALSE}", Unsupported.KEEP, f"{TRUE} {FALSE}"),
        (f"{TRUE} {FALSE}", Unsupported.MARK, f"{TRUE} {FALSE} [?]"),
        (f"{FALSE}\n\n{TRUE}", Unsupported.MARK, f"{FALSE} [?]\n\n{TRUE}"),
        (f"{FALSE} {TRUE}", Unsupported.REMOVE, TRUE),
        (f"{TRUE} {FALSE} {TRUE}", Unsupported.REMOVE, f"{TRUE} {TRUE}"),
        (f"{TRUE} {FALSE}\n\n{TRUE}", Unsupported.REMOVE, f"{TRUE} \n\n{TRUE}"),
        (FALSE, Unsupported.REMOVE, ""),
        (
            "黑豹队丢了318分。[3]卡万·肖特以11次擒杀领先全队。[3]",
            Unsupported.REMOVE,
            "卡万·肖特以11次擒杀领先全队。[3]",
        ),
        ("黑豹队丢了318分。[3]", Unsupported.MARK, "黑豹队丢了318分。[3] [?]"),
        (f"{TRUE} The passages do not mention who built it.", Unsupported.REMOVE, None),
        (f"{TRUE} The passages do not mention who built it.", Unsupported.MARK, None),
    ],
)
def test_what_becomes_of_unsupported_sentences(answer: str, unsupported: Unsupported, text: str | None) -> None:
    """They stand, are marked behind their markers, or go with them; that nothing is said of a thing is no claim."""
    checked, _ = said([answer], unsupported)
    assert checked.text == (answer if text is None else text)


def test_held_back_until_checked() -> None:
    """Where sentences may be removed, each delta is a whole sentence that has been checked."""
    _, events = said([*f"{TRUE} {FALSE} {TRUE}"], Unsupported.REMOVE)
    assert deltas(events) == [f"{TRUE} ", TRUE]


def test_kept_text_is_not_held_back() -> None:
    """Where nothing is removed each piece is passed on as it comes."""
    pieces = list(TRUE)
    assert deltas(said(pieces, Unsupported.KEEP)[1]) == pieces


def test_every_sentence_has_its_verdict_in_the_stream() -> None:
    """One event a marker, repeated quotes too; a sentence that cites nothing has one without a citation."""
    _, events = said([f"{TRUE} {TRUE} {FALSE} Otters sleep."], Unsupported.KEEP)
    found = [event for event in events if isinstance(event, CitationFound)]
    assert [event.sentence.support for event in found] == [
        Support.SUPPORTED,
        Support.SUPPORTED,
        Support.UNSUPPORTED,
        Support.UNSUPPORTED,
    ]
    assert [event.citation and event.citation.marker for event in found] == [2, 2, 2, None]


PIECES = [
    TRUE,
    FALSE,
    "Otters sleep.",
    "他们赢了。[3]",
    "卡万·肖特以11次擒杀领先全队。[3]",
    " ",
    "\n\n",
    "[1]",
    "- ",
    "Dr. ",
]
MARKUP = ["![x](//evil.example)", "(//evil.example)", "[1]: //evil.example", "a < b", "<b>", "]", "<", "img>", "。"]


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.sampled_from(Unsupported), st.data())
def test_offsets_refer_to_the_final_text(parts: list[str], unsupported: Unsupported, data: st.DataObject) -> None:
    """Whatever is marked or removed and wherever packets were cut: the text is what the deltas said, each sentence a
    span of it, and nothing unsupported is left where it is to be removed."""
    answer = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(answer)), max_size=6).map(sorted))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    text, events = said(pieces, unsupported)
    whole, _ = said([answer], unsupported)
    assert "".join(deltas(events)) == text.text == whole.text
    assert text.sentences == whole.sentences
    assert text.citations == whole.citations
    spans = [(sentence.start, sentence.end) for sentence in text.sentences]
    assert spans == sorted(spans)
    for sentence in text.sentences:
        words = text.text[sentence.start : sentence.end]
        assert words
        assert words == words.strip()
        assert words in answer
        assert not (unsupported is Unsupported.REMOVE and sentence.support is Support.UNSUPPORTED)
    marked = sum(sentence.support is Support.UNSUPPORTED for sentence in text.sentences)
    assert text.text.count(" [?]") == (marked if unsupported is Unsupported.MARK else 0)


@given(st.lists(st.sampled_from([*PIECES, *MARKUP]), max_size=8), st.sampled_from(Unsupported), st.data())
def test_whatever_is_said_is_shown_inert(parts: list[str], unsupported: Unsupported, data: st.DataObject) -> None:
    """Nor does a mark, or what is removed between two sentences, make a link of what was none; offsets still hold."""
    answer = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(answer)), max_size=6).map(sorted))
    text, events = said([answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)], unsupported)
    assert "".join(deltas(events)) == text.text == said([answer], unsupported)[0].text
    found = MarkdownIt("commonmark", {"html": True}).parse(text.text)
    types = {token.type for each in found for token in (each, *(each.children or ()))}
    assert not types & {"image", "link_open", "html_inline", "html_block"}
    for sentence in text.sentences:
        shown = text.text[sentence.start : sentence.end]
        assert shown == shown.strip()
        assert bare(shown) in bare(answer)


def test_a_mark_makes_no_link() -> None:
    """`[?]` in front of a parenthesis would."""
    checked, _ = said(["黑豹队丢了318分。[3](//evil.example)"], Unsupported.MARK)
    assert checked.text == "黑豹队丢了318分。[3] [?]\\(//evil.example) [?]"


def bare(text: str) -> str:
    """Without what may have been put in."""
    return text.replace("\\", "").replace("< ", "<")
