"""Answers that a real vLLM writes: the protocol is checked, for the words of a random model mean nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx
import openai

from tests.vllm.asking import (
    QUESTION,
    ask,
    assert_counted,
    assert_exact,
    faithful_sentence,
    saying,
    stream,
    tokens_so_far,
)
from tests.vllm.servers import Vllm

TOKENS = 24
SAMPLING = {"max_tokens": TOKENS, "extra": {"seed": 1, "ignore_eos": True}}


def test_a_whole_answer_is_generated(engine: Vllm, http: httpx.Client) -> None:
    """Without streaming, an answer is the model's, with the usage that the engine counted."""
    before = tokens_so_far(engine)
    answer = ask(http, **SAMPLING)
    assert (answer["mode"], answer["model"], answer["degraded"]) == ("generate", engine.model, False)
    assert answer["answer"]
    assert answer["usage"]["completion_tokens"] == TOKENS
    assert_counted(engine, before, answer["usage"])
    assert {"prompt", "first_token", "generate"} <= answer["timings_ms"].keys()


def test_a_streamed_answer_is_generated(engine: Vllm, http: httpx.Client) -> None:
    """Streaming, the passages come first, then the text piece by piece, then the whole answer with its usage."""
    before = tokens_so_far(engine)
    events = stream(http, **SAMPLING)
    names = [name for name, _ in events]
    assert names[0] == "sources"
    assert set(names[1:-1]) <= {"delta", "citation"}
    assert names[1] == "delta"
    assert names[-1] == "done"
    pieces = [data["text"] for name, data in events if name == "delta"]
    answer = events[-1][1]
    assert len(pieces) > TOKENS / 2
    assert "".join(pieces) == answer["answer"]
    assert (answer["mode"], answer["degraded"]) == ("generate", False)
    assert_counted(engine, before, answer["usage"])


def test_a_faithful_sentence_is_cited(engine: Vllm, http: httpx.Client) -> None:
    """A sentence that the model takes from the first passage is cited as soon as it is complete, and supported."""
    said = f"{faithful_sentence(http)} [1]"
    events = stream(http, max_tokens=400, extra=saying(said))
    names = [name for name, _ in events]
    assert [one for one, following in pairwise([*names, ""]) if one != following] == [
        "sources", "delta", "citation", "done",
    ]  # fmt: skip
    answer = events[-1][1]
    assert answer["answer"] == said
    (sentence,) = answer["sentences"]
    assert sentence["support"] == "supported"
    told = [citation for name, citation in events if name == "citation"]
    assert told == [
        {**each, "support": "supported", "attributed": False, "sentence": sentence} for each in answer["citations"]
    ]
    assert_exact(http, answer)


def test_the_openai_client_gets_the_same_answer_both_ways(engine: Vllm, openai_client: openai.OpenAI) -> None:
    """The official client's completion, whole and streamed, has the same text and the engine's usage."""
    before = tokens_so_far(engine)
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    whole = openai_client.chat.completions.create(model="footnote", messages=messages, max_tokens=TOKENS, seed=1)
    assert whole.usage is not None
    assert_counted(engine, before, whole.usage.model_dump())

    before = tokens_so_far(engine)
    chunks = list(
        openai_client.chat.completions.create(
            model="footnote", messages=messages, max_tokens=TOKENS, seed=1,
            stream=True, stream_options={"include_usage": True},
        )
    )  # fmt: skip
    *spoken, last = chunks
    assert last.choices == []
    assert last.usage is not None
    assert_counted(engine, before, last.usage.model_dump())
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    pieces = [chunk.choices[0].delta.content or "" for chunk in spoken]
    assert "".join(pieces) == whole.choices[0].message.content
    assert spoken[-1].choices[0].finish_reason is not None


def test_usage_is_streamed_on_request_only(engine: Vllm, openai_client: openai.OpenAI) -> None:
    """A stream without `include_usage` has no chunk without choices, which some programs stumble over."""
    chunks = openai_client.chat.completions.create(
        model="footnote", messages=[{"role": "user", "content": QUESTION}], max_tokens=TOKENS, seed=1, stream=True
    )
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
