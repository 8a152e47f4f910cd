"""Verdicts over HTTP: flagged in the stream and in the end, and what a collection does with unsupported sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.serving import Service, problem, serving, settings_in
from tests.fake_engine import STALL, FakeEngine, Reply, answer, words

NOTES = "The dome closes at 15 m/s. The night watch begins at nine. 圆顶在大风时关闭。"
TRUE, FALSE, UNMARKED = "The dome closes at 15 m/s. [1]", "It weighs 40 tons. [1]", "The night watch begins at nine."
CITATION_FIELDS = {
    "marker",
    "document_id",
    "version",
    "filename",
    "page",
    "page_label",
    "chunk_id",
    "start",
    "end",
    "quote",
    "score",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def generating(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[Service]:
    settings = settings_in(tmp_path_factory.mktemp("verdicts"), llm_base_url=engine.base_url, answer_threshold=0)
    with serving(settings) as service:
        for name in ("keep", "mark", "remove"):
            service.create_collection(name, unsupported=name, sampling={"extra": {"repetition_penalty": 1.1}})
            service.add("notes.txt", NOTES, collection=name)
        yield service


def stream(service: Service, collection: str) -> list[tuple[str, Any]]:
    body = {"question": "When does the dome close?", "stream": True, "collection": collection}
    with service.http.stream("POST", "/ask", json=body) as response:
        blocks = response.read().decode().split("\n\n")
    fields = [dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":") for block in blocks if block]
    return [(each["event"], json.loads(each["data"])) for each in fields if each]


def test_flagged_in_the_stream(generating: Service, engine: FakeEngine) -> None:
    """Each sentence has a `citation` event with its verdict; where it cites nothing, the citation's fields are null."""
    engine.script(answer(f"{TRUE} {FALSE} {UNMARKED} Otters sleep."))
    events = stream(generating, "keep")
    found = [data for name, data in events if name == "citation"]
    assert [each["support"] for each in found] == ["supported", "unsupported", "supported", "unsupported"]
    assert [each["marker"] for each in found] == [1, 1, 1, None]
    assert [each["attributed"] for each in found] == [False, False, True, False]
    for each in found:
        assert each.keys() == CITATION_FIELDS | {"support", "attributed", "sentence"}
    assert {found[-1][field] for field in CITATION_FIELDS} == {None}
    assert found[1]["sentence"]["problems"] == [{"check": "numbers", "text": "40 tons"}]
    assert [each["sentence"] for each in found] == events[-1][1]["sentences"]


@pytest.mark.parametrize(
    ("collection", "text", "supports"),
    [
        ("keep", f"{TRUE} {FALSE} {TRUE}", ["supported", "unsupported", "supported"]),
        ("mark", f"{TRUE} {FALSE} [?] {TRUE}", ["supported", "unsupported", "supported"]),
        ("remove", f"{TRUE} {TRUE}", ["supported", "supported"]),
    ],
)
@pytest.mark.parametrize("is_stream", [True, False])
def test_a_collection_decides(
    generating: Service, engine: FakeEngine, collection: str, text: str, supports: list[str], is_stream: bool
) -> None:
    """Unsupported sentences are kept, marked or removed; all offsets refer to the final text, all quotes are exact."""
    engine.script(answer(f"{TRUE} {FALSE} {TRUE}"))
    if is_stream:
        events = stream(generating, collection)
        done = events[-1][1]
        assert "".join(data["text"] for name, data in events if name == "delta") == done["answer"]
    else:
        body = {"question": "When does the dome close?", "collection": collection}
        done = generating.http.post("/ask", json=body).json()
    assert done["answer"] == text
    assert [sentence["support"] for sentence in done["sentences"]] == supports
    for sentence in done["sentences"]:
        assert text[sentence["start"] : sentence["end"]] + " [1]" in (TRUE, FALSE)
    for citation in done["citations"]:
        document = generating.http.get(f"/documents/{citation['document_id']}/text").json()["text"]
        assert document[citation["start"] : citation["end"]] == citation["quote"]
    assert ("left out" in (done["reason"] or "")) == (collection == "remove")
    assert engine.requests[-1]["repetition_penalty"] == 1.1


def test_nothing_is_left(generating: Service, engine: FakeEngine) -> None:
    """An answer of which every sentence is removed says that the documents do not answer."""
    engine.script(answer(FALSE))
    done = stream(generating, "remove")[-1][1]
    assert (done["answer"], done["answerable"], done["sentences"]) == ("Your documents do not say.", False, [])
    assert "left out" in done["reason"]


def test_a_loop_over_http(generating: Service, engine: FakeEngine) -> None:
    """A model in a loop is ended over both interfaces, and says why."""
    engine.script(*(Reply([*words(f"{TRUE} " * 30), STALL]) for _ in range(2)))
    body = generating.http.post("/ask", json={"question": "When does the dome close?", "collection": "keep"}).json()
    assert body["answer"] == TRUE
    assert "repeated itself" in body["reason"]
    chat = {"model": "footnote/keep", "messages": [{"role": "user", "content": "When does the dome close?"}]}
    choice = generating.http.post("/v1/chat/completions", json=chat).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (TRUE, "repetition")


def test_settings_are_checked(generating: Service) -> None:
    """What a collection cannot be told is refused."""
    for settings in ({"unsupported": "hide"}, {"sampling": {"temperature": 9}}, {"sampling": {"beam": 2}}):
        response = generating.http.patch("/collections/keep", json={"settings": settings})
        problem(response, 422)
