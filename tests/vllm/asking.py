"""What the tests ask, and how they read what comes back."""

from __future__ import annotations

from typing import Any

import httpx

from app.client import read_events
from app.sentences import split_sentences
from tests.vllm.servers import Vllm, wait_for

QUESTION = "At what wind speed must the dome of the telescope be closed?"


def ask(http: httpx.Client, question: str = QUESTION, **body: Any) -> Any:
    """A whole answer, by the language model."""
    response = http.post("/ask", json={"question": question, "mode": "generate", **body})
    return response.raise_for_status().json()


def stream(http: httpx.Client, **body: Any) -> list[tuple[str, Any]]:
    """The events of an answer, by the language model."""
    body = {"question": QUESTION, "mode": "generate", "stream": True, **body}
    with http.stream("POST", "/ask", json=body) as response:
        assert response.status_code == 200
        return list(read_events(response.iter_bytes()))


def faithful_sentence(http: httpx.Client) -> str:
    """The sentence of the best passage that answers the question."""
    passage = http.post("/search", json={"query": QUESTION}).raise_for_status().json()["passages"][0]
    sentences = [passage["text"][start:end] for start, end in split_sentences(passage["text"])]
    return " ".join(next(one for one in sentences if "must be closed" in one).split())


def saying(text: str) -> dict[str, Any]:
    """For `extra`: the engine's structured output lets even a random model say this and nothing else."""
    return {"structured_outputs": {"choice": [text]}}


def assert_exact(http: httpx.Client, answer: Any) -> None:
    """Each citation quotes its document to the letter."""
    assert answer["citations"]
    for citation in answer["citations"]:
        text = http.get(f"/documents/{citation['document_id']}/text").raise_for_status().json()["text"]
        assert citation["quote"] == text[citation["start"] : citation["end"]]


def tokens_so_far(engine: Vllm) -> tuple[float, float]:
    return engine.count("vllm:prompt_tokens_total"), engine.count("vllm:generation_tokens_total")


def assert_counted(engine: Vllm, before: tuple[float, float], usage: Any) -> None:
    """The engine's own counters grew by this usage. It writes them a moment after it has answered."""
    grown = (before[0] + usage["prompt_tokens"], before[1] + usage["completion_tokens"])
    wait_for(lambda: tokens_so_far(engine) == grown, 5, lambda: f"{tokens_so_far(engine)} is not {grown}")
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def add_text(http: httpx.Client, text: str, *, collection: str, **fields: Any) -> None:
    """A document that is ready when this returns."""
    body = {"text": text, "title": text[:20], "collection": collection, **fields}
    added = http.post("/documents", json=body).raise_for_status().json()["documents"][0]
    with http.stream("GET", f"/documents/{added['id']}/events") as response:
        assert "ready" in response.read().decode()
