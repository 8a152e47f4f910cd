"""Models and chat completions, as OpenAI's clients send and read them.

A field that would change the answer, and that we cannot follow, is refused; what does no harm (`user`, `store`,
`metadata`, `service_tier`, `reasoning_effort`, `prompt_cache_key` and whatever comes next) is taken and ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from app.answering.generation import Called, ToolCall
from app.answering.tools import TOOLS
from app.api.schemas.answers import stop_strings
from app.api.schemas.wire import JsonObject, Text
from app.errors import InvalidRequest, UnsupportedParameter
from app.types import Message, Sampling, Strategy

# Sampling that is passed on to the engine as it is.
_PASSED_ON = (
    *("top_k", "min_p", "repetition_penalty", "seed", "presence_penalty", "frequency_penalty", "logit_bias"),
    *("logprobs", "top_logprobs"),
)
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_NO_TOOLS = "This server answers from documents and calls no functions, unless `strategy` is 'agent'."
_OWN_TOOLS = frozenset(str(tool["function"]["name"]) for tool in TOOLS)
FunctionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class ModelOut(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["footnote"] = "footnote"


class ModelsOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelOut]


class Part(BaseModel):
    """A part of a message: of text, or of something that cannot be asked."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: Text | None = None


class FunctionCall(BaseModel):
    name: FunctionName
    arguments: Text


class ToolCallIn(BaseModel):
    """A call that an earlier completion asked for."""

    id: Text
    function: FunctionCall


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[Part] | None = None
    tool_calls: list[ToolCallIn] | None = None  # an assistant's
    tool_call_id: Text | None = None  # a tool's

    def message(self, param: str = "messages") -> Message:
        """Raises `UnsupportedParameter` for images, sound, files, and what a tool returned."""
        if self.role == "tool":
            raise UnsupportedParameter(_NO_TOOLS, param=param)
        return Message("system" if self.role == "developer" else self.role, self.text(param))

    def text(self, param: str = "messages") -> str:
        """Raises `UnsupportedParameter` for images, sound and files."""
        content = self.content or ""
        if not isinstance(content, str):
            for part in content:
                if part.type not in _TEXT_PARTS:
                    raise UnsupportedParameter(
                        f"A message here is text; this server does not take {part.type!r}.", param=param
                    )
            content = "\n".join(part.text or "" for part in content)
        return content


class Function(BaseModel):
    """One that the client can call."""

    name: FunctionName
    description: Text | None = None
    parameters: JsonObject | None = None


class FunctionTool(BaseModel):
    type: Literal["function"]
    function: Function


class StreamOptions(BaseModel):
    include_usage: bool | None = False


class ChatCompletionIn(BaseModel):
    """OpenAI's fields, those of vLLM, and nothing refused that does no harm."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"model": "footnote", "messages": [{"role": "user", "content": "When was it founded?"}]}]
        },
    )

    model: Text
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: list[Text] | Text | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: Annotated[list[JsonObject], Field(max_length=32)] | None = None
    tool_choice: JsonValue = None
    response_format: dict[str, JsonValue] | None = None
    strategy: Strategy | None = None  # ours: how passages are gathered, as in `/ask`

    def check(self) -> None:
        """Raises `UnsupportedParameter` for what would silently be answered otherwise than it was asked."""
        extra: Mapping[str, Any] = self.model_extra or {}
        if self.n not in (None, 1):
            raise UnsupportedParameter("There is one answer to a question here: `n` must be 1.", param="n")
        if extra.get("functions") or (self.tools and self.tool_choice != "none" and self.strategy != Strategy.AGENT):
            raise UnsupportedParameter(_NO_TOOLS, param="tools")
        if self.tools and self.tool_choice not in (None, "none", "auto"):
            raise UnsupportedParameter(
                "Whether a function is needed is left to the model: `tool_choice` must be 'auto' or 'none'.",
                param="tool_choice",
            )
        if self.response_format is not None and self.response_format.get("type") != "text":
            raise UnsupportedParameter(
                "An answer here is plain text, also where it is made without a model: leave `response_format` out. "
                "POST /ask takes it in `extra`, and says how its answer was made.",
                param="response_format",
            )
        if set(extra.get("modalities") or ()) - {"text"} or extra.get("audio"):
            raise UnsupportedParameter("This server answers in text alone.", param="modalities")
        if extra.get("web_search_options") is not None:
            raise UnsupportedParameter(
                "This server answers from documents, not from the web.", param="web_search_options"
            )

    def functions(self) -> tuple[Mapping[str, Any], ...]:
        """What the model may call besides the agent's own tools. Raises `UnsupportedParameter`, `InvalidRequest`."""
        if self.tool_choice == "none":
            return ()
        found = []
        for tool in self.tools or ():
            try:
                function = FunctionTool.model_validate(tool).function
            except ValidationError as error:
                raise UnsupportedParameter("A tool here is a function with a name.", param="tools") from error
            if function.name in _OWN_TOOLS:
                raise InvalidRequest(f"The agent has a tool {function.name!r} of its own.", param="tools")
            found.append({"type": "function", "function": function.model_dump(exclude_none=True)})
        return tuple(found)

    def conversation(self) -> tuple[list[Message], tuple[Called, ...]]:
        """The messages, and what was called for the last question; of earlier ones the answers tell.

        Raises `UnsupportedParameter`, `InvalidRequest`.
        """
        if self.strategy != Strategy.AGENT:
            return [message.message() for message in self.messages], ()
        last = max((at for at, message in enumerate(self.messages) if message.role == "user"), default=-1)
        calls: dict[str, ToolCall] = {}
        called: list[Called] = []
        messages: list[Message] = []
        for at, message in enumerate(self.messages):
            if message.role == "tool":
                call = calls.get(message.tool_call_id or "")
                if call is None:
                    raise InvalidRequest("A tool's message answers a call of the assistant's.", param="messages")
                if at > last:
                    called.append(Called(call, message.text()))
            elif message.tool_calls:
                calls |= {
                    each.id: ToolCall(each.id, each.function.name, each.function.arguments)
                    for each in message.tool_calls
                }
            else:
                messages.append(message.message())
        return messages, tuple(called)

    def sampling(self) -> Sampling:
        given: Mapping[str, Any] = dict(self)  # with the fields that have no name of their own here
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=stop_strings(self.stop),
            extra={name: given[name] for name in _PASSED_ON if given.get(name) is not None},
        )


def split_question(messages: Sequence[Message], *, param: str) -> tuple[str, tuple[Message, ...]]:
    """The last user message, and the conversation that it stands in. Raises `InvalidRequest`."""
    last = next((at for at in reversed(range(len(messages))) if messages[at].role == "user"), None)
    if last is None or any(message.role == "assistant" for message in messages[last:]):
        raise InvalidRequest("The last message must be the user's question.", param=param)
    question = messages[last].content.strip()
    if not question:
        raise InvalidRequest("The question is empty.", param=param)
    return question, (*messages[:last], *messages[last + 1 :])
