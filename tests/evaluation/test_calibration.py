"""Models of confidence learn from questions with known answers, and no more than those can tell."""

from __future__ import annotations

import numpy as np
import pytest

from app.answering.confidence import Model
from app.answering.features import NAMES, Features
from app.evaluation.calibration import Asked, fit, refit, stretch, table
from app.evaluation.metrics import auroc, calibration_error

BEFORE = Model(-4.0, {"first_passage": 4.0, "lexical_lead": 4.0})


def questions(count: int, *, scale: float, shift: float, telling: str = "first_passage") -> list[Asked]:
    """Whether a question is answerable is drawn with the odds that `scale` and `shift` make of what `BEFORE` says, or
    of what another feature tells."""
    chance = np.random.default_rng(3)
    asked = []
    for _ in range(count):
        values = dict(zip(NAMES, chance.uniform(0, 1, len(NAMES)), strict=True))
        score = (
            8.0 * values["dense"] - 4.0
            if telling == "dense"
            else -4.0 + 4.0 * (values["first_passage"] + values["lexical_lead"])
        )
        answerable = bool(chance.uniform() < 1 / (1 + np.exp(-(scale * score + shift))))
        asked.append(Asked(Features(**values), answerable))
    return asked


def errors(model: Model, asked: list[Asked]) -> float:
    probabilities = np.array([model.probability(one.features) for one in asked])
    return calibration_error(probabilities, table(asked)[1])


def test_a_good_model_is_kept() -> None:
    """Where the model fits already, little is changed: its odds are right on new questions."""
    asked = questions(400, scale=1.0, shift=0.0)
    fitted = fit(asked[:200], BEFORE)
    assert fitted.kind in ("as before", "stretched and shifted")
    assert errors(fitted.model, asked[200:]) < 0.12


def test_odds_are_stretched_and_shifted() -> None:
    """Odds that are too high, and too sure, are set right; the order of the questions stays."""
    asked = questions(1200, scale=0.4, shift=-1.0)
    values, truths = table(asked[:600])
    after = stretch(values, truths, BEFORE)
    assert errors(after, asked[600:]) < 0.06 < errors(BEFORE, asked[600:])
    assert after.weights["first_passage"] == pytest.approx(after.weights["lexical_lead"])


def test_a_model_worse_than_chance_says_nothing() -> None:
    """Where high scores go with no answer, the stretched model gives every question the same odds."""
    values, truths = table(questions(200, scale=-1.0, shift=0.0))
    assert set(stretch(values, truths, BEFORE).weights.values()) == {0.0}


def test_with_enough_questions_a_model_is_fitted_anew() -> None:
    """A feature that the model ignores, but that tells everything here, is learnt."""
    asked = questions(600, scale=1.0, shift=0.0, telling="dense")
    fitted = fit(asked[:400], BEFORE)
    assert fitted.kind == "fitted anew"
    truths = table(asked[400:])[1]
    assert auroc(np.array([fitted.model.probability(one.features) for one in asked[400:]]), truths) > 0.8
    assert fit(asked[:40], BEFORE).kind != "fitted anew"


def test_a_refit_may_leave_features_out() -> None:
    """Only the named features get a weight."""
    values, truths = table(questions(200, scale=1.0, shift=0.0))
    assert refit(values, truths, strength=1.0, names=("dense", "first_passage")).weights.keys() == {
        "dense",
        "first_passage",
    }
