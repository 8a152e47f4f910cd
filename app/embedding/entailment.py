"""A model that reads a passage and a sentence together, and tells whether the one follows from the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.cores import available_cores
from app.embedding.cross_encoder import load_cross_encoder
from app.embedding.traced import torch_threads
from app.errors import ConfigurationError

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Entailment:
    """Probabilities, 0 to 1, that a sentence follows from a passage and that it contradicts it."""

    entailed: float
    contradicted: float


class CrossEncoderEntailment:
    """Any cross-encoder of sentence-transformers whose labels name entailment, by its path or its name on a hub."""

    def __init__(self, name: str, *, device: str = "auto") -> None:
        """Loads the model: seconds. Raises `ConfigurationError` where there is none that tells entailment."""
        self._model = load_cross_encoder(name, device, kind="entailment")
        labels: Mapping[int, str] = self._model.config.id2label
        self._entails, self._contradicts = (_position(labels, start) for start in ("entail", "contradict"))
        if self._entails is None:
            raise ConfigurationError(
                f"The entailment model {name!r} has the labels {', '.join(labels.values())}; one must name entailment."
            )

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Entailment]:
        """A judgement for each pair of a passage and a sentence. A passage that is too long loses its end."""
        if not pairs:
            return []
        with torch_threads(available_cores()):
            scores = self._model.predict(list(pairs), batch_size=_BATCH, apply_softmax=True, show_progress_bar=False)
        return [
            Entailment(
                entailed=float(row[self._entails]),
                contradicted=0.0 if self._contradicts is None else float(row[self._contradicts]),
            )
            for row in scores
        ]


def _position(labels: Mapping[int, str], start: str) -> int | None:
    """Of the label that begins so: models write ENTAILMENT, entailment, entailed; "not_entailment" is another."""
    return next((int(at) for at, label in labels.items() if label.lower().startswith(start)), None)
