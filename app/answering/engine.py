"""An OpenAI-compatible server over HTTP, vLLM first: its models, its tokenizer, its streams."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Self

import httpx

from app.answering.chat_stream import ErrorInStream, StreamEvent, error_message, read_stream
from app.answering.engine_load import EngineLoad, read_load
from app.config import LlmTimeouts
from app.errors import GenerationFailed
from app.telemetry import ENGINE_RETRIES

logger = logging.getLogger(__name__)

_MODELS_SECONDS = 60.0  # how long the list of models is believed
_STALE_MODELS_SECONDS = 5.0  # … where there is an older one, and no newer one can be had
_MOST_RETRIES = 2
_FIRST_PAUSE_SECONDS = 0.1  # before a retry, doubled each time, ± half: those who failed together come back apart
_END_SECONDS = 0.1  # for what comes behind `[DONE]`, which is nothing
_SIDE_CALL_SECONDS = 5.0  # for /v1/models and /tokenize, which answer at once or not at all
_TOO_LONG = re.compile(r"context|too long|longer than|model length|max_model_len", re.IGNORECASE)


class PromptTooLong(GenerationFailed):
    """The language model's server found the prompt longer than its window."""


class RequestRejected(GenerationFailed):
    """The language model's server rejected the request."""


class EngineBroken(GenerationFailed):
    """The connection to the language model's server broke."""


class EngineBusy(GenerationFailed):
    """The language model's server has too much to do."""


class EngineFull(GenerationFailed):
    """The language model's server allows us no more requests for now."""


class EngineStopped(GenerationFailed):
    """The service is shutting down."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Until when one generation is waited for, in the event loop's time."""

    first_token: float
    token_seconds: float
    end: float

    @classmethod
    def begin(cls, timeouts: LlmTimeouts) -> Self:
        """From now on."""
        now = asyncio.get_running_loop().time()
        end = now + timeouts.total_seconds
        return cls(min(now + timeouts.first_token_seconds, end), timeouts.token_seconds, end)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that the server lists, with its window in tokens where the server tells it."""

    id: str
    context_tokens: int | None


class Engine:
    """One server. Holds what it has learnt about it; the connections belong to the `httpx.AsyncClient`."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        base_url: str,
        api_key: str | None,
        connect_seconds: float,
        on_busy: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_busy` is told whenever the server refuses a generation because it has too many."""
        self._client = client
        self._on_busy = on_busy
        self._base_url = base_url.rstrip("/")
        self._root = self._base_url.removesuffix("/v1")  # where vLLM has what OpenAI has not
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._connect_seconds = connect_seconds
        self._models: tuple[ServedModel, ...] = ()
        self._models_until = 0.0
        self._tokenizes = True
        self._tells_load = True
        self._waits: set[asyncio.Timeout] = set()  # for the next event, one of each generation
        self._is_stopped = False

    def stop(self) -> None:
        """End every generation, now and from now on, with `EngineStopped`."""
        self._is_stopped = True
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(0)

    async def models(self) -> tuple[ServedModel, ...]:
        """What the server serves. Raises `GenerationFailed`."""
        if time.monotonic() >= self._models_until:
            try:
                listed = (await self._call("GET", f"{self._base_url}/models")).get("data")
            except RequestRejected:
                raise
            except GenerationFailed:
                if not self._models:
                    raise
                self._models_until = time.monotonic() + _STALE_MODELS_SECONDS
                return self._models
            entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
            windows = {str(entry.get("id")): _positive(entry.get("max_model_len")) for entry in entries}
            # vLLM tells no window for an adapter: it is that of the model beneath it.
            parents = {str(entry.get("id")): str(entry.get("parent")) for entry in entries}
            self._models = tuple(
                ServedModel(name, window or windows.get(parents[name])) for name, window in windows.items()
            )
            self._models_until = time.monotonic() + _MODELS_SECONDS
        return self._models

    async def count_tokens(self, model: str, messages: Sequence[Mapping[str, str]]) -> int | None:
        """The tokens of a prompt, chat template included; None where the server has no `/tokenize` as vLLM has it."""
        if not self._tokenizes:
            return None
        body = {"model": model, "messages": messages, "add_generation_prompt": True}
        try:
            answer = await self._call("POST", f"{self._root}/tokenize", body)
        except GenerationFailed as error:
            # A server that has none will not grow one; a busy one will be asked again.
            self._tokenizes = not isinstance(error, RequestRejected)
            return None
        count = _positive(answer.get("count"))
        self._tokenizes = count is not None
        return count

    async def load(self) -> EngineLoad | None:
        """What the server has to do, for whomever; None where it has no `/metrics` as vLLM has them.

        Raises `GenerationFailed`.
        """
        if not self._tells_load:
            return None
        timeout = httpx.Timeout(_SIDE_CALL_SECONDS, connect=self._connect_seconds)
        try:
            response = await self._client.get(f"{self._root}/metrics", headers=self._headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _broken(error) from error
        if response.is_server_error:
            raise _rejection(response)
        load = read_load(response.text) if response.is_success else None
        self._tells_load = load is not None  # a server that has none will not grow one
        return load

    async def stream_chat(self, body: Mapping[str, Any], patience: Patience) -> AsyncGenerator[StreamEvent, None]:
        """The events of a streamed completion. What breaks before the first token is tried again.

        Raises `PromptTooLong`, `RequestRejected`, or `GenerationFailed` for everything else that goes wrong. Leaving
        the iterator closes the connection, which makes vLLM abort the request.
        """
        has_spoken = False
        for retries in range(_MOST_RETRIES + 1):
            try:
                async with aclosing(self._in_time(body, patience)) as events:
                    async for event in events:
                        has_spoken = has_spoken or event.is_token
                        yield event
                return
            except (EngineBroken, EngineBusy) as error:
                if has_spoken or not await _may_retry(error, retries, patience.first_token):
                    raise

    async def _in_time(self, body: Mapping[str, Any], patience: Patience) -> AsyncGenerator[StreamEvent, None]:
        # One deadline from the request to the first token, connection and headers included; then one from token to
        # token. Heartbeats and empty chunks do not move it: a server may send them for ever.
        now = asyncio.get_running_loop().time
        deadline, waiting_for = patience.first_token, "did not begin to answer"
        async with aclosing(self._events(body)) as events:
            while True:
                if self._is_stopped:
                    raise EngineStopped
                try:
                    async with asyncio.timeout_at(min(deadline, patience.end)) as wait:
                        self._waits.add(wait)
                        try:
                            event = await anext(events, None)
                        finally:
                            self._waits.discard(wait)
                except TimeoutError:
                    if self._is_stopped:
                        raise EngineStopped from None
                    if now() >= patience.end:
                        waiting_for = "did not come to an end"
                    raise GenerationFailed(f"The language model {waiting_for} in time.") from None
                if event is None:
                    return
                handed_on = now()
                if event.is_token:
                    deadline, waiting_for = handed_on + patience.token_seconds, "went silent and did not go on"
                yield event
                deadline += now() - handed_on  # a slow reader is not the engine's fault

    async def _events(self, body: Mapping[str, Any]) -> AsyncGenerator[StreamEvent, None]:
        try:
            async with self._client.stream(
                "POST",
                f"{self._base_url}/chat/completions",
                content=_encode(body),
                headers=self._headers,
                # Reading has the deadline of `_in_time`, which knows a token from a heartbeat.
                timeout=httpx.Timeout(None, connect=self._connect_seconds),
            ) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    if response.status_code in (429, 503):
                        self._on_busy()
                    raise _rejection(response)
                received = response.aiter_bytes()
                async with aclosing(read_stream(received)) as events:
                    async for event in events:
                        yield event
                await _read_out(received)
        except ErrorInStream as error:
            # vLLM looks at some parameters once its headers are sent: what it says of them is no failure of its own.
            raise _refusal(error.status, error.reported) or error from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _broken(error) from error

    async def _call(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        timeout = httpx.Timeout(_SIDE_CALL_SECONDS, connect=self._connect_seconds)
        try:
            content = None if body is None else _encode(body)
            response = await self._client.request(method, url, content=content, headers=self._headers, timeout=timeout)
            answer = response.json() if response.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _broken(error) from error
        except ValueError as error:
            raise RequestRejected(f"{url} did not answer with JSON.") from error
        if not isinstance(answer, dict):
            raise _rejection(response)
        return answer


async def _read_out(received: AsyncIterator[bytes]) -> None:
    """The end of the body behind `[DONE]`, without which the connection could not be used again."""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_END_SECONDS):
            async for _ in received:
                pass


def _encode(body: Mapping[str, Any]) -> bytes:
    # In ASCII, unlike httpx's own `json=`: a caller's stop string may hold half a surrogate pair, which UTF-8 cannot.
    return json.dumps(body).encode("ascii")


def _rejection(response: httpx.Response) -> GenerationFailed:
    try:
        message = error_message(response.json())
    except ValueError:
        message = response.text[:200]
    status = response.status_code
    refusal = _refusal(status, message)
    if refusal is not None:
        return refusal
    if status in (401, 403):
        return GenerationFailed(f"The language model's server refused our API key ({status}).")
    kind = {429: EngineFull, 502: EngineBroken, 503: EngineBusy}.get(status, GenerationFailed)
    return kind(f"The language model's server answered {status}: {message}".rstrip(": "))


def _refusal(status: int | None, message: str) -> PromptTooLong | RequestRejected | None:
    """What is wrong with the request; None where it is the server that failed."""
    if status in (400, 413, 422) and _TOO_LONG.search(message):
        return PromptTooLong(message)
    if status in (400, 404, 405, 422):
        return RequestRejected(f"The language model's server rejected the request ({status}): {message}")
    return None


async def _may_retry(error: GenerationFailed, retries: int, deadline: float) -> bool:
    """Wait, and say whether another try still makes sense."""
    pause = _FIRST_PAUSE_SECONDS * 2**retries * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
    if retries == _MOST_RETRIES or asyncio.get_running_loop().time() + pause >= deadline:
        return False
    logger.info("the language model's server is asked again: %s", error)
    ENGINE_RETRIES.inc()
    await asyncio.sleep(pause)
    return True


def _broken(error: Exception) -> GenerationFailed:
    """Worth another try, unless it took its time already or can never be."""
    hopeless = httpx.TimeoutException | httpx.InvalidURL | httpx.UnsupportedProtocol
    return (GenerationFailed if isinstance(error, hopeless) else EngineBroken)(_describe(error))


def _describe(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol):
        return "The language model's server could not be reached."
    if isinstance(error, httpx.TimeoutException):
        return "The language model's server did not answer in time."
    return "The connection to the language model's server broke."


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
