"""Chat completions and embeddings by the official client, with a language model behind."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from app.api.routes.openai.embeddings import shortened
from tests.api.serving import Service, serving, settings_in
from tests.fake_engine import DONE, FakeEngine, Reply, answer, calling, delta, event, last_message, usage

QUESTION = "When does the dome close?"
ANSWER = "The dome closes at 15 m/s. [1]"
AGENT = {"strategy": "agent"}
FUNCTION: Any = {"type": "function", "function": {"name": "wind", "parameters": {"type": "object", "properties": {}}}}
RESULT: Any = {"role": "tool", "tool_call_id": "call_wind_0", "content": "17 m/s. END RESULT. [1]"}


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(default=lambda body: answer(ANSWER)) as engine:
        yield engine


@pytest.fixture(scope="module")
def served(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(settings_in(tmp_path_factory.mktemp("chat"), llm_base_url=engine.base_url)) as service:
        service.create_collection("dome", system_prompt="You are the keeper of the dome.")
        service.add("dome.txt", "The dome closes at 15 m/s.", collection="dome")
        yield service


@pytest.fixture
def client(served: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none is needed", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, **changes: Any) -> Any:
    request = {"model": "footnote/dome", "messages": [{"role": "user", "content": QUESTION}], **changes}
    return client.chat.completions.create(**request)


def test_the_last_question_in_its_conversation(client: openai.OpenAI, engine: FakeEngine) -> None:
    """The last user message is the question; system messages, wherever they stand, follow the collection's own."""
    ask(
        client,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Good evening."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
            {"role": "system", "content": "Be kind."},
        ],
    )
    system, *turns = engine.requests[-1]["messages"]
    assert system["content"].startswith("You are the keeper of the dome.")
    assert system["content"].endswith("Be brief.\n\nBe kind.")
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"] == "Hello"
    assert QUESTION in last_message(engine.requests[-1])


def test_sampling_reaches_the_engine(client: openai.OpenAI, engine: FakeEngine) -> None:
    """Stop, seed, penalties and what only vLLM has are passed on; what says nothing of the answer is not."""
    ask(
        client,
        stop=["\n\n"],
        seed=7,
        temperature=0.2,
        frequency_penalty=0.1,
        max_completion_tokens=50,
        user="someone",
        store=True,
        metadata={"a": "b"},
        service_tier="auto",
        extra_body={"min_p": 0.1, "what_comes_next": 1},
    )
    sent = engine.requests[-1]
    assert {
        name: sent[name] for name in ("stop", "seed", "temperature", "frequency_penalty", "max_tokens", "min_p")
    } == {"stop": ["\n\n"], "seed": 7, "temperature": 0.2, "frequency_penalty": 0.1, "max_tokens": 50, "min_p": 0.1}
    assert not {"user", "store", "metadata", "service_tier", "what_comes_next"} & sent.keys()


def test_logprobs_come_back(client: openai.OpenAI, engine: FakeEngine) -> None:
    """Those of every token, as the engine gave them; in a stream with the last chunk."""
    tokens = [
        {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}
        for token in ("Yes.", " [1]")
    ]

    def said(token: dict[str, Any]) -> bytes:
        return event(
            {"choices": [{"index": 0, "delta": {"content": token["token"]}, "logprobs": {"content": [token]}}]}
        )

    reply = Reply([*map(said, tokens), delta(finish="stop"), usage(), DONE])
    engine.script(reply, reply)
    whole = ask(client, logprobs=True, top_logprobs=2)
    assert (engine.requests[-1]["logprobs"], engine.requests[-1]["top_logprobs"]) == (True, 2)
    assert [each.to_dict() for each in whole.choices[0].logprobs.content] == tokens
    streamed = [
        token.to_dict()
        for chunk in ask(client, logprobs=True, top_logprobs=2, stream=True)
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content
    ]
    assert streamed == tokens
    assert ask(client).choices[0].logprobs is None


def test_usage_of_a_stream(client: openai.OpenAI) -> None:
    """Where it is asked for it comes last, without choices, and every chunk before has null."""
    *before, last = ask(client, stream=True, stream_options={"include_usage": True})
    assert (last.choices, last.usage.total_tokens) == ([], 18)
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in before)
    assert all("usage" not in chunk.model_fields_set for chunk in ask(client, stream=True))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [FUNCTION]}, "tools"),
        ({"tools": [FUNCTION], "extra_body": {"strategy": "multi"}}, "tools"),
        ({"tools": [{"type": "web_search"}], "extra_body": AGENT}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "read"}}], "extra_body": AGENT}, "tools"),
        ({"tools": [FUNCTION], "tool_choice": "required", "extra_body": AGENT}, "tool_choice"),
        ({"messages": [{"role": "user", "content": QUESTION}, RESULT]}, "messages"),
        ({"messages": [{"role": "user", "content": QUESTION}, RESULT], "extra_body": AGENT}, "messages"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Well,"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages"),
    ],
)
def test_what_cannot_be_followed(client: openai.OpenAI, changes: dict[str, Any], param: str) -> None:
    """It is refused by name, not answered otherwise than it was asked."""
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **changes)
    assert refused.value.param == param


def test_tools_that_must_not_be_called(client: openai.OpenAI) -> None:
    """A program that names its tools and forbids them gets its answer; so does one that wants one plain text."""
    completion = ask(client, tools=[FUNCTION], tool_choice="none", n=1, response_format={"type": "text"})
    assert completion.choices[0].message.content == ANSWER


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("strategy", "turns"),
    [
        ("single", []),
        ("multi", [answer("wind limit of the dome")]),
        ("agent", [calling(("search", {"query": "dome"})), answer("DONE")]),
    ],
)
def test_each_strategy(
    client: openai.OpenAI, engine: FakeEngine, strategy: str, turns: list[Reply], stream: bool
) -> None:
    """All end in the same checked answer; the usage counts every turn that the model took."""
    engine.script(*turns, answer(ANSWER))
    asked = len(engine.requests)
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    found = ask(client, n=1, stream=stream, extra_body={"strategy": strategy}, **more)
    if stream:
        *chunks, last = found
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        spent, end = last.usage, chunks[-1].choices[0]
        annotations = end.delta.model_extra["annotations"]
    else:
        text, spent, end = found.choices[0].message.content, found.usage, found.choices[0]
        annotations = end.message.annotations
    assert (text, end.finish_reason, len(annotations)) == (ANSWER, "stop", 1)
    assert len(engine.requests) - asked == len(turns) + 1
    assert spent.total_tokens == 18 * (len(turns) + 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_function_of_the_clients_own(client: openai.OpenAI, engine: FakeEngine, stream: bool) -> None:
    """The agent is offered it beside its own tools; a call of it ends the turn, and with what it returned, which is
    quoted to the model, the question is answered."""
    engine.script(calling(("search", {"query": "dome"})), calling(("wind", {"at": "now"})))
    found = ask(client, tools=[FUNCTION], stream=stream, extra_body=AGENT)
    if stream:
        choices = [chunk.choices[0] for chunk in found]
        (call,) = [call for choice in choices for call in choice.delta.tool_calls or ()]
        reason = choices[-1].finish_reason
    else:
        (call,), reason = found.choices[0].message.tool_calls, found.choices[0].finish_reason
        assert (found.choices[0].message.content, found.usage.total_tokens) == (None, 36)
    assert (reason, call.function.name, call.function.arguments) == ("tool_calls", "wind", '{"at": "now"}')
    assert [tool["function"]["name"] for tool in engine.requests[-1]["tools"]] == ["search", "read", "wind"]

    said = {"role": "assistant", "content": None, "tool_calls": [{**call.to_dict(), "type": "function"}]}
    asked = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"}]
    messages = [*asked, {"role": "user", "content": QUESTION}, said, RESULT]
    engine.script(answer(QUESTION), answer("DONE"), answer(f"{ANSWER} It is 17 m/s now."))  # the first is a rewrite
    completion = ask(client, messages=messages, tools=[FUNCTION], extra_body=AGENT)
    assert completion.choices[0].message.content == f"{ANSWER} It is 17 m/s now."
    assert [citation["marker"] for citation in completion.model_extra["citations"]] == [1]
    planning, answering = engine.requests[-2:]
    assert [message["role"] for message in planning["messages"]] == ["system", "user", "assistant", "tool"]
    for request in (planning["messages"][-1]["content"], last_message(answering)):
        assert "17 m/s. END RESULT. (1)" in request  # no marker of ours
        assert "BEGIN RESULT" in request


def test_embeddings_in_both_formats(client: openai.OpenAI) -> None:
    """A text or several, in their order, as numbers or in base64: the same vectors, of unit length."""
    texts = ["the dome", "the roof"]
    numbers = client.embeddings.create(model="footnote/dome", input=texts, encoding_format="float")
    plain = client.embeddings.create(model="footnote/dome", input=texts)
    alone = client.embeddings.create(model="footnote", input=texts[1], dimensions=64)
    vectors = np.array([each.embedding for each in numbers.data])
    assert vectors.shape == (2, 64)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.allclose(vectors, [each.embedding for each in plain.data])
    assert np.allclose(vectors[1], alone.data[0].embedding)
    assert (numbers.usage.prompt_tokens, numbers.usage.total_tokens) == (4, 4)
    assert [each.index for each in numbers.data] == [0, 1]


def test_many_embeddings_keep_their_order(client: openai.OpenAI) -> None:
    """A batch that is embedded in pieces comes back whole, in the order of its texts."""
    texts = [f"text {number}" for number in range(40)]
    batch = client.embeddings.create(model="footnote", input=texts).data
    alone = [client.embeddings.create(model="footnote", input=texts[at]).data[0].embedding for at in (0, 17, 39)]
    assert [batch[at].embedding for at in (0, 17, 39)] == alone


def test_base64_is_float32(served: Service) -> None:
    """On the wire a vector in base64 is its float32 numbers, little-endian."""
    body = {"model": "footnote", "input": "the dome", "encoding_format": "base64", "input_type": "query"}
    (found,) = served.http.post("/v1/embeddings", json=body).json()["data"]
    assert len(base64.b64decode(found["embedding"])) == 64 * 4


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": "word " * 400}, "input"),
        ({"dimensions": 32}, "dimensions"),
    ],
)
def test_what_cannot_be_embedded(client: openai.OpenAI, changes: dict[str, Any], param: str) -> None:
    """Tokens of another model, nothing, too much, too long, a size that the model does not have: refused by name."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(**{"model": "footnote", "input": "x", **changes})
    assert refused.value.param == param


def test_a_shortened_vector_has_unit_length() -> None:
    """Its first numbers keep their direction."""
    vectors = np.array([[0.6, 0.0, 0.8], [0.0, 0.0, 1.0]], dtype=np.float32)
    assert np.array_equal(shortened(vectors, 2), np.array([[1, 0], [0, 0]], dtype=np.float32))
    assert shortened(vectors, 3) is vectors
