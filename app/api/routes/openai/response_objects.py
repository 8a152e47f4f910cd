"""A response of OpenAI's Responses API: whole, as the events that it is made of, or as it was kept."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from app.api.file_search import FileSearch
from app.api.routes.openai.chat import footnotes
from app.api.schemas.openai_responses import ResponseIn
from app.api.schemas.openai_vector_stores import FoundOut
from app.errors import FootnoteError
from app.store.responses import GivenResponse, StoredResponse
from app.types import Answer, Message, Passage, Usage

Json = dict[str, Any]
_STORED = ("call_id", "message_id", "created_at", "told")


@dataclass(frozen=True, slots=True)
class _Head:
    """What a response is from its beginning."""

    id: str
    call_id: str
    message_id: str
    created_at: int
    told: Mapping[str, Any]  # of the request
    is_kept: bool  # it can be read again, and continued


class ResponseObject:
    """Two items: the file search, then the message. Each event has the next number."""

    def __init__(
        self,
        head: _Head,
        queries: Sequence[str],
        file_id: Callable[[str], str],
        found: Callable[[Passage], FoundOut] | None = None,
    ) -> None:
        """`queries` are complete once the passages are there. `found`, where it is given, tells of each of these."""
        self.head = head
        self._queries = queries
        self._file_id = file_id
        self._found = found
        self._number = 0
        self._passages: tuple[Passage, ...] = ()
        self._text = ""

    @classmethod
    def begin(cls, body: ResponseIn, search: FileSearch, *, is_kept: bool) -> Self:
        """A new one."""
        name, call, message = (f"{kind}_{uuid.uuid4().hex}" for kind in ("resp", "fs", "msg"))
        head = _Head(name, call, message, int(time.time()), body.told(), is_kept)
        return cls(head, search.queries, search.file_id, search.found if body.wants_results else None)

    def forget(self) -> None:
        """It could not be kept after all."""
        self.head = replace(self.head, is_kept=False)

    def kept(self, answer: Answer, said: Sequence[Message], error: FootnoteError | None = None) -> GivenResponse:
        """What is stored of it besides its answer, which broke off with an error or did not; `said` is the input."""
        details = {
            **{name: getattr(self.head, name) for name in _STORED},
            "queries": list(self._queries),
            "usage": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
            "finish_reason": answer.finish_reason,
            "reason": answer.reason,
            "degraded": answer.degraded,
            "error": None if error is None else error.message,
        }
        return GivenResponse(self.head.id, self.head.told.get("previous_response_id"), tuple(said), details)

    def searched(self, passages: tuple[Passage, ...]) -> Iterator[Json]:
        """What happened until the passages were there."""
        yield self._event("response.created", response=self._response("in_progress", []))
        yield self._event("response.in_progress", response=self._response("in_progress", []))
        yield self._event("response.output_item.added", output_index=0, item=self._call("in_progress"))
        for step in ("in_progress", "searching", "completed"):
            yield self._event(f"response.file_search_call.{step}", output_index=0, item_id=self.head.call_id)
        self._passages = passages
        yield self._event("response.output_item.done", output_index=0, item=self._call("completed"))
        message = self._message("in_progress", [])
        yield self._event("response.output_item.added", output_index=1, item=message)
        yield self._of_text("response.content_part.added", part=_output_text("", []))

    def said(self, text: str) -> Json:
        """The next piece of the text."""
        self._text += text
        return self._of_text("response.output_text.delta", delta=text, logprobs=[])

    def done(self, answer: Answer) -> Iterator[Json]:
        """The end of a whole answer."""
        annotations = self._annotations(answer)
        for index, annotation in enumerate(annotations):
            yield self._of_text("response.output_text.annotation.added", annotation_index=index, annotation=annotation)
        yield self._of_text("response.output_text.done", text=answer.text, logprobs=[])
        yield self._of_text("response.content_part.done", part=_output_text(answer.text, annotations))
        whole = self.whole(answer, self._passages)
        yield self._event("response.output_item.done", output_index=1, item=whole["output"][1])
        yield self._event(f"response.{whole['status']}", response=whole)

    def failed(self, error: FootnoteError) -> Json:
        """The end of an answer that broke off."""
        return self._event("response.failed", response=self.broken(self._text, error.message))

    def broken(self, text: str, error: str) -> Json:
        """The response itself, where it broke off."""
        said = self._message("incomplete", [_output_text(text, [])])
        response = self._response("failed", [self._call("completed"), said])
        return {**response, "error": {"code": "server_error", "message": error}}

    def whole(self, answer: Answer, passages: tuple[Passage, ...], completed_at: int | None = None) -> Json:
        """The response itself."""
        self._passages = passages
        is_cut = answer.finish_reason == "length"
        status = "incomplete" if is_cut else "completed"
        message = self._message(status, [_output_text(answer.text, self._annotations(answer))])
        usage = answer.usage
        return {
            **self._response(status, [self._call("completed"), message]),
            "completed_at": None if is_cut else completed_at or int(time.time()),
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.total_tokens,
            },
            **footnotes(answer),
        }

    def _event(self, kind: str, **fields: Any) -> Json:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event

    def _of_text(self, kind: str, **fields: Any) -> Json:
        return self._event(kind, item_id=self.head.message_id, output_index=1, content_index=0, **fields)

    def _response(self, status: str, output: list[Json]) -> Json:
        return {
            "id": self.head.id,
            "object": "response",
            "created_at": self.head.created_at,
            "status": status,
            "output": output,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "tools": [],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "temperature": None,
            "top_p": None,
            "max_output_tokens": None,
            "previous_response_id": None,
            **self.head.told,
            "text": {"format": {"type": "text"}},
            "truncation": "auto",
            "store": self.head.is_kept,
            "usage": None,
        }

    def _call(self, status: str) -> Json:
        results = None
        if self._found is not None and status == "completed":
            results = [_result(self._found(passage), passage.text) for passage in self._passages]
        queries = list(self._queries) if status == "completed" else []
        return {
            "id": self.head.call_id,
            "type": "file_search_call",
            "status": status,
            "queries": queries,
            "results": results,
        }

    def _message(self, status: str, content: list[Json]) -> Json:
        return {
            "id": self.head.message_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _annotations(self, answer: Answer) -> list[Json]:
        """One for every sentence and source: `index` is where the sentence ends, before its marker."""
        cited = {citation.marker: citation for citation in answer.citations}
        return [
            {
                "type": "file_citation",
                "file_id": self._file_id(cited[marker].document_id),
                "filename": cited[marker].filename,
                "index": sentence.end,
            }
            for sentence in answer.sentences
            for marker in sentence.markers
            if marker in cited
        ]


def _output_text(text: str, annotations: Sequence[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def _result(found: FoundOut, text: str) -> Json:
    return {**found.model_dump(mode="json", exclude={"content"}), "text": text}


def restored(stored: StoredResponse, files: Mapping[str, str]) -> Json:
    """A response that was kept, without what it found and what it quoted of documents that are deleted."""
    given, answer = stored.given, stored.answer.answer
    details = given.details
    head = _Head(given.id, **{name: details[name] for name in _STORED}, is_kept=True)
    response = ResponseObject(head, details["queries"], lambda document_id: files.get(document_id, document_id))
    if details["error"] is not None:
        return response.broken(answer.text, details["error"])
    whole = Answer(
        id=answer.id,
        text=answer.text,
        answerable=answer.answerable,
        reason=details["reason"],
        degraded=details["degraded"],
        mode=answer.mode,
        model=answer.model,
        conversation_id=None,
        citations=answer.citations,
        sentences=answer.sentences,
        confidence=answer.confidence,
        usage=Usage(*details["usage"]),
        timings_ms={},
        finish_reason=details["finish_reason"],
    )
    return response.whole(whole, (), int(answer.created_at.timestamp()))
