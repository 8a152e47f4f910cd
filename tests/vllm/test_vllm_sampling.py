"""Sampling parameters reach a real vLLM, and its refusals reach the client."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.vllm.servers import Vllm

QUESTION = "At what wind speed must the dome of the telescope be closed?"


def say(http: httpx.Client, *, extra: dict[str, Any] | None = None, **sampling: Any) -> str:
    """What the model answers; of the prompt, only the last token has an influence on this one."""
    body = {"question": QUESTION, "mode": "generate", "max_tokens": 24, **sampling}
    answer = http.post("/ask", json=body | {"extra": {"ignore_eos": True, **(extra or {})}}).raise_for_status().json()
    assert not answer["degraded"]
    return str(answer["answer"])


def test_a_seed_makes_an_answer_repeatable(engine: Vllm, http: httpx.Client) -> None:
    """The same seed draws the same answer, another one another."""
    assert say(http, extra={"seed": 7}) == say(http, extra={"seed": 7}) != say(http, extra={"seed": 8})


def test_temperature_and_top_k_reach_the_engine(engine: Vllm, http: httpx.Client) -> None:
    """Temperature 0 always takes the likeliest token, as `top_k` 1 does at any temperature."""
    greedy = say(http, temperature=0)
    assert greedy == say(http, temperature=0) == say(http, temperature=2, extra={"top_k": 1})
    assert greedy != say(http, temperature=2, extra={"seed": 7})


def test_repetition_penalty_reaches_the_engine(engine: Vllm, http: httpx.Client) -> None:
    """A strong penalty changes what the likeliest tokens are."""
    assert say(http, temperature=0, extra={"repetition_penalty": 2.0}) != say(http, temperature=0)


def test_an_answer_ends_at_a_stop_string(engine: Vllm, http: httpx.Client) -> None:
    """The text before the stop string is the answer."""
    whole = say(http, extra={"seed": 7})
    middle = len(whole) // 2
    stop = next(whole[at : at + 2] for at in range(middle, len(whole)) if whole[at : at + 2].isalpha())
    assert say(http, extra={"seed": 7}, stop=stop) == whole[: whole.index(stop)]


def test_an_unknown_model_is_named(engine: Vllm, http: httpx.Client, openai_client: openai.OpenAI) -> None:
    """A model that the engine does not serve is the caller's error, whole or streaming, and so is one of ours."""
    body = {"question": QUESTION, "mode": "generate", "model": "nope"}
    response = http.post("/ask", json=body)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert "nope" in response.json()["error"]["message"]
    assert http.post("/ask", json=body | {"stream": True}).json() == response.json()
    with pytest.raises(openai.NotFoundError, match="nope"):
        openai_client.chat.completions.create(model="nope", messages=[{"role": "user", "content": QUESTION}])


def test_a_refused_parameter_is_named(engine: Vllm, http: httpx.Client, openai_client: openai.OpenAI) -> None:
    """What the engine will not take is the caller's error, in the engine's own words."""
    response = http.post("/ask", json={"question": QUESTION, "mode": "generate", "extra": {"top_k": -7}})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
    assert "top_k" in response.json()["error"]["message"]
    with pytest.raises(openai.BadRequestError, match="top_k"):
        openai_client.chat.completions.create(
            model="footnote", messages=[{"role": "user", "content": QUESTION}], extra_body={"top_k": -7}
        )


def test_a_parameter_that_is_refused_late(engine: Vllm, http: httpx.Client, openai_client: openai.OpenAI) -> None:
    """vLLM looks at some only once its stream has begun. They are the caller's error too, and close nobody's way."""
    bias = {"999999": 5}  # there is no such token
    for _ in range(10):
        with pytest.raises(openai.BadRequestError, match="logit_bias"):
            openai_client.chat.completions.create(
                model="footnote", messages=[{"role": "user", "content": QUESTION}], logit_bias=bias
            )
    response = http.post("/ask", json={"question": QUESTION, "extra": {"structured_outputs": {"regex": "(("}}})
    assert response.status_code == 400
    assert "regex" in response.json()["error"]["message"]
    assert say(http)
