"""Structured output of a real vLLM: JSON by a schema, through `/ask`; an answer with footnotes has no place for it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from tests.vllm.asking import QUESTION, ask, assert_exact, faithful_sentence
from tests.vllm.servers import Vllm


def schema(said: str) -> dict[str, Any]:
    """An object with a sentence and a number; a random model would write a free text for ever."""
    properties = {"answer": {"enum": [said]}, "metres_per_second": {"type": "integer", "minimum": 10, "maximum": 20}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@pytest.mark.parametrize("way", ["structured_outputs", "response_format"])
def test_an_answer_follows_a_schema(engine: Vllm, http: httpx.Client, way: str) -> None:
    """By vLLM's own field or OpenAI's, in `extra`: the answer is the JSON that was asked for, and its text is cited."""
    wanted = schema(f"{faithful_sentence(http)} [1]")
    asked = {
        "structured_outputs": {"json": wanted},
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": wanted, "strict": True}},
    }
    answer = ask(http, max_tokens=400, extra={way: asked[way]})
    found = json.loads(answer["answer"])
    assert found.keys() == wanted["properties"].keys()
    assert 10 <= found["metres_per_second"] <= 20
    assert not answer["degraded"]
    assert_exact(http, answer)


def test_an_answer_with_footnotes_is_text(engine: Vllm, openai_client: openai.OpenAI) -> None:
    """A chat completion is refused, with the way to have it, before the engine is asked."""
    before = engine.count("vllm:prompt_tokens_total")
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema("Yes.")}}
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    with pytest.raises(openai.BadRequestError, match="POST /ask") as refused:
        openai_client.chat.completions.create(model="footnote", messages=messages, response_format=wanted)
    assert refused.value.param == "response_format"
    assert engine.count("vllm:prompt_tokens_total") == before
