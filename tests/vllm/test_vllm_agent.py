"""The strategy `agent` with a real vLLM's tool calls: streamed, parsed, carried out, and answered from."""

from __future__ import annotations

from typing import Any

import httpx

from tests.vllm.asking import (
    QUESTION,
    add_text,
    assert_counted,
    assert_exact,
    faithful_sentence,
    saying,
    stream,
    tokens_so_far,
)
from tests.vllm.servers import Vllm


def steps_of(events: list[tuple[str, Any]]) -> list[Any]:
    """What comes before the passages, in order."""
    names = [name for name, _ in events]
    steps = [data for name, data in events if name == "step"]
    assert names[: len(steps) + 1] == ["step"] * len(steps) + ["sources"]
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    return steps


def test_the_calls_of_a_model_are_carried_out(engine: Vllm, http: httpx.Client) -> None:
    """Calls that vLLM parses from the model's words, one in a turn or two, become steps before a checked answer."""
    said = f"{faithful_sentence(http)} [1]"
    before = tokens_so_far(engine)
    events = stream(http, strategy="agent", max_tokens=400, extra=saying(said))
    first, search, outline, refused, stop = steps_of(events)
    assert first["arguments"] == {"query": QUESTION}
    assert (search["action"], search["arguments"]) == ("search", {"query": "night watch"})
    assert search["new"] > 0
    assert (outline["action"], outline["arguments"]["what"]) == ("read", "outline")
    assert outline["outcome"].endswith("headings.")
    assert refused["outcome"].startswith("`passage` must be the number of a passage")
    assert (stop["action"], stop["outcome"]) == ("stop", "The language model asks for nothing more.")
    name, answer = events[-1]
    assert (name, answer["answer"]) == ("done", said)
    assert (answer["strategy"], answer["mode"], answer["degraded"]) == ("agent", "generate", False)
    assert [sentence["support"] for sentence in answer["sentences"]] == ["supported"]
    assert_exact(http, answer)
    assert_counted(engine, before, answer["usage"])  # three turns and the answer


def test_an_agent_keeps_to_its_budget(engine: Vllm, http: httpx.Client) -> None:
    """A model that would go on is stopped after its turns, and the answer is made from what was found by then."""
    settings = {"strategy": "agent", "agent_steps": 1}
    http.post("/collections", json={"name": "hurried", "settings": settings}).raise_for_status()
    add_text(http, "The dome must be closed above 15 metres per second.", collection="hurried")
    events = stream(http, collection="hurried", max_tokens=8, extra={"ignore_eos": True})
    steps = steps_of(events)
    assert [step["action"] for step in steps] == ["search", "search", "stop"]
    assert steps[-1]["outcome"] == "The budget of 1 steps is used up."
    name, answer = events[-1]
    assert (name, answer["mode"], answer["degraded"]) == ("done", "generate", False)


def test_an_engine_that_takes_no_tools_is_asked_for_rewrites(tuned_vllm: Vllm, tuned_http: httpx.Client) -> None:
    """Started without a parser, vLLM refuses the tools; its reason is told, and other wordings are searched for."""
    events = stream(tuned_http, strategy="agent", max_tokens=8, extra={"ignore_eos": True})
    first, stop, rewrite, *searches = steps_of(events)
    assert first["arguments"] == {"query": QUESTION}
    assert stop["action"] == "stop"
    assert "--enable-auto-tool-choice" in stop["outcome"]
    assert rewrite["action"] == "rewrite"
    assert {step["action"] for step in searches} == {"search"}
    name, answer = events[-1]
    assert (name, answer["strategy"], answer["mode"], answer["degraded"]) == ("done", "multi", "generate", False)
