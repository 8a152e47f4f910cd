"""The probability that passages answer a question: a logistic model over `app.answering.features`.

Calibrated: of the questions with a confidence of 0.8, four in five are answered by the passages, where half of all
questions have an answer in the collection. Question and passages in Chinese behave differently from those in languages
with spaces (characters and pairs overlap by chance), so each has a model of its own.

A collection may have models of its own (`footnote calibrate`). Cosine similarities mean something else with every
embedding model, so a collection with another one than the default is judged by its words alone until it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.answering.evidence import Evidence
from app.answering.features import Features, features
from app.answering.terms import has_cjk
from app.config import DEFAULT_EMBEDDING_MODEL
from app.retrieval.pipeline import Retrieval
from app.types import Collection

FEATURES = 2  # the version of `Features`: weights that were fitted for another one mean nothing


@dataclass(frozen=True, slots=True)
class Model:
    """A logistic model: `1 / (1 + exp(-(constant + Σ weight × feature)))`."""

    constant: float
    weights: Mapping[str, float]  # by the names of `Features`; one that is not there weighs nothing

    def probability(self, found: Features) -> float:
        score = self.constant + sum(weight * getattr(found, name) for name, weight in self.weights.items())
        return round(1 / (1 + math.exp(-max(-50.0, min(50.0, score)))), 4)


# Fitted by `benchmarks/fit_confidence.py`: on SQuAD 1.1 (train), and on CMRC 2018 (trial) with DRCD (test), before
# chunks were indexed with their titles; `benchmarks/README.md` has what they are worth since. What is not listed has
# no weight: its sign would have been the wrong one.
SHIPPED: Mapping[str, Model] = {
    "spaced": Model(
        -9.13,
        {
            "document_lead": 1.771,
            "first_of_all": 0.8152,
            "best_sentence": 1.824,
            "adjacent_words": 2.551,
            "names_missing": -0.5178,
            "unknown": -0.03205,
            "names_unknown": -0.7519,
            "phrases": 1.038,
            "kind_missing": -1.072,
            "lexical_lead": 1.471,
            "dense": 4.696,
            "dense_height": 1.22,
            "agreement": 0.5996,
            "length": 0.5106,
        },
    ),
    "spaced, words alone": Model(
        -6.105,
        {
            "first_passage": 1.109,
            "document_lead": 1.46,
            "first_of_all": 0.1464,
            "best_sentence": 2.073,
            "adjacent_words": 2.532,
            "held": 0.09296,
            "names_missing": -0.6355,
            "unknown": -0.7864,
            "names_unknown": -0.8773,
            "phrases": 1.008,
            "kind_missing": -1.128,
            "lexical_lead": 2.858,
            "length": 0.8203,
        },
    ),
    "cjk": Model(
        -2.232,
        {
            "best_passage": 0.8018,
            "best_document": 1.223,
            "document_lead": 3.645,
            "all_passages": 0.8571,
            "best_sentence": 0.813,
            "adjacent_sentences": 0.7045,
            "adjacent_words": 3.201,
            "held": 0.526,
            "lacking": -1.243,
            "rarest_missing": -0.8912,
            "names_missing": -1.109,
            "unknown": -2.531,
            "names_unknown": -1.76,
            "phrases": 0.5248,
            "kind_missing": -1.585,
            "lexical_lead": 2.841,
            "agreement": 0.3072,
            "length": 0.3479,
        },
    ),
    "cjk, words alone": Model(
        -2.223,
        {
            "best_passage": 0.7882,
            "best_document": 1.231,
            "document_lead": 3.641,
            "all_passages": 0.8335,
            "best_sentence": 0.8169,
            "adjacent_sentences": 0.7066,
            "adjacent_words": 3.21,
            "held": 0.5171,
            "lacking": -1.256,
            "rarest_missing": -0.8886,
            "names_missing": -1.116,
            "unknown": -2.541,
            "names_unknown": -1.753,
            "phrases": 0.5418,
            "kind_missing": -1.59,
            "lexical_lead": 2.871,
            "length": 0.3729,
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The confidence in an answer, and what it rests on."""

    confidence: float
    features: Features | None = None  # None where there was no passage
    model: Model | None = None
    fitted_for: str = ""

    def explain(self) -> dict[str, Any] | None:
        """For `explain: true`: `confidence` can be recomputed from it."""
        if self.features is None or self.model is None:
            return None
        return {
            "version": FEATURES,
            "model": self.fitted_for,
            "constant": self.model.constant,
            "weights": dict(self.model.weights),
            "features": asdict(self.features),
        }


def judge(query: str, evidence: Evidence, retrieval: Retrieval, collection: Collection) -> Judgement:
    """How sure an answer to `query` from this evidence can be; 0 where there is none."""
    if not evidence.passages:
        return Judgement(0.0)
    found = features(query, evidence, retrieval.coverage, retrieval.legs)
    fitted_for, model = choose_model(query, collection)
    return Judgement(model.probability(found), found, model, fitted_for)


def choose_model(query: str, collection: Collection) -> tuple[str, Model]:
    """The model for a question's script, and its name: the collection's own, or the one that is shipped."""
    script = script_of(query)
    embedding_model = collection.embedding_model or DEFAULT_EMBEDDING_MODEL
    own = collection.settings.get("calibration") or {}
    if own.get("features") == FEATURES and own.get("embedding_model") == embedding_model and own.get(script):
        return f"{script}, of the collection", Model(own[script]["constant"], own[script]["weights"])
    name = script if embedding_model == DEFAULT_EMBEDDING_MODEL else f"{script}, words alone"
    return name, SHIPPED[name]


def script_of(query: str) -> str:
    """`cjk` or `spaced`."""
    return "cjk" if has_cjk(query) else "spaced"
