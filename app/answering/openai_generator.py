"""Answers from a language model behind an OpenAI-compatible server."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any, Final

import httpx

from app.answering.engine import Engine, PromptTooLong, RequestRejected, ServedModel
from app.answering.generation import Completion, Task
from app.answering.window import Messages, fit
from app.config import Settings
from app.errors import GenerationFailed, GenerationInterrupted, InvalidRequest, ModelNotFound
from app.telemetry import timed
from app.types import Mode, Sampling, Usage

_DEFAULT_CONTEXT_TOKENS = 8192  # where neither the server nor the operator tells
_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"


class OpenAIGenerator:
    """Streams a grounded answer from a chat model, with a prompt that fits the window it is served with."""

    mode: Final = Mode.GENERATE

    def __init__(self, client: httpx.AsyncClient, settings: Settings) -> None:
        """`settings.llm_base_url` must be set, as in `http://host:8000/v1`. The caller closes the client."""
        if settings.llm_base_url is None:
            raise ValueError("a base URL is needed")
        self._settings = settings
        self._engine = Engine(
            client,
            settings.llm_base_url,
            settings.llm_api_key.get_secret_value() if settings.llm_api_key else None,
            settings.llm_connect_timeout_seconds,
        )

    async def models(self) -> tuple[str, ...]:
        """The names that the server lists. Raises `GenerationFailed`."""
        return tuple(model.id for model in await self._engine.models())

    async def generate(self, task: Task, timings: MutableMapping[str, float]) -> AsyncGenerator[str | Completion, None]:
        with timed("prompt", timings):
            model = await self._choose_model(task.model)
            window = model.context_tokens or self._settings.llm_context_tokens or _DEFAULT_CONTEXT_TOKENS
            messages, room = await self._fit(task, model, window)
        try:
            async with aclosing(self._stream(task, model.id, messages, room, timings)) as parts:
                async for part in parts:
                    yield part
        except PromptTooLong:
            # Only an engine without a tokenizer of its own to ask, or with a smaller window than it said, comes here,
            # and always before the first token.
            with timed("prompt", timings):
                messages, room = await self._fit(task, model, window // 2)
            async with aclosing(self._stream(task, model.id, messages, room, timings)) as parts:
                async for part in parts:
                    yield part

    async def _fit(self, task: Task, model: ServedModel, window: int) -> tuple[Messages, int]:
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
        self, task: Task, model: str, messages: Messages, room: int, timings: MutableMapping[str, float]
    ) -> AsyncGenerator[str | Completion, None]:
        body = _request_body(task.sampling, model, messages, room)
        settings = self._settings
        started = time.perf_counter()
        answered = False
        usage, finish_reason = Usage(), None
        logprobs: list[Mapping[str, Any]] = []
        thoughts = _ThoughtFilter()
        events = self._engine.stream_chat(
            body, settings.llm_first_token_timeout_seconds, settings.llm_token_timeout_seconds
        )
        try:
            async with aclosing(events):
                async for event in events:
                    usage = event.usage or usage
                    finish_reason = event.finish_reason or finish_reason
                    logprobs += event.logprobs
                    text = thoughts.answer_part(event.text)
                    if not answered:
                        text = text.lstrip()
                        if text:
                            timings["first_token"] = _since(started)
                            answered = True
                    if text:
                        yield text
        except GenerationFailed as error:
            if answered:
                raise GenerationInterrupted(error.message) from error
            if isinstance(error, RequestRejected) and task.sampling != Sampling():
                raise InvalidRequest(error.message) from error  # the caller's own parameters are the likely reason
            raise
        finally:
            timings["generate"] = _since(started)
        if not answered:
            raise GenerationFailed("The language model gave an empty answer.")
        yield Completion(model, usage, finish_reason, tuple(logprobs))


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


def _request_body(sampling: Sampling, model: str, messages: Messages, room: int) -> dict[str, Any]:
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


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
