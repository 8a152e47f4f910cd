"""What two questions share, a real vLLM computes once, as its own metrics tell."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.vllm.asking import add_text, ask
from tests.vllm.servers import ServerProcess, Vllm, wait_for

DOME = "The dome must be closed above a wind speed of 15 metres per second. " + " ".join(
    f"Rule {n}: after a gust the observer on duty waits {n} minutes and writes it down." for n in range(2, 22)
)
WATCH = "The night watch begins at nine and is told whether the dome is closed."
ICE = "Ice on the dome is reported to the director."


@pytest.fixture(scope="module")
def collection(footnote: ServerProcess) -> Iterator[str]:
    """A long passage that every question is answered from, and two others for one half of them each."""
    with httpx.Client(base_url=footnote.url, trust_env=False) as http:
        http.post("/collections", json={"name": "rules"}).raise_for_status()
        for text, half in ((DOME, "both"), (WATCH, "first"), (ICE, "second")):
            add_text(http, text, collection="rules", metadata={"half": half})
        yield "rules"


def asked(engine: Vllm, http: httpx.Client, question: str, half: str) -> float:
    """How many tokens of the question's prompt were cached. What it is answered from: `DOME`, then another one."""
    queries, hits = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
    before = engine.count(queries), engine.count(hits)
    filters = {"half": {"$in": ["both", half]}}
    answer = ask(http, question, collection="rules", filters=filters, max_tokens=4, extra={"ignore_eos": True})
    assert not answer["degraded"]
    # The counters grow a moment after the answer.
    wait_for(lambda: engine.count(queries) == before[0] + answer["usage"]["prompt_tokens"], 5)
    return engine.count(hits) - before[1]


def tokens(engine: Vllm, text: str) -> int:
    body = {"model": engine.model, "prompt": text}
    return int(httpx.post(f"{engine.url}/tokenize", json=body, trust_env=False).raise_for_status().json()["count"])


def test_shared_passages_are_cached(engine: Vllm, http: httpx.Client, collection: str) -> None:
    """A passage that stood first in another prompt costs nothing again, also where the one behind it is another."""
    shared = tokens(engine, DOME)
    assert asked(engine, http, "At what wind speed must the dome be closed?", "first") < shared
    same_passages = asked(engine, http, "Must the dome be closed, and at what wind speed?", "first")
    same_first = asked(engine, http, "Above what speed of the wind must the dome be closed?", "second")
    assert same_passages >= same_first > shared
