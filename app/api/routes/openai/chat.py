"""Chat completions: the last user message is the question, what comes before it the conversation."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from app.answering.answerer import AskRequest
from app.answering.events import Delta, Done, Event, Failed, FunctionsCalled
from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND, TOO_MANY, error_body
from app.api.routes.openai.models import collection_of
from app.api.schemas.answers import AnswerOut
from app.api.schemas.openai_chat import ChatCompletionIn, split_question
from app.api.streaming import OR_A_STREAM, event_stream, first_then_rest, unless_client_leaves
from app.errors import FootnoteError
from app.types import Answer, Usage

logger = logging.getLogger(__name__)
router = APIRouter()


@router.post("/chat/completions", response_model=None, responses={**NOT_FOUND, **TOO_MANY, **OR_A_STREAM})
async def chat(body: ChatCompletionIn, request: Request, services: ServicesDep) -> Response:
    """An answer with its footnotes: markers in the text, spans in `annotations`, quotes in `citations`."""
    body.check()
    collection = await run_in_threadpool(collection_of, services, body.model)
    messages, called = body.conversation()
    text, history = split_question(messages, param="messages")
    question = AskRequest(
        question=text,
        history=history,
        sampling=body.sampling(),
        streamed=bool(body.stream),
        strategy=body.strategy,
        functions=body.functions(),
        called=called,
    )
    if body.stream:
        events = await unless_client_leaves(
            request, first_then_rest(services.answerer.ask(question, collection=collection))
        )
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        chunks = _Chunks(body.model, _base_url(request), include_usage=include_usage)
        return event_stream(chunks.encoded(events), chunks.said)
    outcome = await unless_client_leaves(request, services.answerer.answer_or_calls(question, collection=collection))
    if isinstance(outcome, FunctionsCalled):
        return JSONResponse(_calls(body.model, outcome))
    return JSONResponse(_completion(body.model, outcome, _base_url(request)))


class _Chunks:
    """One streamed completion."""

    def __init__(self, model: str, base_url: str, *, include_usage: bool) -> None:
        self._base_url = base_url
        self._include_usage = include_usage
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            # Null in every chunk but the last, where it was asked for.
            **({"usage": None} if include_usage else {}),
        }

    def said(self, text: str) -> bytes:
        return self._chunk({"content": text})

    async def encoded(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes | str, None]:
        usage: Usage | None = None
        async with aclosing(events):
            try:
                yield self._chunk({"role": "assistant", "content": ""})
                async for event in events:
                    if isinstance(event, Delta):
                        yield event.text
                    elif isinstance(event, FunctionsCalled):
                        calls = [{"index": at, **call} for at, call in enumerate(_tool_calls(event))]
                        yield self._chunk({"tool_calls": calls})
                        yield self._encode({"choices": [_choice("delta", {}, "tool_calls")]})
                        usage = event.usage
                    elif isinstance(event, Done):
                        yield self._last(event.answer)
                        usage = event.answer.usage
                    elif isinstance(event, Failed):
                        yield _data(error_body(event.error))
                if usage is not None and self._include_usage:
                    yield self._encode({"choices": [], "usage": _tokens(usage)})
            except FootnoteError as error:
                yield _data(error_body(error))
            except Exception:
                logger.exception("a stream failed")
                yield _data(error_body(FootnoteError()))
            yield b"data: [DONE]\n\n"

    def _last(self, answer: Answer) -> bytes:
        annotations = _annotations(answer, self._base_url)
        choice = _choice("delta", {"annotations": annotations}, _finish_reason(answer), _logprobs(answer))
        return self._encode({"choices": [choice], **footnotes(answer)})

    def _chunk(self, delta: Mapping[str, Any]) -> bytes:
        return self._encode({"choices": [_choice("delta", delta, None)]})

    def _encode(self, part: Mapping[str, Any]) -> bytes:
        return _data({**self._head, **part})


def footnotes(answer: Answer) -> dict[str, Any]:
    """What OpenAI's shapes have no place for."""
    whole = AnswerOut.of(answer).model_dump(mode="json")
    return {name: whole[name] for name in ("citations", "answerable", "reason", "degraded", "confidence")}


def _completion(model: str, answer: Answer, base_url: str) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": _annotations(answer, base_url),
    }
    choice = _choice("message", message, _finish_reason(answer), _logprobs(answer))
    return {**_whole(answer.id, model, choice, answer.usage), **footnotes(answer)}


def _calls(model: str, called: FunctionsCalled) -> dict[str, Any]:
    """The functions that the client is to call, and with whose results it is to ask again."""
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": _tool_calls(called)}
    choice = _choice("message", message, "tool_calls")
    return _whole(f"chatcmpl-{uuid.uuid4().hex}", model, choice, called.usage)


def _whole(identity: str, model: str, choice: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
    return {
        "id": identity,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": _tokens(usage),
    }


def _choice(
    kind: str, content: Mapping[str, Any], finish_reason: str | None, logprobs: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"index": 0, kind: content, "finish_reason": finish_reason, "logprobs": logprobs}


def _tool_calls(called: FunctionsCalled) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in called.calls
    ]


def _annotations(answer: Answer, base_url: str) -> list[dict[str, Any]]:
    """One for every sentence and source, in the one type that chat completions have: a URL with a span of the text."""
    annotations = []
    cited = {citation.marker: citation for citation in answer.citations}
    for sentence in answer.sentences:
        for marker in sentence.markers:
            citation = cited.get(marker)
            if citation is None:
                continue
            page = f"#page={citation.page}" if citation.page else ""
            annotations.append(
                {
                    "type": "url_citation",
                    "url_citation": {
                        "start_index": sentence.start,
                        "end_index": sentence.end,
                        "title": citation.filename,
                        "url": f"{base_url}/documents/{citation.document_id}/content{page}",
                    },
                }
            )
    return annotations


def _logprobs(answer: Answer) -> dict[str, Any] | None:
    """Those of the whole answer, as the engine gave them; where it is streamed, with the last chunk."""
    return {"content": list(answer.logprobs), "refusal": None} if answer.logprobs else None


def _finish_reason(answer: Answer) -> str:
    return answer.finish_reason or "stop"


def _tokens(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _data(data: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(data) + b"\n\n"
