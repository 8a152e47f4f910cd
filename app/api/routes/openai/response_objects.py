"""A response of OpenAI's Responses API, whole or as the events that it is made of."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from app.api.file_search import FileSearch
from app.api.routes.openai.chat import footnotes
from app.api.schemas.openai_responses import ResponseIn
from app.errors import FootnoteError
from app.types import Answer, Passage

Json = dict[str, Any]


class ResponseObject:
    """Two items: the file search, then the message. Each event has the next number."""

    def __init__(self, body: ResponseIn, search: FileSearch) -> None:
        self._body = body
        self._search = search
        self._number = 0
        self._created_at = int(time.time())
        self._id, self._call_id, self._message_id = (f"{kind}_{uuid.uuid4().hex}" for kind in ("resp", "fs", "msg"))
        self._passages: tuple[Passage, ...] = ()
        self._text = ""

    def searched(self, passages: tuple[Passage, ...]) -> Iterator[Json]:
        """What happened until the passages were there."""
        yield self._event("response.created", response=self._response("in_progress", []))
        yield self._event("response.in_progress", response=self._response("in_progress", []))
        yield self._event("response.output_item.added", output_index=0, item=self._call("in_progress"))
        for step in ("in_progress", "searching", "completed"):
            yield self._event(f"response.file_search_call.{step}", output_index=0, item_id=self._call_id)
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
        said = self._message("incomplete", [_output_text(self._text, [])])
        response = self._response("failed", [self._call("completed"), said])
        return self._event(
            "response.failed", response={**response, "error": {"code": "server_error", "message": error.message}}
        )

    def whole(self, answer: Answer, passages: tuple[Passage, ...]) -> Json:
        """The response itself."""
        self._passages = passages
        is_cut = answer.finish_reason == "length"
        status = "incomplete" if is_cut else "completed"
        message = self._message(status, [_output_text(answer.text, self._annotations(answer))])
        usage = answer.usage
        return {
            **self._response(status, [self._call("completed"), message]),
            "completed_at": None if is_cut else int(time.time()),
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
        return self._event(kind, item_id=self._message_id, output_index=1, content_index=0, **fields)

    def _response(self, status: str, output: list[Json]) -> Json:
        body = self._body
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "model": body.model,
            "output": output,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "metadata": body.metadata or {},
            "tools": [tool.model_dump(mode="json", exclude_none=True) for tool in body.tools],
            "tool_choice": body.tool_choice or "auto",
            "parallel_tool_calls": False,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "max_output_tokens": body.max_output_tokens,
            "previous_response_id": None,
            "text": {"format": {"type": "text"}},
            "truncation": "auto",
            "store": False,
            "usage": None,
        }

    def _call(self, status: str) -> Json:
        results = None
        if self._body.wants_results and status == "completed":
            results = [self._result(passage) for passage in self._passages]
        queries = self._search.queries if status == "completed" else []
        return {
            "id": self._call_id,
            "type": "file_search_call",
            "status": status,
            "queries": queries,
            "results": results,
        }

    def _result(self, passage: Passage) -> Json:
        found = self._search.found(passage)
        return {**found.model_dump(mode="json", exclude={"content"}), "text": passage.text}

    def _message(self, status: str, content: list[Json]) -> Json:
        return {"id": self._message_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _annotations(self, answer: Answer) -> list[Json]:
        """One for every sentence and source: `index` is where the sentence ends, before its marker."""
        cited = {citation.marker: citation for citation in answer.citations}
        return [
            {
                "type": "file_citation",
                "file_id": self._search.file_id(cited[marker].document_id),
                "filename": cited[marker].filename,
                "index": sentence.end,
            }
            for sentence in answer.sentences
            for marker in sentence.markers
            if marker in cited
        ]


def _output_text(text: str, annotations: Sequence[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}
