"""Fusion of two ranked lists, for any lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.index.protocol import Hit
from app.retrieval.fusion import fuse

_SCORES = st.integers(-1000, 1000).map(lambda score: score / 8)
_HITS = st.dictionaries(st.integers(1, 30), _SCORES, max_size=20).map(
    lambda scores: [Hit(chunk, score) for chunk, score in scores.items()]
)
_WEIGHT = st.floats(0, 1)


@given(dense=_HITS, lexical=_HITS, weight=_WEIGHT)
def test_every_candidate_is_there_once(dense: list[Hit], lexical: list[Hit], weight: float) -> None:
    """Whoever a leg found is a candidate, once, with its raw scores, and a fused score from 0 to 1; best first."""
    candidates = fuse(dense, lexical, weight)
    assert sorted(c.id for c in candidates) == sorted({hit.id for hit in [*dense, *lexical]})
    assert {c.id: c.dense for c in candidates if c.dense is not None} == {hit.id: hit.score for hit in dense}
    assert {c.id: c.lexical for c in candidates if c.lexical is not None} == {hit.id: hit.score for hit in lexical}
    assert all(-1e-12 <= c.score <= 1 + 1e-12 for c in candidates)
    assert [(-c.score, c.id) for c in candidates] == sorted((-c.score, c.id) for c in candidates)


@given(dense=_HITS, lexical=_HITS)
def test_a_weight_of_one_is_one_leg(dense: list[Hit], lexical: list[Hit]) -> None:
    """With weight 1 the dense leg alone decides, with weight 0 the lexical one."""
    for weight, leg, name in ((1.0, dense, "dense"), (0.0, lexical, "lexical")):
        order = [c.id for c in fuse(dense, lexical, weight) if getattr(c, name) is not None and c.score > 0]
        best_first = sorted(leg, key=lambda hit: (-hit.score, hit.id))
        scores = {hit.id: hit.score for hit in leg}
        assert [scores[chunk] for chunk in order] == [hit.score for hit in best_first][: len(order)]


@given(dense=_HITS, lexical=_HITS, weight=_WEIGHT)
def test_better_in_both_is_better(dense: list[Hit], lexical: list[Hit], weight: float) -> None:
    """A candidate that neither leg puts behind another is not behind it in the end."""
    candidates = fuse(dense, lexical, weight)
    both = [c for c in candidates if c.dense is not None and c.lexical is not None]
    for one in both:
        for other in both:
            if one.dense >= other.dense and one.lexical >= other.lexical:
                assert one.score >= other.score - 1e-12


def test_nothing_found_is_nothing() -> None:
    """Two empty lists have no candidates."""
    assert fuse([], [], 0.5) == []


def test_how_much_better_counts() -> None:
    """A clear lead in one leg outweighs a small one in the other, which ranks alone would not show."""
    dense = [Hit(1, 0.9), Hit(2, 0.89), Hit(3, 0.1)]
    lexical = [Hit(2, 12.0), Hit(1, 2.0), Hit(3, 1.0)]
    assert [c.id for c in fuse(dense, lexical, 0.5)] == [2, 1, 3]
