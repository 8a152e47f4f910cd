"""How sure an answer is, from words and scores alone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answering.confidence import FEATURES, SHIPPED, Judgement, choose_model, judge
from app.answering.evidence import read_passages
from app.answering.features import NAMES, Features, features, to_compare
from app.answering.terms import recall, weight, weighted_terms
from app.config import DEFAULT_EMBEDDING_MODEL
from app.errors import EmbedderUnavailable
from app.index.protocol import TermFrequencies
from app.retrieval.pipeline import Legs, Retrieval
from app.types import Collection, Passage
from tests.answering.samples import BRIDGE, CHINESE, PANTHERS, make_collection, passage

QUESTION = "How many points did the Panthers defense give up?"


def retrieval(question: str, *passages: Passage, coverage: float = 1.0, legs: Legs | None = None) -> Retrieval:
    return Retrieval(question, passages, coverage, {}, legs=legs or Legs())


def judged(question: str, found: Retrieval, collection: Collection, similarity: float = 0.5) -> Judgement:
    async def compare(query: str, texts: Sequence[str]) -> Sequence[float]:
        assert query == question
        return [similarity - 0.1 * place for place in range(len(texts))]

    return asyncio.run(judge(question, read_passages(found.passages), found, collection, compare))


def confidence(question: str, found: Retrieval, collection: Collection | None = None, similarity: float = 0.5) -> float:
    return judged(question, found, collection or default(), similarity).confidence


def default(**settings: Any) -> Collection:
    return replace(make_collection(**settings), embedding_model=DEFAULT_EMBEDDING_MODEL)


def features_of(question: str, *passages: Passage, coverage: float = 1.0, legs: Legs | None = None) -> Features:
    return features(question, read_passages(passages), coverage, legs or Legs(), ())


@pytest.mark.parametrize("collection", [default(), make_collection()], ids=["default", "another embedder"])
@pytest.mark.parametrize(("question", "text"), [(QUESTION, PANTHERS), ("黑豹队的防守丢了多少分？", CHINESE)])
def test_matching_passages_inspire_confidence(question: str, text: str, collection: Collection) -> None:
    """A passage that holds the question's words and leads clearly is trusted; one that shares two words is not."""
    terms = TermFrequencies(50, dict.fromkeys(weighted_terms(question), 2))
    good = retrieval(
        question, passage(text), passage(BRIDGE, number=2), legs=Legs(terms, (0.7, 0.2, 0.1), (24.0, 3.0, 2.0))
    )
    bad = retrieval(
        question, passage(BRIDGE), passage(text[-20:], number=2), legs=Legs(terms, (0.2, 0.2, 0.1), (2.0, 1.9, 1.8))
    )
    assert confidence(question, good, collection) > 0.7
    assert confidence(question, bad, collection) < 0.07


def test_no_passages_no_confidence() -> None:
    """Without passages the confidence is 0, and there is nothing to explain."""
    judgement = judged("Why?", retrieval("Why?"), default())
    assert (judgement.confidence, judgement.explain()) == (0.0, None)


def test_an_embedder_is_trusted_as_far_as_it_reads() -> None:
    """Similarity counts only as far as the embedder knows the question's words."""
    found = passage(BRIDGE, dense=0.8)
    assert features_of("When?", found, coverage=0.25).dense == pytest.approx(0.2)
    assert features_of("When?", found, coverage=0.0).dense == 0.0


def test_a_rare_word_is_worth_more() -> None:
    """A word that every chunk holds counts for little, one that a single chunk holds for much."""
    held = passage("The bridge.")
    rare = Legs(TermFrequencies(100, {"bridg": 1, "harbour": 100}))
    common = Legs(TermFrequencies(100, {"bridg": 100, "harbour": 1}))
    question = "harbour bridge"
    assert features_of(question, held, legs=rare).first_passage > 0.9
    assert features_of(question, held, legs=common).first_passage < 0.1
    assert features_of(question, held, legs=common).rarest_missing > 0.7


def test_a_lead_is_over_something() -> None:
    """The best document is compared with the next; where there is one only, its passages are."""
    other = passage(BRIDGE, number=2)
    assert features_of(QUESTION, passage(PANTHERS), passage(PANTHERS, number=2)).document_lead == 0.0
    assert features_of(QUESTION, passage(PANTHERS), passage(PANTHERS)).document_lead == 0.0
    assert features_of(QUESTION, passage(PANTHERS), other).document_lead > 0.2
    assert features_of(QUESTION, passage(PANTHERS), passage(BRIDGE)).document_lead > 0.2


def test_one_document_in_several_passages() -> None:
    """What the passages of one document hold together counts, and so does its name."""
    question = "When did Kawann Short visit the harbour bridge?"
    whole = features_of(question, passage(PANTHERS), passage(BRIDGE))
    apart = features_of(question, passage(PANTHERS), passage(BRIDGE, number=2))
    assert whole.best_document > apart.best_document
    named = replace(passage(BRIDGE), filename="Kawann Short.pdf")
    assert features_of(question, named).best_document > features_of(question, passage(BRIDGE)).best_document


def test_names_and_numbers_that_are_missing() -> None:
    """A name or a number of the question that no passage holds is noticed; its first word is no name."""
    assert features_of("Did Kawann Short sack?", passage(PANTHERS)).names_missing == 0.0
    assert features_of("Did Peyton Manning sack?", passage(PANTHERS)).names_missing == 1.0
    assert features_of("What gave up 999 points?", passage(PANTHERS)).names_missing == 1.0
    assert features_of("Manning sack?", passage(PANTHERS)).names_missing == 0.0


@pytest.mark.parametrize(
    ("question", "text", "missing"),
    [
        ("When did the bridge open?", "The bridge opened in 1932.", 0.0),
        ("When did the bridge open?", "The bridge was opened by the mayor.", 1.0),
        ("How many people crossed the bridge?", "Thousands crossed the bridge.", 0.0),
        ("How many people crossed the bridge in 1932?", "People crossed the bridge in 1932.", 1.0),
        ("Who opened the bridge?", "The bridge was opened.", 0.0),
        ("大桥是哪一年通车的？", "大桥于1932年通车。", 0.0),
        ("大桥是哪一年通车的？", "大桥由市长主持通车。", 1.0),
    ],
)
def test_what_kind_of_answer_is_asked_for(question: str, text: str, missing: float) -> None:
    """Where a date or a number is asked for, the best sentences must have one that the question does not have."""
    assert features_of(question, passage(text)).kind_missing == missing


def test_words_side_by_side() -> None:
    """Words that stand together in the question, and in the passage, tell more than the same words apart."""
    together = features_of("harbour bridge cost", passage("What the harbour bridge cost."))
    apart = features_of("harbour bridge cost", passage("The cost of a bridge near the harbour."))
    assert together.phrases == 1.0
    assert apart.phrases == 0.0
    assert features_of("黑豹队的防守", passage(CHINESE)).phrases == 1.0


def test_words_near_each_other() -> None:
    """Words of the question count where they stand together, in one passage and over the ends of sentences."""
    question, filler = "Who tuned the piano for Ada?", "Nothing else was heard of. "
    together = features_of(question, passage(f"{filler * 12}Ada: the piano is out of tune.\nBo: I tuned it."))
    apart = features_of(question, passage(f"Ada came. {filler * 12}They tuned the piano."))
    assert together.near > apart.nearby
    not_far = features_of(question, passage(f"Ada came. {filler * 5}They tuned the piano."))
    assert not_far.first_nearby > not_far.near
    elsewhere = features_of(question, passage(BRIDGE), passage("Ada tuned the piano.", number=2))
    assert elsewhere.nearby > elsewhere.first_nearby


def test_sentences_are_compared_where_that_tells_something() -> None:
    """The sentences that hold the most of a question are: by their likeness, in a language that the embedder knows."""
    found = retrieval(QUESTION, passage(PANTHERS), passage(BRIDGE, number=2))
    assert confidence(QUESTION, found, similarity=0.8) > confidence(QUESTION, found, similarity=0.4) + 0.1
    evidence = read_passages(found.passages)
    assert to_compare(QUESTION, evidence, Legs())[0].startswith("The Panthers defense gave up just 308 points")
    assert len(to_compare(QUESTION, evidence, Legs())) == 3
    assert features(QUESTION, evidence, 0.5, Legs(), [0.2, 0.6, 0.4]).closest == pytest.approx(0.3)
    chinese = "黑豹队的防守丢了多少分？"
    in_chinese = retrieval(chinese, passage(CHINESE))
    assert confidence(chinese, in_chinese, similarity=0.9) == confidence(chinese, in_chinese, similarity=0.1)


def test_an_answer_outlives_its_embedder() -> None:
    """Where sentences cannot be compared, words alone tell how sure it is."""

    async def fail(query: str, texts: Sequence[str]) -> Sequence[float]:
        raise EmbedderUnavailable

    found = retrieval(QUESTION, passage(PANTHERS), passage(BRIDGE, number=2))
    judgement = asyncio.run(judge(QUESTION, read_passages(found.passages), found, default(), fail))
    assert judgement.fitted_for == "spaced, words alone"
    assert judgement.confidence == confidence(QUESTION, found, make_collection())


def test_an_explanation_adds_up() -> None:
    """The confidence can be recomputed from the features and weights that `explain` shows."""
    found = retrieval(QUESTION, passage(PANTHERS), passage(BRIDGE, number=2))
    judgement = judged(QUESTION, found, default())
    shown = judgement.explain()
    assert shown is not None
    score = shown["constant"] + sum(shown["weights"][name] * shown["features"][name] for name in shown["weights"])
    assert judgement.confidence == pytest.approx(1 / (1 + math.exp(-score)), abs=1e-4)


def test_a_collection_has_a_model_of_its_own() -> None:
    """A calibration is used for its script, as long as embedding model and features are those it was made with."""
    own = {"features": FEATURES, "embedding_model": DEFAULT_EMBEDDING_MODEL, "spaced": {"constant": 2.0, "weights": {}}}
    assert choose_model(QUESTION, default(calibration=own))[1].constant == 2.0
    assert choose_model("谁？", default(calibration=own)) == ("cjk", SHIPPED["cjk"])
    for stale in ({**own, "features": FEATURES - 1}, {**own, "embedding_model": "another"}, None):
        assert choose_model(QUESTION, default(calibration=stale)) == ("spaced", SHIPPED["spaced"])


def test_another_embedder_is_not_judged_by_the_default_ones_scores() -> None:
    """For a collection with another embedding model, the shipped models go by words alone."""
    name, model = choose_model(QUESTION, make_collection())
    assert name == "spaced, words alone"
    assert not {"dense", "dense_height", "closest", "agreement"} & model.weights.keys()


def test_shipped_models_know_only_features() -> None:
    """Every weight belongs to a feature."""
    for model in SHIPPED.values():
        assert model.weights
        assert model.weights.keys() <= set(NAMES)


@given(
    st.text(max_size=60),
    st.lists(st.tuples(st.text(max_size=80), st.floats(0, 60)), max_size=5),
    st.floats(0, 1),
    st.integers(0, 9),
)
def test_confidence_is_a_probability(
    question: str, found: list[tuple[str, float]], coverage: float, chunks: int
) -> None:
    """Whatever is asked and found, confidence is between 0 and 1."""
    passages = [passage(text, number=n, lexical=score) for n, (text, score) in enumerate(found, 1)]
    legs = Legs(TermFrequencies(chunks, {}), (0.0,) * chunks, tuple(score for _, score in found))
    assert 0 <= confidence(question, retrieval(question, *passages, coverage=coverage, legs=legs)) <= 1


def test_words_of_grammar_weigh_little() -> None:
    """Which, 什么 and 的 tell less of a text than its own words do."""
    assert weight("which") == weight("什么") == weight("的") < weight("的队") < weight("黑豹") == weight("panther")


def test_recall_is_weighted() -> None:
    """Finding the telling words counts for more than finding the others."""
    wanted = weighted_terms("Which bridge is the harbour bridge?")
    assert recall(wanted, weighted_terms("bridge harbour")) > 0.6 > recall(wanted, weighted_terms("which is the"))
    assert recall({}, {"x"}) == 0.0
