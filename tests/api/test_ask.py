"""Questions over HTTP: whole answers, streams, heartbeats, and clients that leave."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.api import streaming
from tests.api.serving import Service, serving, settings_in
from tests.fake_engine import STALL, FakeEngine, Reply, answer, broken, delta, words
from tests.waiting import wait_until

NOTES = "The dome closes at 15 m/s. The night watch begins at nine. 圆顶在大风时关闭。"
ANSWER_FIELDS = {
    "id", "answer", "answerable", "reason", "degraded", "mode", "model", "conversation_id", "citations", "sentences",
    "confidence", "usage", "timings_ms", "explain", "strategy", "rendered",
}  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def generating(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[Service]:
    """A server with a language model that does as it is told, and one document."""
    settings = settings_in(tmp_path_factory.mktemp("generating"), llm_base_url=engine.base_url, answer_threshold=0)
    with serving(settings) as service:
        service.add("notes.txt", NOTES)
        yield service


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """The events of a stream, comments left out."""
    pairs = []
    for block in response.read().decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            pairs.append((fields["event"], json.loads(fields["data"])))
    return pairs


def stream(service: Service, **body: Any) -> list[tuple[str, Any]]:
    request = {"question": "When does the dome close?", "stream": True, **body}
    with service.http.stream("POST", "/ask", json=request) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        return events(response)


def test_an_answer_has_every_field(generating: Service) -> None:
    """The whole answer in one JSON object, each quote an exact span of its document."""
    body = generating.http.post("/ask", json={"question": "When does the dome close?", "mode": "extract"}).json()
    assert body.keys() == ANSWER_FIELDS
    assert (body["mode"], body["degraded"]) == ("extract", False)
    assert body["citations"]
    for citation in body["citations"]:
        text = generating.http.get(f"/documents/{citation['document_id']}/text").json()["text"]
        assert citation["quote"] == text[citation["start"] : citation["end"]]
    for sentence in body["sentences"]:
        assert sentence.keys() == {"start", "end", "markers", "support", "score", "attributed", "problems"}


@pytest.mark.parametrize("mode", ["extract", "generate"])
def test_events_come_in_order(generating: Service, engine: FakeEngine, mode: str) -> None:
    """Sources before the first word, the words in order, the whole answer last: its text is the deltas'."""
    if mode == "generate":
        engine.script(answer("The dome closes at 15 m/s. [1]"))
    found = stream(generating, mode=mode)
    names = [name for name, _ in found]
    assert names[0] == "sources"
    assert names[-1] == "done"
    assert set(names[1:-1]) <= {"delta", "citation"}
    assert names.count("sources") == names.count("done") == 1
    done = found[-1][1]
    assert done.keys() == ANSWER_FIELDS
    assert done["mode"] == mode
    assert "".join(data["text"] for name, data in found if name == "delta") == done["answer"]
    cited = [data for name, data in found if name == "citation"]
    assert [{field: data[field] for field in done["citations"][0]} for data in cited] == done["citations"]
    assert [data["sentence"] for data in cited] == done["sentences"]
    assert {data["support"] for data in cited} == {"supported"}
    assert found[0][1]["passages"][0]["filename"] == "notes.txt"


def test_a_silent_model_is_covered_by_heartbeats(
    generating: Service, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the model thinks, comments keep the connection awake; the answer comes all the same."""
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.02)
    engine.script(Reply([0.3, *answer("The dome closes at 15 m/s. [1]").steps]))
    with generating.http.stream("POST", "/ask", json={"question": "When does it close?", "stream": True}) as response:
        text = response.read().decode()
    assert text.count(": keep-alive\n\n") >= 3
    assert "event: done" in text


def test_an_engine_that_breaks_off_is_told(generating: Service, engine: FakeEngine) -> None:
    """The last event of a broken stream is an error that says so, with what was answered so far."""
    engine.script(broken("The dome closes at"))
    name, data = stream(generating)[-1]
    assert name == "error"
    assert data["partial"] is True
    assert data["error"].keys() == {"message", "type", "code", "param"}
    assert data["answer"]["answer"].startswith("The dome closes")


def test_a_reader_that_leaves_a_stream_frees_the_engine(generating: Service, engine: FakeEngine) -> None:
    """Closing the connection in the middle of a stream ends the model's work."""
    before = engine.left
    engine.script(Reply([*words("The dome closes"), STALL]))
    request = {"question": "When does the dome close?", "stream": True}
    with generating.http.stream("POST", "/ask", json=request) as response:
        for text in response.iter_text():
            if "event: delta" in text:
                break
    wait_until(lambda: engine.left > before, what="the engine to be freed")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("steps", [[STALL], [delta("The dome"), STALL]], ids=["before", "within"])
def test_a_client_that_leaves_frees_the_engine(
    generating: Service, engine: FakeEngine, is_stream: bool, steps: list[Any]
) -> None:
    """Whether it waits for a stream or for the whole, before or after the first word: who leaves ends the work."""
    before, asked = engine.left, len(engine.requests)
    engine.script(Reply(steps))
    body = json.dumps({"question": "When does the dome close?", "stream": is_stream}).encode()
    host, _, port = generating.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /ask HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        wait_until(lambda: len(engine.requests) > asked, what="the question to reach the engine")
    wait_until(lambda: engine.left > before, what="the engine to be freed")


def test_without_its_engine_the_answer_is_degraded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A language model that is down: the documents' own sentences answer, and the answer says so."""
    with FakeEngine() as engine:
        url = engine.base_url
    settings = settings_in(tmp_path_factory.mktemp("degraded"), llm_base_url=url, answer_threshold=0)
    with serving(settings) as service:
        service.add("notes.txt", NOTES)
        body = service.http.post("/ask", json={"question": "When does the dome close?"}).json()
        assert (body["degraded"], body["mode"]) == (True, "extract")
        assert body["citations"]
        assert stream(service)[-1][1]["degraded"] is True


def test_an_empty_collection_does_not_answer(service: Service, collection: str) -> None:
    """Where nothing was uploaded the answer says that the documents do not say."""
    body = service.http.post("/ask", json={"question": "When does the dome close?", "collection": collection}).json()
    assert (body["answerable"], body["citations"]) == (False, [])
    assert body["reason"]
