"""How sure an answer is, from words and scores alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answering.confidence import confidence, features
from app.answering.evidence import read_passages
from app.answering.terms import recall, weight, weighted_terms
from tests.answering.samples import BRIDGE, CHINESE, PANTHERS, passage


@pytest.mark.parametrize(
    ("question", "text"),
    [("How many points did the Panthers defense give up?", PANTHERS), ("黑豹队的防守丢了多少分？", CHINESE)],
)
def test_matching_passages_inspire_confidence(question: str, text: str) -> None:
    """A passage that holds the question's words and leads clearly is trusted; one that shares two words is not."""
    good = read_passages([passage(text, lexical=14.0), passage(BRIDGE, number=2, lexical=2.0)])
    bad = read_passages(
        [passage(BRIDGE, lexical=2.0, dense=0.2), passage(text[-20:], number=2, lexical=1.9, dense=0.1)]
    )
    assert confidence(question, good, 1.0) > 0.8
    assert confidence(question, bad, 1.0) < 0.5


def test_no_passages_no_confidence() -> None:
    """Without passages the confidence is 0."""
    assert confidence("Why?", read_passages([]), 1.0) == 0.0


def test_an_embedder_is_trusted_as_far_as_it_reads() -> None:
    """Similarity counts only as far as the embedder knows the question's words."""
    evidence = read_passages([passage(BRIDGE, dense=0.8)])
    assert features("When?", evidence, 0.25).dense == pytest.approx(0.2)
    assert features("When?", evidence, 0.0).dense == 0.0


@given(st.text(max_size=60), st.lists(st.tuples(st.text(max_size=80), st.floats(0, 60)), max_size=5), st.floats(0, 1))
def test_confidence_is_a_probability(question: str, found: list[tuple[str, float]], coverage: float) -> None:
    """Whatever is asked and found, confidence is between 0 and 1."""
    evidence = read_passages([passage(text, number=n, lexical=score) for n, (text, score) in enumerate(found, 1)])
    assert 0 <= confidence(question, evidence, coverage) <= 1


def test_words_of_grammar_weigh_little() -> None:
    """Which, 什么 and 的 tell less of a text than its own words do."""
    assert weight("which") == weight("什么") == weight("的") < weight("的队") < weight("黑豹") == weight("panther")


def test_recall_is_weighted() -> None:
    """Finding the telling words counts for more than finding the others."""
    wanted = weighted_terms("Which bridge is the harbour bridge?")
    assert recall(wanted, weighted_terms("bridge harbour")) > 0.6 > recall(wanted, weighted_terms("which is the"))
    assert recall({}, {"x"}) == 0.0
