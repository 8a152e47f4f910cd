"""The body of a streamed chat completion: bytes → server-sent events → what each one brings."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from app.errors import GenerationFailed
from app.types import Usage

logger = logging.getLogger(__name__)


class ErrorInStream(GenerationFailed):
    """The language model's server reported an error after it had begun to answer."""

    def __init__(self, message: str, status: int | None) -> None:
        """`status`: what it would have answered with, where it tells."""
        super().__init__(f"The language model's server failed: {message}")
        self.reported = message
        self.status = status


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A piece of a tool call: the first has its id and name, and all of them a piece of its arguments."""

    index: int | None  # which call of this turn; some servers do not tell
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One chunk of a streamed completion."""

    text: str = ""  # of the answer
    reasoning: bool = False  # the model is thinking: no text for the answer, but a sign of life
    finish_reason: str | None = None
    usage: Usage | None = None
    calls: tuple[CallPiece, ...] = ()
    logprobs: tuple[Mapping[str, Any], ...] = ()  # of the tokens that the text is made of

    @property
    def is_token(self) -> bool:
        """Whether the model has said something, be it to itself: a heartbeat or an empty chunk is none."""
        return bool(self.text or self.reasoning or self.calls)


async def read_stream(chunks: AsyncIterator[bytes]) -> AsyncGenerator[StreamEvent, None]:
    """The events up to `[DONE]`. Lines that are no JSON are skipped.

    Raises `ErrorInStream`, and `GenerationFailed` for a stream that ends before its time: a body that just stops is a
    server that died behind a proxy, and half an answer must not pass for a whole one.
    """
    finished = False
    async with aclosing(_data_lines(chunks)) as lines:
        async for line in lines:
            if line == b"[DONE]":
                return
            event = _decode(line)
            if event is not None:
                finished = finished or event.finish_reason is not None
                yield event
    if not finished:
        raise GenerationFailed("The language model's stream broke off.")


async def _data_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The `data:` lines of server-sent events, however the packets cut them.

    Not httpx's own lines: those also end at U+2028 and other separators that JSON strings may hold.
    """
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield bytes(line[5:].strip())
    if buffer.startswith(b"data:"):
        yield bytes(buffer[5:].strip())


def _decode(line: bytes) -> StreamEvent | None:
    try:
        event = json.loads(line)
    except ValueError:
        logger.debug("skipped a line of the stream that is not JSON: %r", line[:200])
        return None
    if not isinstance(event, dict):
        return None
    if event.get("error") or event.get("object") == "error":
        code = _mapping(event.get("error")).get("code")
        raise ErrorInStream(error_message(event), code if isinstance(code, int) else None)
    # The chunk that tells the usage has `choices: []`.
    choice = _mapping((event.get("choices") or [None])[0])
    delta, usage, reason = _mapping(choice.get("delta")), event.get("usage"), choice.get("finish_reason")
    return StreamEvent(
        text=str(delta.get("content") or ""),
        reasoning=bool(delta.get("reasoning") or delta.get("reasoning_content")),
        finish_reason=reason if isinstance(reason, str) else None,
        usage=_usage(usage) if isinstance(usage, dict) else None,
        calls=tuple(_call_pieces(delta.get("tool_calls"))),
        logprobs=_logprobs(choice.get("logprobs")),
    )


def _call_pieces(calls: Any) -> Iterator[CallPiece]:
    for call in calls if isinstance(calls, list) else ():
        function = _mapping(_mapping(call).get("function"))
        index, identity, name, arguments = (
            *(_mapping(call).get(key) for key in ("index", "id")),
            *(function.get(key) for key in ("name", "arguments")),
        )
        yield CallPiece(
            index=index if isinstance(index, int) else None,
            id=identity if isinstance(identity, str) and identity else None,
            name=name if isinstance(name, str) and name else None,
            # Some servers give an object where the standard has its JSON.
            arguments=arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else "",
        )


def error_message(body: Any) -> str:
    """What an error's body says, in OpenAI's shape or in another."""
    error = body.get("error") or body if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return str(error)[:500]


def _usage(usage: dict[str, Any]) -> Usage:
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) else 0 for count in counts)
    return Usage(prompt, completion)


def _logprobs(value: Any) -> tuple[Mapping[str, Any], ...]:
    tokens = _mapping(value).get("content")
    return tuple(each for each in tokens if isinstance(each, dict)) if isinstance(tokens, list) else ()


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
