"""Markers, quotes and verdicts, in both languages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answering.checking import check
from app.answering.citations import cite, cited_sentences, complete_sentences
from app.answering.evidence import read_passages
from app.types import Check, Problem, Support
from tests.answering.samples import BRIDGE, CHINESE, PANTHERS, passage

EVIDENCE = read_passages(
    [passage(PANTHERS, number=1, start=100), passage(BRIDGE, number=2), passage(CHINESE, number=3)]
)


def pairs(answer: str) -> list[tuple[str, tuple[int, ...]]]:
    return [(answer[s.start : s.end], s.markers) for s in cited_sentences(answer)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("It won. [1] It lost [2].", [("It won.", (1,)), ("It lost [2].", (2,))]),
        ("It won.[1] It lost.[2][3]", [("It won.", (1,)), ("It lost.", (2, 3))]),
        ("It won [1, 2]. Then it rained.", [("It won [1, 2].", (1, 2)), ("Then it rained.", ())]),
        ("他们赢了。[1]他们输了【2】。", [("他们赢了。", (1,)), ("他们输了【2】。", (2,))]),
        ("他们赢了［１］。后来下雨了。【1，3】", [("他们赢了［１］。", (1,)), ("后来下雨了。", (1, 3))]),
        ("It won [1][1].", [("It won [1][1].", (1,))]),
        ("[1] It won.", [("It won.", ())]),
        ("- one [1]\n- two [2]", [("- one", (1,)), ("- two", (2,))]),
        ("", []),
        ("[1]", []),
    ],
)
def test_markers(answer: str, expected: list[tuple[str, tuple[int, ...]]]) -> None:
    """A marker of any spelling belongs to the sentence that it follows, also from behind the full stop."""
    assert pairs(answer) == expected


PIECES = [
    "It won",
    "Dr. No",
    " 3.5",
    ".",
    "。",
    "”",
    "…",
    " ",
    "[1]",
    "[2, 3]",
    "【1】",
    "\n\n",
    "胜利了",
    "e.g. x",
    "A",
    "!",
]


@given(st.lists(st.sampled_from(PIECES)), st.data())
def test_streaming_changes_nothing(parts: list[str], data: st.DataObject) -> None:
    """The sentences found while the text streams are those of the whole text, wherever the packets were cut."""
    answer = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(answer)), max_size=6).map(sorted))
    found = []
    until = 0
    for cut in [*cuts, len(answer)]:
        for sentence in complete_sentences(answer[:cut], until):
            found.append(sentence)
            until = sentence.end
    found += cited_sentences(answer, until)
    assert found == cited_sentences(answer)


@pytest.mark.parametrize("mark", "。｡！？；…۔।.!?؟\n")
def test_whatever_ends_a_sentence_completes_it(mark: str) -> None:
    """A marker right behind the end hides it from nobody."""
    assert len(list(complete_sentences(f"It won{mark}[1] It lost", 0))) == 1


@pytest.mark.parametrize(
    ("answer", "support"),
    [
        ("The Panthers defense gave up 308 points. [1]", Support.SUPPORTED),
        ("The Panthers defense gave up 309 points. [1]", Support.UNSUPPORTED),
        ("The team's sacks were led by Kawann Short. [1]", Support.SUPPORTED),
        ("The team's sacks were led by Tom Brady. [1]", Support.UNSUPPORTED),
        ("The Panthers defense gave up 308 points. [2]", Support.UNSUPPORTED),
        ("They gave up 309 points.", Support.UNSUPPORTED),
        ("The Panthers defense gave up 308 points. [9]", Support.UNSUPPORTED),
        ("The bridge opened in 1932 after a long political quarrel. [2]", Support.PARTIAL),
        ("黑豹队的防守丢了308分。[3]", Support.SUPPORTED),
        ("黑豹队的防守丢了318分。[3]", Support.UNSUPPORTED),
        ("黑豹队的教练是Rivera。[3]", Support.UNSUPPORTED),
        ("海港大桥于1932年通车。[3]", Support.UNSUPPORTED),
        ("海港大桥于1932年通车。[2]", Support.PARTIAL),
    ],
)
def test_verdicts(answer: str, support: Support) -> None:
    """A sentence is supported when its numbers, its names and most of its terms stand in what it cites."""
    (sentence,) = cited_sentences(answer)
    verdict, _ = check(answer, sentence, EVIDENCE)
    assert verdict.support is support


def test_the_quote_is_the_sentence_that_supports() -> None:
    """A quote is the passage's best sentence, with offsets into the document."""
    answer = "Short had the most sacks of the team, 11. [1]"
    _, (citation,) = check(answer, cited_sentences(answer)[0], EVIDENCE)
    assert citation.quote == "Kawann Short led the team in sacks with 11."
    assert ("x" * 100 + PANTHERS)[citation.start : citation.end] == citation.quote


def test_a_verbatim_sentence_quotes_itself() -> None:
    """Where the sentence stands word for word in the passage, that is the quote, and its score is 1."""
    answer = "It took eight years to build [2]"
    _, (citation,) = check(answer, cited_sentences(answer)[0], EVIDENCE)
    assert (citation.quote, citation.score) == ("It took eight years to build", 1.0)


def test_a_quote_has_its_own_page() -> None:
    """A passage may run over pages: the footnote names the page on which its quote begins."""
    over_pages = replace(passage(PANTHERS, start=100), page_breaks=((100 + PANTHERS.index("Kawann"), 2),))
    evidence = read_passages([over_pages])
    assert cite("The Panthers gave up 308 points.", 1, evidence).page == 1
    assert cite("Kawann Short led with 11 sacks.", 1, evidence).page == 2


def test_markers_without_a_passage_are_dropped() -> None:
    """A number that no passage has is in the text as the model said it, but neither a marker nor a citation."""
    answer = "The bridge opened in 1932. [2][7][0]"
    verdict, citations = check(answer, cited_sentences(answer)[0], EVIDENCE)
    assert verdict.markers == (2,)
    assert [c.marker for c in citations] == [2]


@given(st.lists(st.text(max_size=80), min_size=1, max_size=4), st.text(max_size=120), st.integers(0, 50))
def test_quotes_are_exact_for_any_text(texts: list[str], claim: str, offset: int) -> None:
    """Whatever the Unicode, `quote == text[start:end]` of the document, and markers are among the passages."""
    evidence = read_passages([passage(text, number=n, start=offset) for n, text in enumerate(texts, 1)])
    answer = claim + " [1][2]"
    for sentence in cited_sentences(answer):
        verdict, citations = check(answer, sentence, evidence)
        assert [c.marker for c in citations] == list(verdict.markers)
        for citation in citations:
            document = "\0" * offset + texts[citation.marker - 1]
            assert document[citation.start : citation.end] == citation.quote
            assert 0 <= citation.score <= 1


@pytest.mark.parametrize(
    ("answer", "marker"),
    [
        ("The harbour bridge opened in 1932.", 2),
        ("Kawann Short led the team in sacks.", 1),
        ("卡万·肖特以11次擒杀领先全队。", 3),
        ("The harbour bridge opened in 1933.", None),
        ("The harbour bridge was painted grey in 1932.", None),
        ("Yes, 1932.", None),
        ("The harbour bridge opened in 1932. [9]", None),
    ],
)
def test_a_sentence_without_a_marker_is_attributed(answer: str, marker: int | None) -> None:
    """A passage that clearly holds what an unmarked sentence says becomes its source; a wrong marker stays wrong."""
    verdict, citations = check(answer, cited_sentences(answer)[0], EVIDENCE)
    assert verdict.attributed == (marker is not None)
    assert verdict.markers == ((marker,) if marker else ())
    assert [citation.marker for citation in citations] == list(verdict.markers)
    assert verdict.support is (Support.SUPPORTED if marker else Support.UNSUPPORTED)


def test_attribution_needs_a_clear_lead() -> None:
    """Where two passages hold a sentence alike none is named, unless they overlap and hold the very same words."""
    answer = "The harbour bridge opened in 1932."
    alike = read_passages([passage(BRIDGE, number=1), passage("In 1932 the old harbour bridge opened.", number=2)])
    assert not check(answer, cited_sentences(answer)[0], alike)[0].attributed
    overlapping = read_passages([passage(BRIDGE, number=1), passage(f"It is long. {BRIDGE}", number=2)])
    assert check(answer, cited_sentences(answer)[0], overlapping)[0].markers == (1,)


def test_a_marker_without_a_passage_is_a_problem() -> None:
    """A sentence says which of its markers name no passage."""
    answer = "The bridge opened in 1932. [2][7]"
    verdict, _ = check(answer, cited_sentences(answer)[0], EVIDENCE)
    assert verdict.problems == (Problem(Check.MARKERS, "7"),)
