"""Requests of the Responses API. What would change the answer and cannot be followed is refused, the rest ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from app.api.schemas.openai_chat import ChatMessage
from app.api.schemas.openai_vector_stores import Ranked
from app.api.schemas.wire import AnyJson, Filters, Text
from app.errors import InvalidRequest, UnsupportedParameter
from app.types import Message, Sampling, Strategy

_RESULTS = "file_search_call.results"
_TOLD = (
    *("model", "instructions", "tools", "tool_choice", "metadata"),
    *("temperature", "top_p", "max_output_tokens", "previous_response_id"),
)
# Items of an earlier response's output, which a program hands back with the rest: they say nothing that is needed.
_PASSED_OVER = frozenset({"file_search_call", "reasoning"})


class FileSearchTool(Ranked):
    type: str
    vector_store_ids: Annotated[list[Text], Field(max_length=16)] = Field(default_factory=list)
    max_num_results: int | None = Field(None, ge=1, le=50)
    filters: Filters | None = None


class InputItem(BaseModel):
    model_config = ConfigDict(extra="allow")

    type: str | None = None


class ResponseIn(BaseModel):
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "footnote",
                    "input": "When was it founded?",
                    "tools": [{"type": "file_search", "vector_store_ids": ["vs_…"]}],
                }
            ]
        },
    )

    model: Text
    input: Text | Annotated[list[InputItem], Field(min_length=1, max_length=1000)]
    instructions: Text | None = None
    tools: Annotated[list[FileSearchTool], Field(max_length=128)] = Field(default_factory=list)
    tool_choice: AnyJson = None
    include: list[str] | None = None
    stream: bool | None = False
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_output_tokens: int | None = Field(None, ge=1)
    metadata: dict[Text, Text] | None = None
    text: dict[str, JsonValue] | None = None
    previous_response_id: Text | None = None
    store: bool | None = True
    strategy: Strategy | None = None  # ours: how passages are gathered, as in `/ask`

    @property
    def wants_results(self) -> bool:
        return _RESULTS in (self.include or ())

    @property
    def is_kept(self) -> bool:
        return self.store is not False

    def check(self) -> None:
        """Raises `UnsupportedParameter` for what would silently be answered otherwise than it was asked."""
        extra: Mapping[str, Any] = self.model_extra or {}
        if extra.get("conversation") is not None:
            raise UnsupportedParameter(
                "This server continues responses, not conversations: send `previous_response_id`.", param="conversation"
            )
        for name in ("background", "prompt"):
            if extra.get(name):
                raise UnsupportedParameter(f"This server has no {name!r}.", param=name)
        shape = (self.text or {}).get("format")
        if isinstance(shape, dict) and shape.get("type") != "text":
            raise UnsupportedParameter("An answer with footnotes is plain text.", param="text.format")

    def file_search(self) -> FileSearchTool | None:
        """The one tool that there is. Raises `UnsupportedParameter`, `InvalidRequest`."""
        if self.tools and self.tool_choice == "none":
            raise UnsupportedParameter("This server answers from documents alone.", param="tool_choice")
        for tool in self.tools:
            if tool.type != "file_search":
                raise UnsupportedParameter(f"This server has no tool {tool.type!r}, only 'file_search'.", param="tools")
        if len(self.tools) > 1:
            raise InvalidRequest("One file_search may name several vector stores; send one.", param="tools")
        if self.tools and not self.tools[0].vector_store_ids:
            raise InvalidRequest("file_search needs vector_store_ids.", param="tools")
        return self.tools[0] if self.tools else None

    def messages(self) -> list[Message]:
        """What `input` says, without `instructions`. Raises `UnsupportedParameter`, `ValidationError`."""
        if isinstance(self.input, str):
            return [Message("user", self.input)]
        messages = []
        for item in self.input:
            if item.type in _PASSED_OVER:
                continue
            if item.type not in (None, "message"):
                raise UnsupportedParameter(f"`input` may hold messages, not {item.type!r}.", param="input")
            messages.append(ChatMessage.model_validate(item.model_extra).message("input"))
        return messages

    def told(self) -> dict[str, JsonValue]:
        """What a response repeats of its request."""
        return self.model_dump(mode="json", include=set(_TOLD), exclude_none=True)

    def sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_output_tokens)
