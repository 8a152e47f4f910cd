"""A question → a checked answer, as a stream of events: retrieve, judge, generate, verify."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from app.answering.citations import cited_sentences, complete_sentences
from app.answering.draft import Draft
from app.answering.events import CitationFound, Delta, Done, Event, Failed, Sources
from app.answering.evidence import Evidence
from app.answering.extractive import ExtractiveGenerator
from app.answering.generation import Completion, Generator, Task
from app.answering.terms import weighted_terms
from app.config import Settings
from app.errors import GenerationFailed, GenerationInterrupted, InvalidRequest
from app.retrieval.pipeline import Retriever
from app.types import Answer, Collection, Message, Mode, Sampling

_TERMS_OF_A_WHOLE_QUESTION = 2.0  # "And in 2019?" tells less: it needs the turn before to be searched for


@dataclass(frozen=True, slots=True)
class AskRequest:
    """A question, and how it is to be answered; None leaves a choice to the collection or the settings."""

    question: str
    history: tuple[Message, ...] = ()  # the conversation so far, oldest first
    top_k: int | None = None
    filters: Mapping[str, Any] | None = None
    mode: Mode | None = None
    model: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    conversation_id: str | None = None
    explain: bool = False


class Answerer:
    """Answers questions from a collection."""

    def __init__(self, *, retriever: Retriever, generator: Generator | None, settings: Settings) -> None:
        """Without a `generator`, answers are extractive."""
        self._retriever = retriever
        self._generator = generator
        self._extractive = ExtractiveGenerator()
        self._settings = settings

    async def answer(self, request: AskRequest, *, collection: Collection) -> Answer:
        """The whole answer at once. Raises what `ask` raises, and `GenerationInterrupted`."""
        async with aclosing(self.ask(request, collection=collection)) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.answer
                if isinstance(event, Failed):
                    raise event.error
        raise AssertionError("an answer ends with Done or Failed")

    async def ask(self, request: AskRequest, *, collection: Collection) -> AsyncGenerator[Event, None]:
        """`Sources`, then `Delta` and `CitationFound`, then `Done` or, after the first word only, `Failed`.

        Raises `InvalidRequest`, `ModelNotFound` and what the retriever raises, before the first word. Close it to stop:
        the language model's server is told at once.
        """
        generator = self._choose(request.mode)
        query = search_query(request.question, request.history)
        retrieval = await self._retriever.retrieve(
            query,
            collection=collection.name,
            top_k=request.top_k,
            filters=request.filters,
            explain=request.explain,
        )
        draft = Draft(request.question, query, retrieval, request.conversation_id, collection)
        yield Sources(retrieval.passages)
        task = _task(request, collection, draft.evidence)
        if generator.mode is Mode.GENERATE and retrieval.passages:
            try:
                async with aclosing(self._speak(draft, generator, task)) as events:
                    async for event in events:
                        yield event
                yield Done(draft.finish())
                return
            except GenerationInterrupted as error:
                yield Failed(error, draft.break_off(error))
                return
            except GenerationFailed as error:
                draft.degrade(error)
        if draft.confidence < self._threshold(collection) or not any(draft.evidence.terms):
            yield Delta(draft.abstain())
        else:
            extractive_task = replace(task, question=query)
            async with aclosing(self._speak(draft, self._extractive, extractive_task)) as events:
                async for event in events:
                    yield event
        yield Done(draft.finish())

    def _choose(self, mode: Mode | None) -> Generator:
        if mode is Mode.EXTRACT or (mode is None and self._generator is None):
            return self._extractive
        if self._generator is None:
            raise InvalidRequest(
                "No language model is configured here: set FOOTNOTE_LLM_BASE_URL, or ask with mode 'extract'.",
                param="mode",
            )
        return self._generator

    def _threshold(self, collection: Collection) -> float:
        return collection.setting("answer_threshold", self._settings.answer_threshold)

    async def _speak(self, draft: Draft, generator: Generator, task: Task) -> AsyncGenerator[Event, None]:
        """Pass a generator's text on, and the citations of each sentence as soon as it is complete."""
        draft.begin(generator.mode, task.model or self._settings.llm_model)
        async with aclosing(generator.generate(task, draft.timings)) as parts:
            async for part in parts:
                if isinstance(part, Completion):
                    draft.completion = part
                else:
                    draft.text += part
                    yield Delta(part)
                    for citation in draft.check(complete_sentences(draft.text, draft.checked_until)):
                        yield CitationFound(citation)
        for citation in draft.check(cited_sentences(draft.text, draft.checked_until)):
            yield CitationFound(citation)


def search_query(question: str, history: Sequence[Message]) -> str:
    """What to search for: the question, behind the turn before it when it is too short to stand alone."""
    before = [message.content for message in history if message.role == "user"]
    if before and sum(weighted_terms(question).values()) < _TERMS_OF_A_WHOLE_QUESTION:
        return f"{before[-1]} {question}"
    return question


def _task(request: AskRequest, collection: Collection, evidence: Evidence) -> Task:
    return Task(
        question=request.question,
        evidence=evidence,
        history=request.history,
        system_prompt=collection.settings.get("system_prompt"),
        examples=tuple(collection.settings.get("examples") or ()),
        sampling=request.sampling,
        model=request.model,
    )
