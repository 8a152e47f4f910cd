"""A question → a checked answer, as a stream of events: retrieve, judge, generate, verify."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from app.answering import agent, multi
from app.answering.confidence import Compare, judge
from app.answering.draft import Draft
from app.answering.events import Delta, Done, Event, Failed, FunctionsCalled, Sources, Step
from app.answering.evidence import Evidence, read_passages
from app.answering.extractive import ExtractiveGenerator
from app.answering.gathering import Gathered
from app.answering.generation import Called, Completion, Generator, Task
from app.answering.openai_generator import DEFAULT_CONTEXT_TOKENS, OpenAIGenerator
from app.answering.prompt import prompt_variables
from app.answering.rewriting import carry_over, rewrite
from app.answering.second_opinion import SecondOpinion
from app.answering.templates import render_or_keep
from app.answering.window import Preview, no_tokenizer, preview
from app.config import Settings
from app.errors import GenerationFailed, GenerationInterrupted, InvalidRequest, ModelNotFound, UnsupportedParameter
from app.retrieval.joining import Joined
from app.retrieval.pipeline import Retrieval, Retriever
from app.retrieval.reading import Reader
from app.telemetry import timed
from app.types import Answer, Collection, Message, Mode, Sampling, Strategy, Usage

logger = logging.getLogger(__name__)


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
    summary: str | None = None  # of what was said before the history
    explain: bool = False
    streamed: bool = True  # somebody reads along: what was said cannot be taken back
    strategy: Strategy | None = None
    search: Callable[[str], Awaitable[Retrieval]] | None = None  # elsewhere than in the collection alone
    functions: tuple[Mapping[str, Any], ...] = ()  # of the asker's own, for an agent to call
    called: tuple[Called, ...] = ()  # of these, for this question
    is_kept: bool = True  # as an answer by itself, if its collection keeps such


class Answerer:
    """Answers questions from a collection."""

    def __init__(
        self,
        *,
        retriever: Retriever,
        generator: OpenAIGenerator | None,
        settings: Settings,
        reader: Reader,
        second_opinion: SecondOpinion | None = None,
    ) -> None:
        """Without a `generator`, answers are extractive. `second_opinion` judges their sentences beside the checks."""
        self._second_opinion = second_opinion
        self._retriever = retriever
        self._reader = reader
        self._generator = generator
        self._extractive = ExtractiveGenerator()
        self._settings = settings

    async def answer(self, request: AskRequest, *, collection: Collection) -> Answer:
        """The whole answer at once. Raises what `ask` raises, and `GenerationInterrupted`."""
        return await whole_answer(self.ask(request, collection=collection))

    async def ask(self, request: AskRequest, *, collection: Collection) -> AsyncGenerator[Event, None]:
        """Any `Step`, `Sources`, then `Delta` and `CitationFound`, then `Done` or, after the first word only, `Failed`.

        Raises `InvalidRequest`, `ModelNotFound`, `TooManyRequests` and what the retriever raises, before the first
        word. Close it to stop: the language model's server is told at once.
        """
        generator = self._choose(request.mode)
        async with self._place(generator), aclosing(self._ask(request, collection, generator)) as events:
            async for event in events:
                yield event

    def _place(self, generator: Generator) -> AbstractAsyncContextManager[None]:
        """Before all else, so that a refusal comes before the first event. Who extracts needs none."""
        if self._generator is None or generator.mode is Mode.EXTRACT:
            return nullcontext()
        return self._generator.place()

    async def _ask(
        self, request: AskRequest, collection: Collection, generator: Generator
    ) -> AsyncGenerator[Event, None]:
        writer = self._generator if generator.mode is Mode.GENERATE else None
        if request.functions and writer is None:
            raise UnsupportedParameter("There is no language model here that could call functions.", param="tools")
        request, unserved = await _with_model(request, collection, writer)
        if unserved is not None:
            writer = None
        timings: dict[str, float] = {}
        query, spent = await self._search_query(request, writer, timings)
        steps: list[Step] = []
        gathered: Gathered | None = None
        async with aclosing(self._gather(request, query, collection, writer)) as gathering:
            async for found in gathering:
                if isinstance(found, Gathered):
                    gathered = found
                else:
                    steps.append(found)
                    yield found
        assert gathered is not None  # noqa: S101 - it is the last thing that is yielded
        if gathered.calls:
            yield FunctionsCalled(gathered.calls, gathered.usage)
            return
        retrieval = _explained(gathered, steps)
        if generator.mode is Mode.GENERATE:  # a sentence is found best in a small passage, and quoted from it
            retrieval = await self._joined(retrieval)
        draft = Draft(
            request.question,
            query,
            retrieval,
            request.conversation_id,
            collection,
            compare=self._compare(collection),
            is_judged=self._second_opinion is not None,
        )
        draft.strategy, draft.spent = gathered.strategy, spent + gathered.usage
        draft.of_parts = gathered.confidences.values()
        draft.timings.update(timings)
        yield Sources(retrieval.sources)
        task = _task(request, collection, draft.evidence, retrieval.joined)
        failure = unserved or gathered.failure
        if failure is not None:
            draft.degrade(failure)
        elif generator.mode is Mode.GENERATE and (retrieval.passages or task.called):
            try:
                async with aclosing(self._speak(draft, generator, task)) as events:
                    async for event in events:
                        yield event
                await draft.weigh()
                yield Done(draft.finish())
                return
            except GenerationInterrupted as error:
                for event in draft.end():
                    yield event
                await draft.weigh()
                yield Failed(error, draft.break_off(error))
                return
            except GenerationFailed as error:
                draft.degrade(error)
        await draft.weigh()
        if draft.confidence < self._threshold(collection) or not any(draft.evidence.terms):
            yield Delta(draft.abstain())
        else:
            threshold = self._threshold(collection)
            answered = tuple(part for part, sure in gathered.confidences.items() if sure >= threshold)
            if answered:
                draft.leave_open([part for part in gathered.confidences if part not in answered])
            extractive_task = replace(task, question=query, parts=answered)
            async with aclosing(self._speak(draft, self._extractive, extractive_task)) as events:
                async for event in events:
                    yield event
        yield Done(draft.finish())

    async def _gather(
        self, request: AskRequest, query: str, collection: Collection, writer: OpenAIGenerator | None
    ) -> AsyncGenerator[Step | Gathered, None]:
        """The passages for an answer. An agent without a language model is nobody: several searches take its place."""
        strategy = request.strategy or Strategy(collection.setting("strategy", Strategy.SINGLE))
        top_k = request.top_k or collection.setting("top_k", self._settings.top_k)
        search = request.search or partial(
            self._retriever.retrieve,
            collection=collection.name,
            top_k=request.top_k,
            filters=request.filters,
            explain=request.explain,
        )
        weigh = partial(self._weigh, collection=collection)
        if strategy is Strategy.SINGLE:
            yield Gathered(await search(query), strategy)
            return
        if strategy is Strategy.AGENT and writer is not None:
            steps = agent.gather(
                query,
                search=search,
                reader=self._reader,
                weigh=weigh,
                top_k=top_k,
                planner=writer,
                model=request.model,
                sampling=request.sampling,
                budget=agent.Budget(
                    collection.setting("agent_steps", agent.AGENT_STEPS),
                    collection.setting("agent_tokens", agent.AGENT_TOKENS),
                ),
                functions=request.functions,
                called=request.called,
            )
        else:
            steps = multi.gather(query, search=search, weigh=weigh, top_k=top_k, writer=writer, model=request.model)
        async with aclosing(steps):
            async for step in steps:
                yield step

    async def _weigh(self, found: Retrieval, *, collection: Collection) -> float:
        """The confidence that one of several searches answers its query."""
        evidence = read_passages(found.passages)
        return (await judge(found.query, evidence, found, collection, self._compare(collection))).confidence

    def _compare(self, collection: Collection) -> Compare:
        return partial(self._retriever.similarities, collection=collection)

    async def preview(self, request: AskRequest, *, collection: Collection) -> Preview:
        """What a language model would be asked. None is: a follow-up is made to stand alone by its words,
        and what a model would have searched for besides is left out.

        Raises `ModelNotFound`, and what the retriever raises.
        """
        query = carry_over(request.question, request.history)
        async with aclosing(self._gather(request, query, collection, None)) as gathering:
            *_, gathered = [found async for found in gathering]
        assert isinstance(gathered, Gathered)  # noqa: S101 - it is the last thing that is yielded
        retrieval = await self._joined(gathered.retrieval)
        request, unserved = await _with_model(request, collection, self._generator)
        task = _task(request, collection, read_passages(retrieval.sources), retrieval.joined)
        if self._generator is not None and unserved is None:
            try:
                return replace(await self._generator.preview(task), query=query)
            except GenerationFailed as error:
                logger.info("the prompt is estimated: %s", error)
        window = self._settings.llm_context_tokens or DEFAULT_CONTEXT_TOKENS
        return replace(await preview(task, None, window, no_tokenizer), query=query)

    async def _joined(self, retrieval: Retrieval) -> Retrieval:
        """With the passages' neighbours; without the passages whose document was deleted since they were found."""
        joined = await self._reader.join(retrieval.passages)
        return replace(retrieval, joined=joined, passages=retrieval.passages if joined else ())

    async def _search_query(
        self, request: AskRequest, writer: OpenAIGenerator | None, timings: dict[str, float]
    ) -> tuple[str, Usage]:
        """The question as it is to be searched for: made to stand alone where it is a follow-up."""
        if not request.history:
            return request.question, Usage()
        with timed("rewrite", timings):
            return await rewrite(request.question, request.history, writer, model=request.model)

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
                    for event in draft.checked.add(part):
                        yield event
        await self._ask_second_opinion(draft)
        for event in draft.end():
            yield event

    async def _ask_second_opinion(self, draft: Draft) -> None:
        if self._second_opinion is not None:
            with timed("entailment", draft.timings):
                await draft.checked.judge(self._second_opinion)


async def _with_model(
    request: AskRequest, collection: Collection, writer: OpenAIGenerator | None
) -> tuple[AskRequest, GenerationFailed | None]:
    """The request with the collection's model where it names none itself; and what is wrong with the collection's.

    Before the first event, so that a refusal has a status of its own. Raises `ModelNotFound` for the request's.
    """
    model = request.model or collection.setting("model", None)
    if writer is None or model is None:
        return request, None
    try:
        await writer.window(model)
    except ModelNotFound as error:
        if request.model is not None:
            raise
        return request, GenerationFailed(error.message)
    except GenerationFailed:  # a server that is down is met with an answer that needs none
        pass
    return replace(request, model=model), None


def _explained(gathered: Gathered, steps: Sequence[Step]) -> Retrieval:
    """What was gathered, with the strategy among its explanations where these are wanted."""
    retrieval = gathered.retrieval
    if retrieval.explain is None:
        return retrieval
    strategy = {
        "used": gathered.strategy,
        "steps": [asdict(step) for step in steps],
        "parts": [{"question": part, "confidence": sure} for part, sure in gathered.confidences.items()],
        "searches": [{"query": each.query, **(each.explain or {})} for each in gathered.searches],
    }
    return replace(retrieval, explain={**retrieval.explain, "strategy": strategy})


async def whole_answer(events: AsyncGenerator[Event, None]) -> Answer:
    """The answer at the end of its events. Raises the error of one that broke off."""
    end = await outcome(events)
    assert isinstance(end, Answer)  # noqa: S101 - no functions were offered
    return end


async def outcome(events: AsyncGenerator[Event, None]) -> Answer | FunctionsCalled:
    """What the events come to. Raises the error of an answer that broke off."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Done):
                return event.answer
            if isinstance(event, FunctionsCalled):
                return event
            if isinstance(event, Failed):
                raise event.error
    raise AssertionError("no answer ends otherwise")


def _task(request: AskRequest, collection: Collection, evidence: Evidence, joined: Sequence[Joined]) -> Task:
    settings = collection.settings
    variables = prompt_variables(collection)
    system_prompt = settings.get("system_prompt")
    return Task(
        question=request.question,
        evidence=evidence,
        narrow=tuple(each.narrow for each in joined),
        history=request.history,
        summary=request.summary,
        system_prompt=None if system_prompt is None else render_or_keep(system_prompt, variables),
        question_template=settings.get("question_template"),
        variables=variables,
        examples=tuple(settings.get("examples") or ()),
        language=settings.get("language"),
        sampling=request.sampling.over(_sampling(collection)),
        streamed=request.streamed,
        model=request.model,
        called=request.called,
    )


def _sampling(collection: Collection) -> Sampling:
    """The collection's own, for what a request leaves open."""
    settings = collection.settings.get("sampling") or {}
    return Sampling(**{**settings, "stop": tuple(settings.get("stop") or ())})
