"""The figures by which confidence is judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from app.evaluation.metrics import (
    auroc,
    calibration_error,
    reliability,
    risk_coverage,
    selective_accuracy,
    threshold_for,
)

asked = st.lists(st.tuples(st.floats(0, 1).map(lambda value: round(value, 2)), st.booleans()), min_size=1, max_size=60)


@given(asked)
def test_auroc_is_what_scikit_learn_has(found: list[tuple[float, bool]]) -> None:
    """The area is that of scikit-learn; 0.5 where there is nothing to tell apart."""
    scores, truths = np.array([score for score, _ in found]), np.array([truth for _, truth in found])
    expected = roc_auc_score(truths, scores) if truths.any() and not truths.all() else 0.5
    assert auroc(scores, truths) == pytest.approx(expected)


def test_a_calibrated_probability_has_no_error() -> None:
    """Where three in four of those at 0.75 are true, the error is 0; where all are, it is a quarter."""
    scores = np.full(4, 0.75)
    assert calibration_error(scores, np.array([True, True, True, False])) == 0.0
    assert calibration_error(scores, np.ones(4, dtype=bool)) == pytest.approx(0.25)
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0.0


@given(asked)
def test_bins_hold_every_question_once(found: list[tuple[float, bool]]) -> None:
    """The shares of the bins add up to 1, 0 and 1 included."""
    scores, truths = np.array([score for score, _ in found]), np.array([truth for _, truth in found])
    assert sum(each.share for each in reliability(scores, truths)) == pytest.approx(1.0)


def test_risk_grows_with_coverage() -> None:
    """The surest come first, and questions of equal score come in together."""
    scores, right = np.array([0.9, 0.2, 0.5, 0.5]), np.array([True, False, True, False])
    covered, risks = risk_coverage(scores, right)
    assert covered.tolist() == [0.25, 0.75, 1.0]
    assert risks.tolist() == pytest.approx([0.0, 1 / 3, 0.5])
    assert selective_accuracy(scores, right, 0.25) == 1.0
    assert selective_accuracy(scores, right, 0.5) == selective_accuracy(scores, right, 0.75) == pytest.approx(2 / 3)


@given(asked, st.floats(0, 0.9))
def test_a_threshold_refuses_no_more_than_asked(found: list[tuple[float, bool]], most: float) -> None:
    """At most the wanted share of the answerable lies below the threshold."""
    scores, truths = np.array([score for score, _ in found]), np.array([truth for _, truth in found])
    threshold = threshold_for(scores, truths, most)
    if truths.any():
        assert np.mean(scores[truths] < threshold) <= most
