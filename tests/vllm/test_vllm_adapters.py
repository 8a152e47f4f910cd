"""A LoRA adapter of a real vLLM, chosen by `model`: of a question, or of a collection."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.vllm.asking import QUESTION, add_text, ask
from tests.vllm.servers import ADAPTER, ServerProcess, Vllm

GREEDY = {"max_tokens": 24, "temperature": 0}
RULES = "The dome must be closed above 15 metres per second."


@pytest.fixture(scope="module")
def collection(tuned_footnote: ServerProcess) -> Iterator[str]:
    """A collection that is answered from by the adapter."""
    with httpx.Client(base_url=tuned_footnote.url, trust_env=False) as http:
        settings = {"model": ADAPTER}
        http.post("/collections", json={"name": "coast", "settings": settings}).raise_for_status()
        add_text(http, RULES, collection="coast")
        yield "coast"


def straight(engine: Vllm, model: str) -> str:
    """What the engine itself says to the same last words, which are all that matters to this model."""
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], **GREEDY}
    response = httpx.post(f"{engine.url}/v1/chat/completions", json=body, timeout=60, trust_env=False)
    return str(response.raise_for_status().json()["choices"][0]["message"]["content"]).strip()


def test_a_question_chooses_the_adapter(tuned_vllm: Vllm, tuned_http: httpx.Client) -> None:
    """Asked for by its name the adapter answers, in other words than the model beneath it."""
    base, adapted = ask(tuned_http, **GREEDY), ask(tuned_http, model=ADAPTER, **GREEDY)
    assert (base["model"], adapted["model"]) == (tuned_vllm.model, ADAPTER)
    assert (base["degraded"], adapted["degraded"]) == (False, False)
    assert base["answer"] == straight(tuned_vllm, tuned_vllm.model)
    assert adapted["answer"] == straight(tuned_vllm, ADAPTER) != base["answer"]


def test_a_collection_chooses_the_adapter(tuned_vllm: Vllm, tuned_http: httpx.Client, collection: str) -> None:
    """Its own model answers a question that names none; the question's choice comes before it."""
    assert ask(tuned_http, collection=collection, **GREEDY)["answer"] == straight(tuned_vllm, ADAPTER)
    assert ask(tuned_http, collection=collection, model=tuned_vllm.model, **GREEDY)["model"] == tuned_vllm.model


def test_the_model_of_an_openai_client_reaches_the_adapter(
    tuned_vllm: Vllm, tuned_footnote: ServerProcess, collection: str
) -> None:
    """`footnote/COLLECTION` is listed, and is answered by that collection's adapter."""
    http_client = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{tuned_footnote.url}/v1", api_key="-", http_client=http_client) as client:
        name = f"footnote/{collection}"
        assert name in {model.id for model in client.models.list()}
        completion = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": QUESTION}], max_tokens=24, temperature=0
        )
        assert completion.choices[0].message.content == straight(tuned_vllm, ADAPTER)


def test_an_adapters_prompt_fits_the_window(tuned_vllm: Vllm, tuned_http: httpx.Client) -> None:
    """vLLM lists an adapter without a window; it is the model's."""
    question = QUESTION + "圆顶什么时候必须关闭？" * 1500
    answer = ask(tuned_http, question, model=ADAPTER, max_tokens=64, explain=True)
    assert not answer["degraded"], answer["reason"]
    assert answer["explain"]["prompt"]["window_tokens"] == tuned_vllm.context_tokens
    assert tuned_vllm.context_tokens / 2 < answer["usage"]["prompt_tokens"] <= tuned_vllm.context_tokens - 64


def test_an_adapter_that_is_not_served(tuned_http: httpx.Client) -> None:
    """A collection whose adapter is gone is answered from without a model, and the reason is told."""
    tuned_http.post("/collections", json={"name": "orphan", "settings": {"model": "gone"}}).raise_for_status()
    add_text(tuned_http, RULES, collection="orphan")
    answer = ask(tuned_http, collection="orphan")
    assert (answer["mode"], answer["degraded"]) == ("extract", True)
    assert "'gone'" in answer["reason"]
    assert "15 metres per second" in answer["answer"]
