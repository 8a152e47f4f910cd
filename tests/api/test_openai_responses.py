"""The Responses API with file search, by the official OpenAI client, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.api.serving import Service, serving, settings_in
from tests.fake_engine import FakeEngine, answer, broken

QUESTION = "When does the dome close?"
ANSWER = "The dome closes at 15 m/s. [1]"


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(default=lambda body: answer(ANSWER)) as engine:
        yield engine


@pytest.fixture(scope="module")
def served(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = settings_in(tmp_path_factory.mktemp("responses"), llm_base_url=engine.base_url, answer_threshold=0)
    with serving(settings) as service:
        yield service


@pytest.fixture(scope="module")
def client(served: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none is needed", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def stores(client: openai.OpenAI) -> list[str]:
    """Two, each with a file."""
    stores = []
    for name, text in (("dome", "The dome closes at 15 m/s."), ("roof", "The roof was laid in 1931, of larch.")):
        store = client.vector_stores.create(name=name)
        client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=(f"{name}.txt", text.encode()), attributes={"of": name}
        )
        stores.append(store.id)
    return stores


def file_search(*stores: str, **options: Any) -> list[Any]:
    return [{"type": "file_search", "vector_store_ids": list(stores), **options}]


def test_a_response_cites_files(client: openai.OpenAI, stores: list[str]) -> None:
    """The search and then the message; citations name the file, and the end of their sentence."""
    response = client.responses.create(
        model="gpt-4o-mini",
        input=QUESTION,
        instructions="Be brief.",
        tools=file_search(stores[0]),
        include=["file_search_call.results"],
    )
    call, message = response.output
    assert (response.status, response.output_text) == ("completed", ANSWER)
    assert (call.type, call.status, call.queries) == ("file_search_call", "completed", [QUESTION])
    (result,) = call.results
    assert (result.filename, result.text) == ("dome.txt", "The dome closes at 15 m/s.")
    assert result.attributes == {"of": "dome"}
    (citation,) = message.content[0].annotations
    assert (citation.type, citation.filename, citation.file_id) == ("file_citation", "dome.txt", result.file_id)
    assert citation.index == len("The dome closes at 15 m/s.")
    assert client.files.content(citation.file_id).content == b"The dome closes at 15 m/s."
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (11, 7)


def test_instructions_and_history_are_read(client: openai.OpenAI, engine: FakeEngine, stores: list[str]) -> None:
    """They reach the model; what an earlier response put out may be handed back as it came."""
    first = client.responses.create(model="x", input=QUESTION, tools=file_search(stores[0]))
    client.responses.create(
        model="x",
        instructions="Speak like a pirate.",
        input=[
            {"role": "user", "content": QUESTION},
            *first.output,
            {"role": "user", "content": [{"type": "input_text", "text": "And who says so, please?"}]},
        ],
        tools=file_search(stores[0]),
        temperature=0.5,
    )
    sent = engine.requests[-1]
    assert sent["temperature"] == 0.5
    system, *turns = sent["messages"]
    assert "Speak like a pirate." in system["content"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == ANSWER
    assert "And who says so, please?" in turns[2]["content"]


def test_a_stream_is_the_same_response(client: openai.OpenAI, stores: list[str]) -> None:
    """The events come in the order that the client's own accumulator expects, numbered without a gap."""
    events = list(client.responses.create(model="x", input=QUESTION, tools=file_search(stores[0]), stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:8] == [
        *("created", "in_progress", "output_item.added", "file_search_call.in_progress"),
        *("file_search_call.searching", "file_search_call.completed", "output_item.done", "output_item.added"),
    ]
    assert kinds[8] == "content_part.added"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ANSWER
    assert kinds[-5:] == [
        *("output_text.annotation.added", "output_text.done", "content_part.done", "output_item.done", "completed")
    ]
    with client.responses.stream(model="x", input=QUESTION, tools=file_search(stores[0])) as stream:
        final = stream.get_final_response()
    assert final.output_text == ANSWER
    assert final.output[1].content[0].annotations[0].filename == "dome.txt"


def test_several_stores(client: openai.OpenAI, stores: list[str]) -> None:
    """All are searched; a filter and a number of results bound what the model is given."""

    def names(**options: Any) -> set[str]:
        response = client.responses.create(
            model="x", input="dome roof", tools=file_search(*stores, **options), include=["file_search_call.results"]
        )
        return {result.filename for result in response.output[0].results}

    assert names() == {"dome.txt", "roof.txt"}
    assert names(filters={"type": "eq", "key": "of", "value": "roof"}) == {"roof.txt"}
    assert len(names(max_num_results=1)) == 1


def test_a_collection_without_a_tool(client: openai.OpenAI, stores: list[str]) -> None:
    """Without file search, the model's name picks the collection, as for chat."""
    response = client.responses.create(model="footnote/dome", input=QUESTION)
    assert response.output[1].content[0].annotations[0].filename == "dome.txt"
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="gpt-4o-mini", input=QUESTION)


def test_a_response_that_breaks_off(client: openai.OpenAI, engine: FakeEngine, stores: list[str]) -> None:
    """A stream ends with `response.failed` and what was said; cut off by a limit, it is incomplete and says why."""
    engine.script(broken("The dome closes "))
    *_, last = client.responses.create(model="x", input=QUESTION, tools=file_search(stores[0]), stream=True)
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.output_text.startswith("The dome")
    engine.script(answer("The dome closes at", finish="length"))
    cut = client.responses.create(model="x", input=QUESTION, tools=file_search(stores[0]), max_output_tokens=4)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools"),
        ({"tool_choice": "none"}, "tool_choice"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"input": [{"role": "assistant", "content": "Hello."}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
    ],
)
def test_what_cannot_be_followed(client: openai.OpenAI, stores: list[str], changes: dict[str, Any], param: str) -> None:
    """It is refused by name, not answered otherwise than it was asked."""
    request: dict[str, Any] = {"model": "x", "input": QUESTION, "tools": file_search(stores[0]), **changes}
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**request)
    assert refused.value.param == param


def test_an_unknown_store(client: openai.OpenAI) -> None:
    """It is not found, and the error says which."""
    with pytest.raises(openai.NotFoundError, match="vs_none"):
        client.responses.create(model="x", input=QUESTION, tools=file_search("vs_none"))
