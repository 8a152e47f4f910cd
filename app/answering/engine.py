"""An OpenAI-compatible server over HTTP, vLLM first: its models, its tokenizer, its streams."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from app.answering.chat_stream import StreamEvent, error_message, read_stream
from app.errors import GenerationFailed

_MODELS_SECONDS = 60.0  # how long the list of models is believed
_SIDE_CALL_SECONDS = 5.0  # for /v1/models and /tokenize, which answer at once or not at all
_TOO_LONG = re.compile(r"context|too long|longer than|model length|max_model_len", re.IGNORECASE)


class PromptTooLong(GenerationFailed):
    """The language model's server found the prompt longer than its window."""


class RequestRejected(GenerationFailed):
    """The language model's server rejected the request."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that the server lists, with its window in tokens where the server tells it."""

    id: str
    context_tokens: int | None


class Engine:
    """One server. Holds what it has learnt about it; the connections belong to the `httpx.AsyncClient`."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, api_key: str | None, connect_seconds: float) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._connect_seconds = connect_seconds
        self._models: tuple[ServedModel, ...] = ()
        self._models_until = 0.0
        self._tokenizes = True

    async def models(self) -> tuple[ServedModel, ...]:
        """What the server serves. Raises `GenerationFailed`."""
        if time.monotonic() >= self._models_until:
            listed = (await self._call("GET", f"{self._base_url}/models")).get("data")
            entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
            self._models = tuple(
                ServedModel(str(entry.get("id")), _positive(entry.get("max_model_len"))) for entry in entries
            )
            self._models_until = time.monotonic() + _MODELS_SECONDS
        return self._models

    async def count_tokens(self, model: str, messages: Sequence[Mapping[str, str]]) -> int | None:
        """The tokens of a prompt, chat template included; None where the server has no `/tokenize` as vLLM has it."""
        if not self._tokenizes:
            return None
        body = {"model": model, "messages": messages, "add_generation_prompt": True}
        try:
            answer = await self._call("POST", f"{self._base_url.removesuffix('/v1')}/tokenize", body)
        except GenerationFailed as error:
            # A server that has none will not grow one; a busy one will be asked again.
            self._tokenizes = not isinstance(error, RequestRejected)
            return None
        count = _positive(answer.get("count"))
        self._tokenizes = count is not None
        return count

    async def stream_chat(
        self, body: Mapping[str, Any], first_token_seconds: float, token_seconds: float
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of a streamed completion.

        Raises `PromptTooLong`, `RequestRejected`, or `GenerationFailed` for everything else that goes wrong. Leaving
        the iterator closes the connection, which makes vLLM abort the request.
        """
        # One deadline from the request to the first token, connection and headers included; then one from token to
        # token. Heartbeats and empty chunks do not move it: a server may send them for ever.
        deadline = asyncio.get_running_loop().time() + first_token_seconds
        waiting_for = "did not begin to answer"
        async with aclosing(self._events(body)) as events:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        event = await anext(events, None)
                except TimeoutError:
                    raise GenerationFailed(f"The language model {waiting_for} in time.") from None
                if event is None:
                    return
                if event.text or event.reasoning or event.calls:
                    deadline = asyncio.get_running_loop().time() + token_seconds
                    waiting_for = "went silent and did not go on"
                yield event

    async def _events(self, body: Mapping[str, Any]) -> AsyncGenerator[StreamEvent, None]:
        try:
            async with self._client.stream(
                "POST",
                f"{self._base_url}/chat/completions",
                content=_encode(body),
                headers=self._headers,
                # Reading has the deadline of `stream_chat`, which knows a token from a heartbeat.
                timeout=httpx.Timeout(None, connect=self._connect_seconds),
            ) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise _rejection(response)
                async with aclosing(read_stream(response.aiter_bytes())) as events:
                    async for event in events:
                        yield event
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GenerationFailed(_describe(error)) from error

    async def _call(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        timeout = httpx.Timeout(_SIDE_CALL_SECONDS, connect=self._connect_seconds)
        try:
            content = None if body is None else _encode(body)
            response = await self._client.request(method, url, content=content, headers=self._headers, timeout=timeout)
            answer = response.json() if response.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GenerationFailed(_describe(error)) from error
        except ValueError as error:
            raise RequestRejected(f"{url} did not answer with JSON.") from error
        if not isinstance(answer, dict):
            raise _rejection(response)
        return answer


def _encode(body: Mapping[str, Any]) -> bytes:
    # In ASCII, unlike httpx's own `json=`: a caller's stop string may hold half a surrogate pair, which UTF-8 cannot.
    return json.dumps(body).encode("ascii")


def _rejection(response: httpx.Response) -> GenerationFailed:
    try:
        message = error_message(response.json())
    except ValueError:
        message = response.text[:200]
    status = response.status_code
    if status in (400, 413, 422) and _TOO_LONG.search(message):
        return PromptTooLong(message)
    if status in (400, 404, 405, 422):
        return RequestRejected(f"The language model's server rejected the request ({status}): {message}")
    if status in (401, 403):
        return GenerationFailed(f"The language model's server refused our API key ({status}).")
    return GenerationFailed(f"The language model's server answered {status}: {message}".rstrip(": "))


def _describe(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol):
        return "The language model's server could not be reached."
    if isinstance(error, httpx.TimeoutException):
        return "The language model's server did not answer in time."
    return "The connection to the language model's server broke."


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
