"""The judgement of an entailment model, asked once an answer is complete: off the request's thread, in one batch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from app.embedding.entailment import Entailment
from app.types import Check, Problem, Sentence, Support

logger = logging.getLogger(__name__)

_CONTRADICTED = 0.5
_ENTAILED = 0.8


class EntailmentModel(Protocol):
    """Judges pairs of a passage and a sentence. Called in one thread only."""

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Entailment]: ...


class SecondOpinion:
    """One model, loaded in the background. While it loads, and if it fails, answers stand as the checks left them."""

    def __init__(self, load: Callable[[], EntailmentModel]) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="entailment")
        self._model: Future[EntailmentModel] = self._executor.submit(load)
        self._model.add_done_callback(_log_failure)

    def close(self) -> None:
        """Wait for what is under way."""
        self._executor.shutdown(cancel_futures=True)

    @property
    def is_loading(self) -> bool:
        return not self._model.done()

    @property
    def problem(self) -> str | None:
        """Why no sentence gets a second opinion; None once the model is loaded."""
        if self.is_loading:
            return "the entailment model is loading"
        error = None if self._model.cancelled() else self._model.exception()
        return None if error is None else str(error) or type(error).__name__

    async def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Entailment] | None:
        """Of each pair of a passage and a sentence; None where there is no model to ask (yet)."""
        if not pairs or self.problem is not None or self._model.cancelled():
            return None
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._model.result().judge, pairs)
        except Exception:
            logger.exception("the entailment model failed")
            return None


def combine(sentence: Sentence, opinion: Entailment) -> Sentence:
    """A verdict after a second opinion.

    A contradiction makes any sentence unsupported. What follows from its passage is supported, unless a check failed:
    a model overlooks a changed digit more easily than a check does.
    """
    if opinion.contradicted >= _CONTRADICTED:
        problems = (*sentence.problems, Problem(Check.ENTAILMENT, ""))
        return replace(sentence, support=Support.UNSUPPORTED, problems=problems)
    if opinion.entailed >= _ENTAILED and not sentence.problems:
        return replace(sentence, support=Support.SUPPORTED)
    return sentence


def _log_failure(model: Future[EntailmentModel]) -> None:
    if not model.cancelled() and (error := model.exception()):
        logger.error("the entailment model could not be loaded: %s", error)
