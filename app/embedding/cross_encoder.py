"""A question and a text, read together by one model: slower than two vectors, and a better judge."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from app.cores import available_cores
from app.embedding.models import bfloat16_helps, pick_device, prepare_torch, source_of
from app.embedding.traced import torch_threads
from app.errors import ConfigurationError

logger = logging.getLogger(__name__)

# Tokens of a pair. Chunks are shorter; a model that could read more would only be slower on a table without words.
_MOST_TOKENS = 512


def load_cross_encoder(name: str, device: str, *, kind: str) -> Any:
    """The model of that path or name on a hub: seconds. Raises `ConfigurationError`, which calls it by its kind."""
    source = source_of(name)
    prepare_torch()
    import torch
    from sentence_transformers import CrossEncoder

    where = pick_device(torch) if device == "auto" else device
    options = {"dtype": torch.bfloat16} if bfloat16_helps(torch, where) else {}
    try:
        model = CrossEncoder(source, device=where, model_kwargs=options)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The {kind} model {name!r} could not be loaded: {error}") from error
    model.eval()
    logger.info("loaded %s on %s%s", source, where, " in bfloat16" if options else "")
    return model


class CrossEncoderScorer:
    """Any cross-encoder of sentence-transformers with one score, by its path or its name on a hub."""

    def __init__(self, name: str, *, device: str = "auto") -> None:
        """Loads the model: seconds. Raises `ConfigurationError` where there is none of that name."""
        self._model = load_cross_encoder(name, device, kind="rerank")
        if self._model.num_labels != 1:
            raise ConfigurationError(
                f"The rerank model {name!r} gives {self._model.num_labels} scores for a passage; one is needed."
            )
        self._model.max_seq_length = min(self._model.max_seq_length or _MOST_TOKENS, _MOST_TOKENS)

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query, in one pass: 0 to 1, higher is better."""
        if not texts:
            return []
        with torch_threads(available_cores()):
            pairs = [(query, text) for text in texts]
            scores = self._model.predict(pairs, batch_size=len(pairs), show_progress_bar=False)
        return [float(score) for score in scores]
