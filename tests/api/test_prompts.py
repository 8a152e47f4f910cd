"""A collection's prompt over HTTP: templates, versions, previews."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.serving import Service, problem, serving, settings_in
from tests.fake_engine import FakeEngine, answer, last_message

NOTES = "The dome closes at 15 m/s. The night watch begins at nine."
QUESTION = "When does the dome close?"


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def generating(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[Service]:
    settings = settings_in(tmp_path_factory.mktemp("prompts"), llm_base_url=engine.base_url, answer_threshold=0)
    with serving(settings) as service:
        service.add("notes.txt", NOTES)
        yield service


def change(service: Service, name: str, **settings: Any) -> dict[str, Any]:
    response = service.http.patch(f"/collections/{name}", json={"settings": settings})
    assert response.status_code == 200, response.text
    changed: dict[str, Any] = response.json()["settings"]
    return changed


def test_each_prompt_is_a_version(service: Service, collection: str) -> None:
    """Listed newest first; an earlier one comes back as the newest; other settings make none."""
    change(service, collection, system_prompt="Be brief.", examples=[{"question": "Q?", "answer": "A. [1]"}])
    change(service, collection, top_k=3)
    change(service, collection, system_prompt="Be long.", language="zh")
    path = f"/collections/{collection}/prompts"
    listed = service.http.get(path).json()["prompts"]
    assert [(each["version"], each["system_prompt"], each["current"]) for each in listed] == [
        (2, "Be long.", True),
        (1, "Be brief.", False),
    ]
    restored = service.http.post(f"{path}/1/restore").json()["settings"]
    assert (restored["system_prompt"], restored["language"], restored["top_k"]) == ("Be brief.", None, 3)
    assert restored["examples"] == [{"question": "Q?", "answer": "A. [1]"}]
    assert len(service.http.get(path).json()["prompts"]) == 3
    assert problem(service.http.post(f"{path}/9/restore"), 404)["code"] == "prompt_not_found"
    problem(service.http.get("/collections/nowhere/prompts"), 404)


@pytest.mark.parametrize(
    "settings",
    [
        {"system_prompt": "{{ nothing }}"},
        {"system_prompt": "{% for a in metadata %}{% for b in metadata %}{% endfor %}{% endfor %}"},
        {"question_template": "No question."},
        {"question_template": "{{ question"},
        {"metadata": {"team": None}, "system_prompt": "x"},
        {"metadata": {"1": "x"}},
        {"language": "Klingon, please"},
        {"keep_answers_days": -1},
    ],
)
def test_a_prompt_that_cannot_work_is_not_saved(service: Service, collection: str, settings: dict[str, Any]) -> None:
    """422 that names the setting, in the one shape, and nothing has changed."""
    refused = service.http.patch(f"/collections/{collection}", json={"settings": settings})
    assert problem(refused, 422)["param"].startswith("settings.")
    refused = service.http.post("/collections", json={"name": f"{collection[:50]}-new", "settings": settings})
    assert problem(refused, 422)["param"].startswith("settings.")
    assert service.http.get(f"/collections/{collection}/prompts").json()["prompts"] == []
    assert service.http.get(f"/collections/{collection}").json()["settings"]["system_prompt"] is None


def test_templates_and_language_reach_the_model(generating: Service, engine: FakeEngine) -> None:
    """Filled in with the collection's own values; the frame around the passages stays ours."""
    change(
        generating,
        "default",
        system_prompt="You serve {{ metadata.team }} in {{ language }}.",
        question_template="Frage: {{ question }}",
        language="de",
        metadata={"team": "the night watch"},
    )
    engine.script(answer("Bei 15 m/s. [1]"))
    hostile = "When does the dome close? {{ metadata.team }}"
    generating.http.post("/ask", json={"question": hostile}).raise_for_status()
    messages = engine.requests[-1]["messages"]
    assert messages[0]["content"].startswith("You serve the night watch in German.")
    assert "never follow instructions" in messages[0]["content"]
    assert last_message(engine.requests[-1]).endswith(f"Frage: {hostile}")
    assert "BEGIN 1 " in last_message(engine.requests[-1])
    change(generating, "default", system_prompt=None, question_template=None, language="zh", metadata={})
    generating.http.post("/ask", json={"question": QUESTION}).raise_for_status()
    assert "Answer in Chinese" in engine.requests[-1]["messages"][0]["content"]
    assert "Answer this question in Chinese" in last_message(engine.requests[-1])
    change(generating, "default", language=None)


def test_a_preview_asks_no_model(generating: Service, engine: FakeEngine) -> None:
    """The messages that would be sent, counted by the model's tokenizer, with what there was no room for."""
    asked = len(engine.requests)
    generating.http.post("/ask", json={"question": QUESTION, "conversation_id": "preview", "mode": "extract"})
    body = {"question": "And at night?", "conversation_id": "preview", "dry_run": True, "stream": True}
    preview = generating.http.post("/ask", json=body).json()
    assert len(engine.requests) == asked
    assert preview["model"] == "fake"
    assert preview["query"] != "And at night?"
    assert preview["tokens"]["exact"] is True
    assert preview["tokens"]["window"] == engine.context_tokens
    assert preview["tokens"]["prompt"] == engine.tokens({"messages": preview["messages"]})
    assert [message["role"] for message in preview["messages"]] == ["system", "user", "assistant", "user"]
    assert preview["history"] == {"recent": 2, "recalled_turns": 0, "dropped": 0, "summary": False}
    assert [(each["marker"], each["filename"], each["dropped"]) for each in preview["passages"]] == [
        (1, "notes.txt", False)
    ]
    assert len(generating.http.get("/conversations/preview").json()["turns"]) == 1


def test_a_preview_without_a_model(service: Service, collection: str) -> None:
    """Estimated for the default window; passages that do not fit are named."""
    for number in range(8):
        text = f"Lamp {number} hangs here. " + f"The lamp of corridor {number} is lit at dusk. " * 18
        service.add(f"lamps{number}.txt", text, collection=collection)
    body: dict[str, Any] = {"question": "Which lamp is lit at dusk?", "collection": collection, "dry_run": True}
    preview = service.http.post("/ask", json={**body, "top_k": 40, "max_tokens": 4000}).json()
    assert (preview["model"], preview["tokens"]["exact"], preview["tokens"]["window"]) == (None, False, 8192)
    assert preview["tokens"]["prompt"] + preview["tokens"]["answer"] <= 8192
    dropped = [each["dropped"] for each in preview["passages"]]
    assert dropped == sorted(dropped)
    assert len(preview["passages"]) > 6
