"""Figures over probabilities and what turned out to be true. Pure functions on arrays of one value a question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]

_BINS = 10


def auroc(scores: Scores, truths: Truths) -> float:
    """How often the true one of a true and an untrue question has the higher score; ties count half.

    0.5 when all are true, or none: there is nothing to tell apart.
    """
    untrue = np.sort(scores[~truths])
    if not truths.any() or not len(untrue):
        return 0.5
    below = np.searchsorted(untrue, scores[truths], "left") + np.searchsorted(untrue, scores[truths], "right")
    return float(below.mean() / 2 / len(untrue))


def calibration_error(probabilities: Scores, truths: Truths, bins: int = _BINS) -> float:
    """Expected calibration error over bins of equal width (Guo et al., "On Calibration of Modern Neural Networks",
    ICML 2017, section 2): how far the share of true ones is from the mean probability, on average over questions."""
    return sum(each.share * abs(each.probability - each.truth) for each in reliability(probabilities, truths, bins))


@dataclass(frozen=True, slots=True)
class Bin:
    """The questions whose probability lies in one bin."""

    share: float  # of all questions
    probability: float  # mean
    truth: float  # share of the true among them


def reliability(probabilities: Scores, truths: Truths, bins: int = _BINS) -> list[Bin]:
    """The bins that hold any question, from the lowest."""
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    return [
        Bin(float(held.mean()), float(probabilities[held].mean()), float(truths[held].mean()))
        for held in (places == place for place in range(bins))
        if held.any()
    ]


def risk_coverage(scores: Scores, right: Truths) -> tuple[Scores, Scores]:
    """Coverage and risk: of the k questions with the highest scores, for every k, their share of all questions and the
    share of wrong ones among them (El-Yaniv and Wiener, JMLR 2010). Questions of equal score come in at once."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    wrong = np.cumsum(~right[order])[ends]
    return (ends + 1) / len(order), wrong / (ends + 1)


def selective_accuracy(scores: Scores, right: Truths, coverage: float) -> float:
    """The share of right ones among the questions with the highest scores, as few as make up the `coverage`."""
    covered, risks = risk_coverage(scores, right)
    return 1.0 - float(risks[np.searchsorted(covered, coverage - 1e-9)])


def threshold_for(probabilities: Scores, truths: Truths, most_refused: float) -> float:
    """The highest threshold below which lie at most `most_refused` of the true, 0 to 1; rounded down to 4 digits."""
    held = np.sort(probabilities[truths])
    if not len(held):
        return 0.0
    return float(np.floor(held[min(int(most_refused * len(held)), len(held) - 1)] * 1e4) / 1e4)
