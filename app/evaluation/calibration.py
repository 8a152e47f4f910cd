"""Models of confidence, fitted to questions of which it is known whether the collection answers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from app.answering.confidence import Model
from app.answering.features import NAMES, Features

Array = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]

LEAST_OF_A_KIND = 10  # answerable questions, and others: with fewer nothing can be learnt
_LEAST_TO_REFIT = 100
_FOLDS = 5
_STRENGTHS = (0.01, 0.1, 1.0)  # of the ridge's inverse, for features of spread 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's features, and whether its passages can hold the answer."""

    features: Features
    answerable: bool


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model, of what kind it is, and what models like it say of questions that they were not fitted on."""

    kind: str
    model: Model
    held_out: Array


def table(asked: Sequence[Asked]) -> tuple[Array, Truths]:
    """A row of features a question, and whether it is answerable."""
    return (
        np.array([list(asdict(one.features).values()) for one in asked], dtype=np.float64).reshape(-1, len(NAMES)),
        np.array([one.answerable for one in asked], dtype=np.bool_),
    )


def fit(asked: Sequence[Asked], before: Model) -> Fitted:
    """The best of three, by the likelihood of questions held out in five folds: the model as it is; the same, stretched
    and shifted (Platt, "Probabilistic Outputs for Support Vector Machines", 1999); one fitted anew, given 100 questions
    of each kind. There must be `LEAST_OF_A_KIND` of each."""
    values, truths = table(asked)
    kept = Fitted("as before", before, _probabilities(before, values))
    fitted = [kept, _cross_validated("stretched and shifted", values, truths, lambda x, y: stretch(x, y, before))]
    if min(truths.sum(), (~truths).sum()) >= _LEAST_TO_REFIT:
        fitted += [
            _cross_validated("fitted anew", values, truths, partial(refit, strength=strength))
            for strength in _STRENGTHS
        ]
    return min(fitted, key=lambda one: _loss(one.held_out, truths))


def stretch(values: Array, truths: Truths, model: Model) -> Model:
    """The model with its logarithm of the odds multiplied by a number and another one added."""
    scale, shift = _logistic(_scores(model, values)[:, None], truths, strength=1e6)
    factor = max(float(scale[0]), 0.0)  # a model that is worse than chance here has nothing to say
    return Model(shift + factor * model.constant, {name: factor * weight for name, weight in model.weights.items()})


def refit(values: Array, truths: Truths, *, strength: float, names: Sequence[str] = NAMES) -> Model:
    """Weights for these features; `strength` is scikit-learn's C, for features of spread 1."""
    columns = [NAMES.index(name) for name in names]
    chosen = values[:, columns]
    mean, spread = chosen.mean(axis=0), chosen.std(axis=0) + 1e-9
    slopes, constant = _logistic((chosen - mean) / spread, truths, strength)
    weights = slopes / spread
    return Model(constant - float(weights @ mean), dict(zip(names, weights.tolist(), strict=True)))


def _logistic(values: Array, truths: Truths, strength: float) -> tuple[Array, float]:
    from sklearn.linear_model import LogisticRegression  # a second to import

    regression = LogisticRegression(C=strength, max_iter=1000).fit(values, truths)
    return np.asarray(regression.coef_[0], dtype=np.float64), float(regression.intercept_[0])


def _cross_validated(kind: str, values: Array, truths: Truths, learn: Callable[[Array, Truths], Model]) -> Fitted:
    from sklearn.model_selection import StratifiedKFold

    held_out = np.empty(len(truths))
    for known, others in StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(values, truths):
        held_out[others] = _probabilities(learn(values[known], truths[known]), values[others])
    return Fitted(kind, learn(values, truths), held_out)


def _scores(model: Model, values: Array) -> Array:
    scores: Array = model.constant + values @ np.array([model.weights.get(name, 0.0) for name in NAMES])
    return scores


def _probabilities(model: Model, values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(_scores(model, values), -50, 50))))


def _loss(probabilities: Array, truths: Truths) -> float:
    """The mean negative logarithm of what was given to the truth."""
    given = np.where(truths, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(given, 1e-12)).mean())
