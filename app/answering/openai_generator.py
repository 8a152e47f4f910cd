"""Answers from a language model behind an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import httpx

from app.answering.admission import Admission
from app.answering.breaker import Attempt, Breaker
from app.answering.engine import (
    Engine,
    EngineBusy,
    EngineFull,
    EngineStopped,
    Patience,
    PromptTooLong,
    RequestRejected,
    ServedModel,
)
from app.answering.engine_load import LoadWatch
from app.answering.generation import Completion, PromptBudget, Task, Turn, TurnTooSlow
from app.answering.repetition import LoopGuard
from app.answering.tool_calls import CallCollector
from app.answering.window import Fitted, Preview, estimate, fit, preview
from app.config import Settings
from app.errors import GenerationFailed, GenerationInterrupted, InvalidRequest, ModelNotFound
from app.telemetry import timed
from app.types import Mode, Sampling, Usage

DEFAULT_CONTEXT_TOKENS = 8192  # where neither the server nor the operator tells
_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"


class EmptyAnswer(GenerationFailed):
    """The language model gave an empty answer."""


class OpenAIGenerator:
    """Streams a grounded answer from a chat model, with a prompt that fits the window it is served with."""

    mode: Final = Mode.GENERATE

    def __init__(self, client: httpx.AsyncClient, settings: Settings) -> None:
        """`settings.llm_base_url` must be set, as in `http://host:8000/v1`. The caller closes the client."""
        if settings.llm_base_url is None:
            raise ValueError("a base URL is needed")
        self._settings = settings
        self.admission = Admission(settings.admission)
        self._engine = Engine(
            client,
            settings.llm_base_url,
            settings.llm_api_key.get_secret_value() if settings.llm_api_key else None,
            settings.llm_timeouts.connect_seconds,
            on_busy=self.admission.shrink,
        )
        self._watch = LoadWatch(self._engine.load, self.admission.follow)
        self.breaker = Breaker(
            harmless=(PromptTooLong, RequestRejected, EngineFull, EngineStopped, EmptyAnswer), busy=(EngineBusy,)
        )

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """What an answer needs before it begins; none where the engine would not be asked. See `Admission.place`."""
        if self.breaker.is_resting:
            yield
            return
        async with self.admission.place():
            with self._watch.working():
                yield

    def stop(self) -> None:
        """End every generation, now and from now on: what was said so far is what was said."""
        self.admission.close()
        self._engine.stop()

    async def models(self) -> tuple[str, ...]:
        """The names that the server lists. Raises `GenerationFailed`."""
        return tuple(model.id for model in await self._engine.models())

    async def generate(self, task: Task, timings: MutableMapping[str, float]) -> AsyncGenerator[str | Completion, None]:
        with self.breaker.attempt() as attempt:
            patience = Patience.begin(self._settings.llm_timeouts)
            with timed("prompt", timings):
                async with _until_first_token(patience):
                    model = await self._choose_model(task.model)
                    window = self._window(model)
                    prompt = await self._fit(task, model, window)
            try:
                async with aclosing(self._stream(task, model.id, prompt, window, timings, patience, attempt)) as parts:
                    async for part in parts:
                        yield part
            except PromptTooLong:
                # Only an engine without a tokenizer of its own to ask, or with a smaller window than it said, comes
                # here, and always before the first token.
                with timed("prompt", timings):
                    window //= 2
                    async with _until_first_token(patience):
                        prompt = await self._fit(task, model, window)
                async with aclosing(self._stream(task, model.id, prompt, window, timings, patience, attempt)) as parts:
                    async for part in parts:
                        yield part

    async def window(self, model: str | None) -> int:
        """The tokens that prompt and answer may have together. Raises `GenerationFailed`, `ModelNotFound`."""
        self.breaker.check()
        return self._window(await self._choose_model(model))

    async def turn(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        seconds: float,
        model: str | None = None,
        sampling: Sampling = Sampling(temperature=0),  # noqa: B008 - frozen
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Turn:
        """One turn, read to its end. Raises what `Engine.stream_chat` raises, `TurnTooSlow`, and `ModelNotFound`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._turn(messages, model, max_tokens, sampling, tools)
        except TimeoutError:
            raise TurnTooSlow from None

    async def _turn(
        self,
        messages: Sequence[Mapping[str, Any]],
        model: str | None,
        max_tokens: int,
        sampling: Sampling,
        tools: Sequence[Mapping[str, Any]],
    ) -> Turn:
        patience = Patience.begin(self._settings.llm_timeouts)
        text, calls, usage, finish_reason = "", CallCollector(), Usage(), None
        thoughts = _ThoughtFilter()
        with self.breaker.attempt() as attempt:
            async with _until_first_token(patience):
                served = await self._choose_model(model)
            # What a caller asks of the answer's length and end is no business of these turns.
            plain = Sampling(temperature=sampling.temperature, top_p=sampling.top_p, max_tokens=max_tokens)
            body = _request_body(plain, served.id, messages, max_tokens)
            if tools:
                body |= {"tools": list(tools), "tool_choice": "auto"}
            async with aclosing(self._engine.stream_chat(body, patience)) as events:
                async for event in events:
                    if event.is_token:
                        attempt.speaks()
                    usage = event.usage or usage
                    finish_reason = event.finish_reason or finish_reason
                    text += thoughts.answer_part(event.text)
                    calls.add(event.calls)
        return Turn(text.strip(), calls.collected(), usage, finish_reason)

    async def preview(self, task: Task) -> Preview:
        """The prompt for a task, without asking the model. Raises `GenerationFailed`, `ModelNotFound`."""
        self.breaker.check()
        model = await self._choose_model(task.model)
        return await preview(
            task, model.id, self._window(model), lambda prompt: self._engine.count_tokens(model.id, prompt)
        )

    def _window(self, model: ServedModel) -> int:
        return model.context_tokens or self._settings.llm_context_tokens or DEFAULT_CONTEXT_TOKENS

    async def _fit(self, task: Task, model: ServedModel, window: int) -> Fitted:
        return await fit(task, window, lambda messages: self._engine.count_tokens(model.id, messages))

    async def _choose_model(self, requested: str | None) -> ServedModel:
        """The model of the request, else of the settings, else the first that the server lists."""
        wanted = requested or self._settings.llm_model
        try:
            served = await self._engine.models()
        except RequestRejected:
            if wanted is None:
                raise
            served = ()  # some gateways list nothing, and serve all the same
        for model in served:
            if wanted in (None, model.id):
                return model
        if wanted is None:
            raise GenerationFailed("The language model's server lists no model.")
        if served and requested:
            raise ModelNotFound(f"The language model's server does not serve {requested!r}.", param="model")
        return ServedModel(wanted, None)

    async def _stream(
        self,
        task: Task,
        model: str,
        prompt: Fitted,
        window: int,
        timings: MutableMapping[str, float],
        patience: Patience,
        attempt: Attempt,
    ) -> AsyncGenerator[str | Completion, None]:
        body = _request_body(task.sampling, model, prompt.messages, prompt.room)
        started = time.perf_counter()
        answered = False
        usage, finish_reason = Usage(), None
        logprobs: list[Mapping[str, Any]] = []
        thoughts = _ThoughtFilter()
        guard = LoopGuard(hold_all=not task.streamed)
        try:
            async with aclosing(self._engine.stream_chat(body, patience)) as events:
                async for event in events:
                    if event.is_token:
                        attempt.speaks()
                    usage = event.usage or usage
                    finish_reason = event.finish_reason or finish_reason
                    logprobs += event.logprobs
                    text = thoughts.answer_part(event.text)
                    if not answered:
                        text = text.lstrip()
                        if text:
                            timings["first_token"] = _since(started)
                            answered = True
                    text = guard.add(text)
                    if text:
                        yield text
                    if guard.is_looping:  # leaving closes the connection, which frees the engine's slot
                        finish_reason = "repetition"
                        break
        except GenerationFailed as error:
            if answered:
                if rest := guard.finish():
                    yield rest
                raise GenerationInterrupted(error.message) from error
            if isinstance(error, RequestRejected) and task.sampling != Sampling():
                raise InvalidRequest(error.message) from error  # the caller's own parameters are the likely reason
            raise
        finally:
            timings["generate"] = _since(started)
        if not answered:
            raise EmptyAnswer
        if not self._watch.is_informed:
            self.admission.grow()
        if rest := guard.finish():
            yield rest
        yield Completion(model, usage, finish_reason, _budget(task, prompt, window), tuple(logprobs))


@asynccontextmanager
async def _until_first_token(patience: Patience) -> AsyncIterator[None]:
    """What is asked of the server before its answer is part of the time until that begins."""
    try:
        async with asyncio.timeout_at(patience.first_token):
            yield
    except TimeoutError:
        raise GenerationFailed("The language model's server did not answer in time.") from None


class _ThoughtFilter:
    """Drops a leading `<think>…</think>`: a reasoning model behind a server that does not separate the two."""

    def __init__(self) -> None:
        self._held: str | None = ""

    def answer_part(self, text: str) -> str:
        """What of the stream so far has newly turned out to be answer."""
        if self._held is None:
            return text
        self._held += text
        begun = self._held.lstrip()
        if begun.startswith(_THINK_OPEN):
            _, closed, answer = begun.partition(_THINK_CLOSE)
            if not closed:
                return ""
        elif _THINK_OPEN.startswith(begun):
            return ""  # may still become the tag
        else:
            answer = self._held
        self._held = None
        return answer


def _request_body(sampling: Sampling, model: str, messages: Sequence[Mapping[str, Any]], room: int) -> dict[str, Any]:
    body: dict[str, Any] = {**sampling.extra, "model": model, "messages": messages}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    if sampling.temperature is not None:
        body["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.max_tokens is not None:
        body["max_tokens"] = min(sampling.max_tokens, room)
    return body


def _budget(task: Task, prompt: Fitted, window: int) -> PromptBudget:
    kept = len(prompt.draft.passages)
    return PromptBudget(
        window_tokens=window,
        answer_tokens=prompt.room,
        estimated_prompt_tokens=estimate(prompt.messages),
        passages=kept,
        dropped_chunks=tuple(passage.chunk_id for passage in task.evidence.passages[kept:]),
    )


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
