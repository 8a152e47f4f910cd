"""Prompt lookup as .env.example turns it on, in a real vLLM."""

from __future__ import annotations

import httpx

from tests.vllm.asking import QUESTION, ask, assert_exact, faithful_sentence, saying
from tests.vllm.servers import Vllm

ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"


def test_guessed_tokens_change_no_answer(
    engine: Vllm, http: httpx.Client, tuned_vllm: Vllm, tuned_http: httpx.Client
) -> None:
    """Tokens are guessed and accepted, and the answer is the one of an engine that guesses none."""
    before = tuned_vllm.count(ACCEPTED)
    # Temperature 0 takes a random model round in circles, and what was said once is guessed the next time.
    guessed, plain = (ask(each, max_tokens=300, temperature=0) for each in (tuned_http, http))
    assert tuned_vllm.count(ACCEPTED) > before
    assert guessed["answer"] == plain["answer"]
    assert (guessed["mode"], guessed["degraded"]) == ("generate", False)


def test_a_cited_sentence_with_guessed_tokens(tuned_vllm: Vllm, tuned_http: httpx.Client) -> None:
    """Prompt lookup and structured output together still give a sentence with its citation."""
    said = f"{faithful_sentence(tuned_http)} [1]"
    answer = ask(tuned_http, max_tokens=400, extra=saying(said))
    assert answer["answer"] == said
    assert [sentence["support"] for sentence in answer["sentences"]] == ["supported"]
    assert_exact(tuned_http, answer)


def test_what_guessing_forbids_is_named(tuned_vllm: Vllm, tuned_http: httpx.Client) -> None:
    """`min_p` is refused while tokens are guessed, in the engine's own words, as .env.example warns."""
    body = {"question": QUESTION, "mode": "generate", "extra": {"min_p": 0.1}}
    response = tuned_http.post("/ask", json=body)
    assert response.status_code == 400, response.text
    assert "not yet supported with speculative decoding" in response.json()["error"]["message"]
