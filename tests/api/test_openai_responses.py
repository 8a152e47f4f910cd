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


def test_several_searches(client: openai.OpenAI, engine: FakeEngine, stores: list[str]) -> None:
    """With a strategy of several searches all their queries are told, and files are cited as from one."""
    engine.script(answer("wind limit of the dome"), answer(ANSWER))
    body = {"strategy": "multi"}
    found = client.responses.create(model="x", input=QUESTION, tools=file_search(stores[0]), extra_body=body)
    call, message = found.output
    assert call.queries == [QUESTION, "wind limit of the dome"]
    assert message.content[0].annotations[0].filename == "dome.txt"


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
        ({"conversation": "conv_1"}, "conversation"),
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


def test_a_response_is_read_again(client: openai.OpenAI, stores: list[str]) -> None:
    """Whole or streamed, it is kept as it was told, but for what the search found."""
    whole = client.responses.create(
        model="x", input=QUESTION, tools=file_search(stores[0]), instructions="Be brief.", metadata={"of": "me"}
    )
    assert whole.store
    assert client.responses.retrieve(whole.id) == whole
    *_, last = client.responses.create(model="x", input=QUESTION, tools=file_search(stores[0]), stream=True)
    assert client.responses.retrieve(last.response.id) == last.response
    with pytest.raises(openai.BadRequestError):
        client.responses.retrieve(whole.id, stream=True)


def test_a_response_is_continued(client: openai.OpenAI, engine: FakeEngine, stores: list[str]) -> None:
    """What was asked and answered before is the history, one response after the other, and each branch has its own;
    the instructions are those of the last request alone."""
    tools = file_search(stores[0])
    first = client.responses.create(
        model="x",
        instructions="Rhyme.",
        input=[
            {"role": "user", "content": "I am Ada."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": QUESTION},
        ],
        tools=tools,
    )
    second = client.responses.create(model="x", input="Is that fast?", previous_response_id=first.id, tools=tools)
    assert second.previous_response_id == client.responses.retrieve(second.id).previous_response_id == first.id
    client.responses.create(model="x", input="Why?", previous_response_id=second.id, tools=tools, stream=False)
    said = [turn["content"] for turn in engine.requests[-1]["messages"]]
    assert "Rhyme." not in said[0]
    assert said[1:-1] == ["I am Ada.", "Hello.", QUESTION, "The dome closes at 15 m/s.", "Is that fast?", said[4]]
    assert said[-1].endswith("Why?")
    client.responses.create(model="x", input="How so?", previous_response_id=first.id, tools=tools)
    assert len(engine.requests[-1]["messages"]) == len(said) - 2


def test_a_deleted_response(client: openai.OpenAI, engine: FakeEngine, stores: list[str]) -> None:
    """It is neither read nor continued any more, and what continues it already no longer knows of it."""
    tools = file_search(stores[0])
    first = client.responses.create(model="x", input=QUESTION, tools=tools)
    second = client.responses.create(model="x", input="Is that fast?", previous_response_id=first.id, tools=tools)
    client.responses.delete(first.id)
    for lost in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError, match=first.id):
            lost(first.id)
    with pytest.raises(openai.BadRequestError, match="not found") as refused:
        client.responses.create(model="x", input="Why?", previous_response_id=first.id, tools=tools)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    client.responses.create(model="x", input="Why?", previous_response_id=second.id, tools=tools)
    assert not any(QUESTION in turn["content"] for turn in engine.requests[-1]["messages"])


def test_what_is_not_to_be_kept(client: openai.OpenAI, served: Service, stores: list[str]) -> None:
    """With `store: false`, or in a collection that keeps no answers, there is nothing to read."""
    tools = file_search(stores[0])
    kept = client.responses.create(model="x", input=QUESTION, tools=tools)
    unkept = client.responses.create(
        model="x", input="Is that fast?", tools=tools, store=False, previous_response_id=kept.id
    )
    served.create_collection("forgetful", keep_answers_days=0)
    served.add("notes.txt", "The dome closes at 15 m/s.", collection="forgetful")
    forgotten = client.responses.create(model="footnote/forgetful", input=QUESTION)
    for response in (unkept, forgotten):
        assert response.store is False
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response.id)


def test_a_document_that_is_deleted_since(client: openai.OpenAI, engine: FakeEngine, served: Service) -> None:
    """A response no longer quotes it, and what was answered from it is not told to the model again."""
    served.create_collection("brief")
    document = served.add("brief.txt", "The dome closes at 15 m/s.", collection="brief")
    first = client.responses.create(model="footnote/brief", input=QUESTION)
    assert first.output[1].content[0].annotations
    served.http.delete(f"/documents/{document['id']}")
    served.add("brief2.txt", "The night watch begins at nine.", collection="brief")
    again = client.responses.retrieve(first.id)
    assert again.output[1].content[0].annotations == []
    assert again.model_extra["citations"] == []
    client.responses.create(model="footnote/brief", input="And the watch?", previous_response_id=first.id)
    assert not any("15 m/s" in turn["content"] for turn in engine.requests[-1]["messages"])


def test_a_broken_response_is_kept(client: openai.OpenAI, engine: FakeEngine, stores: list[str]) -> None:
    """As far as it came, and as failed."""
    engine.script(broken("The dome closes "))
    *_, last = client.responses.create(model="x", input=QUESTION, tools=file_search(stores[0]), stream=True)
    again = client.responses.retrieve(last.response.id)
    assert (again.status, again.output_text) == ("failed", last.response.output_text)
    assert again.error == last.response.error
