"""Strategies over HTTP: steps in the stream, settings of a collection, reranking in a running server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from app import bootstrap
from tests.api.serving import Service, problem, serving, settings_in
from tests.api.test_ask import events
from tests.fake_engine import FakeEngine, answer, calling

HANDBOOK = """# Station handbook

## The dome

The dome closes at 15 m/s.

## The night watch

The night watch begins at nine and notes the weather every hour.
"""
QUESTION = "When does the dome close and when does the night watch begin?"


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[Service]:
    """A server with a language model, and a handbook in small chunks."""
    settings = settings_in(tmp_path_factory.mktemp("station"), llm_base_url=engine.base_url, answer_threshold=0.1)
    with serving(settings) as service:
        service.create_collection("station", chunk_tokens=32, chunk_overlap_tokens=0, strategy="agent", agent_steps=2)
        service.add("handbook.md", HANDBOOK, collection="station")
        yield service


def stream(service: Service, **body: Any) -> list[tuple[str, Any]]:
    request = {"question": QUESTION, "collection": "station", "stream": True, **body}
    with service.http.stream("POST", "/ask", json=request) as response:
        assert response.status_code == 200
        return events(response)


def test_the_steps_of_an_agent_are_streamed(station: Service, engine: FakeEngine) -> None:
    """Each step is an event before the sources; an outline and a passage's neighbours come from the store."""
    engine.script(
        calling(
            ("search", {"query": "night watch"}),
            ("read", {"passage": 1, "what": "outline"}),
            ("read", {"passage": 1, "what": "neighbours"}),
        ),
        answer("DONE"),
        answer("The dome closes at 15 m/s. [1]"),
    )
    found = stream(station, explain=True, top_k=1)
    steps = [data for name, data in found if name == "step"]
    assert [name for name, _ in found][: len(steps) + 1] == ["step"] * len(steps) + ["sources"]
    assert [step["action"] for step in steps] == ["search", "search", "read", "read", "stop"]
    assert steps[2]["outcome"] != "0 headings."
    assert steps[0].keys() == {"number", "action", "arguments", "outcome", "found", "new"}
    results = [message["content"] for message in engine.requests[-2]["messages"] if message["role"] == "tool"]
    assert "The night watch" in results[1]
    done = found[-1][1]
    assert (done["strategy"], done["mode"]) == ("agent", "generate")
    assert done["explain"]["strategy"]["used"] == "agent"
    assert done["explain"]["prompt"]["window_tokens"] == 4096
    for citation in done["citations"]:
        text = station.http.get(f"/documents/{citation['document_id']}/text").json()["text"]
        assert citation["quote"] == text[citation["start"] : citation["end"]]


def test_a_request_has_its_own_strategy(station: Service, engine: FakeEngine) -> None:
    """The request's choice comes before the collection's; without a model the parts are searched for."""
    asked = len(engine.requests)
    body = {"question": QUESTION, "collection": "station", "mode": "extract", "strategy": "multi", "explain": True}
    found = station.http.post("/ask", json=body).json()
    assert (found["strategy"], found["mode"]) == ("multi", "extract")
    assert "15 m/s" in found["answer"]
    assert "nine" in found["answer"]
    assert found["explain"]["strategy"]["searches"][0]["query"] == QUESTION
    assert station.http.post("/ask", json={**body, "strategy": "single"}).json()["strategy"] == "single"
    assert len(engine.requests) == asked
    problem(station.http.post("/ask", json={**body, "strategy": "clever"}), 422)
    change = station.http.patch("/collections/station", json={"settings": {"agent_steps": 0}})
    assert change.status_code == 422


class Backwards:
    """Judges a text by how late in the alphabet it begins."""

    def __init__(self, name: str, *, device: str) -> None:
        assert name == "backwards"

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [ord(text[0]) / 256 for text in texts]


def test_a_server_reranks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a model configured, `/ready` waits for it, and its scores order the passages and are told."""
    monkeypatch.setattr(bootstrap, "CrossEncoderScorer", Backwards)
    with serving(settings_in(tmp_path_factory.mktemp("reranking"), rerank_model="backwards")) as service:
        for text in ("A dome.", "The dome.", "My dome."):
            service.add(f"{text[0]}.txt", text)
        body = service.http.post("/search", json={"query": "dome", "explain": True}).json()
    assert [each["text"] for each in body["passages"]] == ["The dome.", "My dome.", "A dome."]
    assert body["passages"][0]["scores"]["rerank"] == ord("T") / 256
    assert "rerank" in body["timings_ms"]
    assert body["explain"]["rerank"]["problem"] is None
