"""The probability that passages answer a question: a logistic model over `app.answering.features`.

Calibrated: of the questions with a confidence of 0.8, four in five are answered by the passages, where half of all
questions have an answer in the collection. Question and passages in Chinese behave differently from those in languages
with spaces (characters and pairs overlap by chance), so each has a model of its own.

A collection may have models of its own (`footnote calibrate`). Cosine similarities mean something else with every
embedding model, so a collection with another one than the default is judged by its words alone until it has.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.answering.evidence import Evidence
from app.answering.features import Features, features, to_compare
from app.answering.terms import has_cjk
from app.config import DEFAULT_EMBEDDING_MODEL
from app.retrieval.pipeline import Retrieval
from app.types import Collection

logger = logging.getLogger(__name__)

Compare = Callable[[str, Sequence[str]], Awaitable[Sequence[float]]]  # cosines of a query to texts

FEATURES = 4  # the version of `Features`: weights that were fitted for another one mean nothing


@dataclass(frozen=True, slots=True)
class Model:
    """A logistic model: `1 / (1 + exp(-(constant + Σ weight × feature)))`."""

    constant: float
    weights: Mapping[str, float]  # by the names of `Features`; one that is not there weighs nothing

    def probability(self, found: Features) -> float:
        score = self.constant + sum(weight * getattr(found, name) for name, weight in self.weights.items())
        return round(1 / (1 + math.exp(-max(-50.0, min(50.0, score)))), 4)


# Fitted by `benchmarks/fit_confidence.py`, whose commands stand there: on SQuAD 1.1 (train), in collections of few
# documents of a title and of longer ones; on CMRC 2018 (trial) and DRCD (test), where nearness gained nothing from one
# to the other. Half of the collections have titles. What is not listed has no weight: its sign would have been wrong.
SHIPPED: Mapping[str, Model] = {
    "spaced": Model(
        -8.034,
        {
            "document_lead": 1.216,
            "all_passages": 0.5338,
            "first_of_all": 0.8669,
            "best_sentence": 0.9763,
            "adjacent_sentences": 0.2868,
            "adjacent_words": 1.068,
            "near": 0.7634,
            "first_nearby": 0.3051,
            "names_missing": -0.4367,
            "names_unknown": -0.6105,
            "phrases": 1.246,
            "kind_missing": -0.5355,
            "lexical_lead": 1.516,
            "dense": 1.008,
            "dense_height": 0.6114,
            "closest": 6.028,
            "agreement": 0.4711,
            "length": -0.09474,
        },
    ),
    "spaced, words alone": Model(
        -6.166,
        {
            "first_passage": 0.2944,
            "document_lead": 1.017,
            "all_passages": 0.5008,
            "first_of_all": 0.338,
            "best_sentence": 1.566,
            "adjacent_sentences": 0.1003,
            "adjacent_words": 1.904,
            "near": 1.265,
            "nearby": 0.08118,
            "first_nearby": 1.194,
            "held": 0.08767,
            "names_missing": -0.575,
            "unknown": -0.1653,
            "names_unknown": -0.7781,
            "phrases": 1.324,
            "kind_missing": -0.5456,
            "lexical_lead": 2.616,
            "length": 0.6163,
        },
    ),
    "cjk": Model(
        -1.172,
        {
            "first_passage": 1.641,
            "best_passage": 1.097,
            "best_document": 0.4944,
            "document_lead": 3.766,
            "all_passages": 1.14,
            "first_of_all": 0.05495,
            "adjacent_words": 2.826,
            "held": 0.7602,
            "lacking": -1.433,
            "rarest_missing": -1.984,
            "names_missing": -1.569,
            "unknown": -2.34,
            "names_unknown": -2.474,
            "phrases": 0.643,
            "kind_missing": -0.835,
            "lexical_lead": 2.892,
            "agreement": 0.09288,
            "length": 0.3946,
        },
    ),
    "cjk, words alone": Model(
        -1.157,
        {
            "first_passage": 1.625,
            "best_passage": 1.09,
            "best_document": 0.5072,
            "document_lead": 3.764,
            "all_passages": 1.134,
            "first_of_all": 0.03096,
            "adjacent_words": 2.846,
            "held": 0.7557,
            "lacking": -1.436,
            "rarest_missing": -2.015,
            "names_missing": -1.568,
            "unknown": -2.363,
            "names_unknown": -2.486,
            "phrases": 0.6393,
            "kind_missing": -0.8523,
            "lexical_lead": 2.925,
            "length": 0.407,
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


async def judge(
    query: str, evidence: Evidence, retrieval: Retrieval, collection: Collection, compare: Compare
) -> Judgement:
    """How sure an answer to `query` from this evidence can be; 0 where there is none."""
    if not evidence.passages:
        return Judgement(0.0)
    fitted_for, model = choose_model(query, collection)
    similarities: Sequence[float] = ()
    # A calibration is fitted to what is explained, so that must be whole.
    if model.weights.get("closest") or retrieval.explain is not None:
        try:
            similarities = await compare(query, to_compare(query, evidence, retrieval.legs))
        except Exception:  # whatever it is: an answer may have been given by now, and must come to its end
            logger.exception("sentences could not be compared with the question")
            fitted_for = f"{script_of(query)}, words alone"
            model = SHIPPED[fitted_for]
    found = features(query, evidence, retrieval.coverage, retrieval.legs, similarities)
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
