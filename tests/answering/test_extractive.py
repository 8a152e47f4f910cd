"""Answers made of the passages' own sentences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.answering.checking import check
from app.answering.citations import cited_sentences
from app.answering.evidence import MAX_SENTENCE_CHARACTERS, read_passages
from app.answering.extractive import MAX_SENTENCES, compose, select_sentences
from tests.answering.samples import BRIDGE, CHINESE, PANTHERS, passage


def extract(question: str, *texts: str) -> str:
    evidence = read_passages([passage(t, number=n, score=1 / n) for n, t in enumerate(texts, 1)])
    return "".join(compose(evidence, select_sentences(question, evidence)))


def test_the_sentence_that_answers_is_chosen() -> None:
    """The best sentence of all passages is in the answer, with the marker of its passage."""
    assert "Jared Allen had 136 career sacks. [1]" in extract(
        "How many career sacks did Jared Allen have?", PANTHERS, BRIDGE
    )
    assert "cost 4.2 million pounds. [2]" in extract("What did the harbour bridge cost to build?", PANTHERS, BRIDGE)


def test_chinese_is_as_good() -> None:
    """Chinese sentences are found by their characters, and the marker follows their full stop without a space."""
    assert "卡万·肖特以11次擒杀领先全队。[1]" in extract("谁的擒杀最多？", CHINESE)


def test_sentences_keep_the_order_of_their_text() -> None:
    """An answer of several sentences reads in the order of the document."""
    answer = extract("How many points did the Panthers defense give up, and who led in sacks?", PANTHERS)
    assert answer.index("308") < answer.index("Kawann")


def test_repeated_sentences_are_said_once() -> None:
    """Overlapping passages do not make the answer repeat itself."""
    assert extract("When did the bridge open?", BRIDGE, BRIDGE).count("1932") == 1


def test_a_documents_own_footnotes_are_no_markers() -> None:
    """A bracketed number inside a document does not become a citation."""
    answer = extract("When did the bridge open?", "The bridge opened in 1932 [2].", PANTHERS)
    assert [s.markers for s in cited_sentences(answer)] == [(1,)]


def test_headings_and_rows_stay_apart() -> None:
    """A line without a full stop does not run into the next sentence, and keeps its own marker."""
    line = "Cost of the bridge that opened across the old harbour in the year of the flood"
    answer = extract("Which bridge opened, and what did the bridge cost?", f"{line}\n\nThe bridge opened in 1932.")
    assert [s.markers for s in cited_sentences(answer)] == [(1,), (1,)]


def test_a_heading_is_not_an_answer() -> None:
    """A short line that only repeats the question's words gives way to the sentence below it."""
    text = "How long\n\nA portable weather station may be borrowed for 90 days.\n\nmoney.\n\nClose at"
    answer = extract("How long may a portable weather station be borrowed?", text)
    assert answer == "A portable weather station may be borrowed for 90 days. [1]"


def test_a_very_long_sentence_is_cut_around_the_match() -> None:
    """No quote is longer than 300 characters, and it still holds the answer."""
    clause = "and then nothing at all of any interest happened for a while, "
    text = clause * 30 + "until Ada Lovelace arrived in Turin, " + clause * 30
    answer = extract("Where did Ada Lovelace arrive?", text)
    assert "Turin" in answer
    assert len(answer) < MAX_SENTENCES * (MAX_SENTENCE_CHARACTERS + 8)


def test_nothing_to_choose_from() -> None:
    """Passages without a word give no sentences; a question without a word still gives some."""
    assert extract("Why?", " \n ", "…") == ""
    assert extract("???", BRIDGE) != ""


@given(st.text(max_size=60), st.lists(st.text(max_size=900), max_size=4))
def test_every_sentence_is_an_exact_span(question: str, texts: list[str]) -> None:
    """At most three sentences, a passage's own in order, each an exact span, each cited by a marker that exists."""
    evidence = read_passages([passage(t, number=n) for n, t in enumerate(texts, 1)])
    chosen = select_sentences(question, evidence)
    assert len(chosen) <= MAX_SENTENCES
    passages = [s.passage for s in chosen]
    assert chosen == sorted(chosen, key=lambda s: (passages.index(s.passage), s.start))
    assert all(0 <= s.start < s.end <= len(texts[s.passage]) for s in chosen)
    assert all(s.end - s.start <= MAX_SENTENCE_CHARACTERS for s in chosen)
    answer = "".join(compose(evidence, chosen))
    for sentence in cited_sentences(answer):
        for citation in check(answer, sentence, evidence)[1]:
            assert texts[citation.marker - 1][citation.start : citation.end] == citation.quote
