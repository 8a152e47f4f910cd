"""The OpenAI-compatible face: the model's name picks the collection, citations ride along."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from app.answering.answerer import AskRequest
from app.answering.events import Delta, Done, Event, Failed
from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND, error_body
from app.api.schemas.answers import AnswerOut, stop_strings
from app.api.streaming import event_stream, first_then_rest, unless_client_leaves
from app.errors import CollectionNotFound, FootnoteError, InvalidRequest, ModelNotFound
from app.store.collections import DEFAULT_COLLECTION, get_collection, list_collections
from app.types import Answer, Collection, Message, Sampling

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["openai"])

_MODEL = "footnote"
# Sampling that OpenAI has no field for in our own schema, passed on as it is.
_PASSED_ON = ("top_k", "min_p", "repetition_penalty", "seed", "presence_penalty", "frequency_penalty")


class ModelOut(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["footnote"] = "footnote"


class ModelsOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelOut]


class TextPart(BaseModel):
    """A part of a message; only text can be asked."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatCompletionIn(BaseModel):
    """OpenAI's fields, those of vLLM, and nothing refused that does no harm."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"model": "footnote", "messages": [{"role": "user", "content": "When was it founded?"}]}]
        },
    )

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: list[str] | str | None = None

    def sampling(self) -> Sampling:
        extra: dict[str, JsonValue] = self.model_extra or {}
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=stop_strings(self.stop),
            extra={name: extra[name] for name in _PASSED_ON if extra.get(name) is not None},
        )


@router.get("/models")
def list_models(services: ServicesDep) -> ModelsOut:
    """`footnote` is the default collection, `footnote/NAME` any other."""
    with services.core.database.read() as connection:
        found = list_collections(connection)
    return ModelsOut(data=[_model(collection) for collection in found])


@router.get("/models/{model:path}", responses=NOT_FOUND)
def read_model(model: str, services: ServicesDep) -> ModelOut:
    """One of them."""
    return _model(_collection(services, model))


@router.post("/chat/completions", response_model=None, responses=NOT_FOUND)
async def chat(body: ChatCompletionIn, request: Request, services: ServicesDep) -> Response:
    """The last user message is the question, what comes before it the conversation."""
    collection = await run_in_threadpool(_collection, services, body.model)
    messages = [Message("system" if m.role == "developer" else m.role, m.text()) for m in body.messages]
    if messages[-1].role != "user" or not messages[-1].content.strip():
        raise InvalidRequest("The last message must be the user's question.", param="messages")
    question = AskRequest(
        question=messages[-1].content.strip(),
        history=tuple(messages[:-1]),
        sampling=body.sampling(),
        streamed=body.stream,
    )
    if body.stream:
        events = await unless_client_leaves(
            request, first_then_rest(services.answerer.ask(question, collection=collection))
        )
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        return event_stream(_Chunks(body.model, _base_url(request)).encoded(events, include_usage=include_usage))
    answer = await unless_client_leaves(request, services.answerer.answer(question, collection=collection))
    return JSONResponse(_completion(body.model, answer, _base_url(request)))


class _Chunks:
    """One streamed completion."""

    def __init__(self, model: str, base_url: str) -> None:
        self._model = model
        self._base_url = base_url
        self._created = int(time.time())
        self._id = f"chatcmpl-{uuid.uuid4().hex}"

    async def encoded(self, events: AsyncGenerator[Event, None], *, include_usage: bool) -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            try:
                yield self._chunk({"role": "assistant", "content": ""})
                async for event in events:
                    if isinstance(event, Delta):
                        yield self._chunk({"content": event.text})
                    elif isinstance(event, Done):
                        yield self._last(event.answer)
                        if include_usage:
                            yield self._encode({"choices": [], "usage": _usage(event.answer)})
                    elif isinstance(event, Failed):
                        yield _data(error_body(event.error))
            except FootnoteError as error:
                yield _data(error_body(error))
            except Exception:
                logger.exception("a stream failed")
                yield _data(error_body(FootnoteError()))
            yield b"data: [DONE]\n\n"

    def _last(self, answer: Answer) -> bytes:
        delta = {"annotations": _annotations(answer, self._base_url)}
        extra = _extra(answer)
        return self._encode(
            {"choices": [{"index": 0, "delta": delta, "finish_reason": _finish_reason(answer)}], **extra}
        )

    def _chunk(self, delta: Mapping[str, Any]) -> bytes:
        return self._encode({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    def _encode(self, part: Mapping[str, Any]) -> bytes:
        head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model}
        return _data({**head, **part})


def _completion(model: str, answer: Answer, base_url: str) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": _annotations(answer, base_url),
    }
    return {
        "id": answer.id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish_reason(answer), "logprobs": None}],
        "usage": _usage(answer),
        **_extra(answer),
    }


def _extra(answer: Answer) -> dict[str, Any]:
    """What OpenAI's shape has no place for."""
    whole = AnswerOut.of(answer).model_dump(mode="json")
    return {name: whole[name] for name in ("citations", "answerable", "reason", "degraded", "confidence")}


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


def _finish_reason(answer: Answer) -> str:
    return answer.finish_reason or "stop"


def _usage(answer: Answer) -> dict[str, int]:
    usage = answer.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _model(collection: Collection) -> ModelOut:
    name = _MODEL if collection.name == DEFAULT_COLLECTION else f"{_MODEL}/{collection.name}"
    return ModelOut(id=name, created=int(collection.created_at.timestamp()))


def _collection(services: Services, model: str) -> Collection:
    """The collection that a model's name picks. Raises `ModelNotFound`."""
    prefix, _, name = model.partition("/")
    try:
        if prefix != _MODEL:
            raise CollectionNotFound
        with services.core.database.read() as connection:
            return get_collection(connection, name or DEFAULT_COLLECTION)
    except CollectionNotFound as error:
        raise ModelNotFound(
            f"There is no model {model!r}; `footnote` and `footnote/<collection>` are.", param="model"
        ) from error


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _data(data: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(data) + b"\n\n"
