"""The official OpenAI client works against us as it does against OpenAI."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.api.serving import Service, serving, settings_in

QUESTION = [{"role": "user", "content": "When does the dome close?"}]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = settings_in(tmp_path_factory.mktemp("openai"), api_keys="the-key", answer_threshold=0)
    with serving(settings) as service:
        service.http.headers["Authorization"] = "Bearer the-key"
        service.create_collection("dome", answer_threshold=0)
        service.add("dome.txt", "The dome closes at 15 m/s. The night watch begins at nine.", collection="dome")
        yield service


@pytest.fixture
def client(guarded: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="the-key", max_retries=0) as client:
        yield client


def test_models_are_collections(client: openai.OpenAI) -> None:
    """`footnote` is the default collection, `footnote/NAME` another one."""
    assert [model.id for model in client.models.list()] == ["footnote", "footnote/dome"]
    assert client.models.retrieve("footnote/dome").id == "footnote/dome"


def test_a_completion_has_its_footnotes(client: openai.OpenAI, guarded: Service) -> None:
    """The message carries markers, annotations that span its text, and the citations with exact quotes."""
    completion = client.chat.completions.create(model="footnote/dome", messages=QUESTION)
    (choice,) = completion.choices
    assert choice.finish_reason == "stop"
    text = choice.message.content
    assert text
    assert "[1]" in text
    assert choice.message.annotations
    for annotation in choice.message.annotations:
        assert annotation.type == "url_citation"
        span = annotation.url_citation
        assert 0 <= span.start_index < span.end_index <= len(text)
        assert guarded.http.get(span.url).content.startswith(b"The dome closes")
    assert completion.usage is not None
    (citation, *_) = completion.model_extra["citations"]
    assert citation["filename"] == "dome.txt"
    assert citation["quote"] in "The dome closes at 15 m/s. The night watch begins at nine."


def test_a_stream_is_the_same_answer(client: openai.OpenAI) -> None:
    """The chunks make up the text of the answer that is not streamed, and the usage comes where it is asked for."""
    whole = client.chat.completions.create(model="footnote/dome", messages=QUESTION)
    text, finished, usage = "", [], None
    with client.chat.completions.create(
        model="footnote/dome", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    ) as chunks:
        for chunk in chunks:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finished += [choice.finish_reason] if choice.finish_reason else []
    assert text == whole.choices[0].message.content
    assert finished == ["stop"]
    assert usage is not None


def test_fields_that_do_no_harm_are_taken(client: openai.OpenAI) -> None:
    """A client may send what it always sends: parts of text, a developer's message, a user, a seed."""
    completion = client.chat.completions.create(
        model="footnote/dome",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "When does the dome close?"}]},
        ],
        user="someone",
        seed=7,
        temperature=0,
        max_completion_tokens=100,
    )
    assert completion.choices[0].message.content


def test_functions_need_a_model(client: openai.OpenAI) -> None:
    """Without a language model nobody could call them: they are refused. A strategy is followed as far as it goes."""
    body = {"strategy": "agent"}
    tools = [{"type": "function", "function": {"name": "wind"}}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="footnote/dome", messages=QUESTION, tools=tools, extra_body=body)
    assert refused.value.param == "tools"
    assert client.chat.completions.create(model="footnote/dome", messages=QUESTION, extra_body=body).choices


def test_errors_are_the_clients_own(client: openai.OpenAI, guarded: Service) -> None:
    """Each refusal arrives as the exception type that the client has for it."""
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        client.chat.completions.create(model="gpt-4", messages=QUESTION)
    with pytest.raises(openai.NotFoundError) as found:
        client.models.retrieve("footnote/nowhere")
    assert found.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="footnote", messages=[{"role": "assistant", "content": "x"}])
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="footnote", messages=QUESTION, temperature=9)
    with (
        openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
