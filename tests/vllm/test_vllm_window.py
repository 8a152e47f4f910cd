"""Prompts that are larger than the window of a real vLLM: cut to fit, never refused."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.vllm.servers import Vllm

QUESTION = "At what wind speed must the dome of the telescope be closed, and who decides it?"
LONG_TURN = "The wind was strong and the dome stayed closed. 风很大，圆顶一直关着。" * 4
LONG_HISTORY = [{"role": role, "content": LONG_TURN} for _ in range(30) for role in ("user", "assistant")]
LONG_QUESTION = QUESTION + "圆顶什么时候必须关闭？" * 1500


@pytest.mark.parametrize(
    ("body", "answer_tokens"),
    [
        ({"question": QUESTION, "messages": LONG_HISTORY, "max_tokens": 64}, 64),
        ({"question": QUESTION, "messages": LONG_HISTORY}, 512),
        ({"question": LONG_QUESTION, "max_tokens": 64}, 64),
        ({"question": QUESTION, "messages": LONG_HISTORY, "max_tokens": 1_000_000}, Vllm.context_tokens // 2),
    ],
    ids=["long history", "no limit given", "long question", "limit beyond the window"],
)
def test_a_prompt_is_cut_to_fit(engine: Vllm, http: httpx.Client, body: dict[str, Any], answer_tokens: int) -> None:
    """Fifty passages and a long conversation or question leave room for the answer, and are used as far as they fit."""
    response = http.post("/ask", json=body | {"mode": "generate", "top_k": 50, "extra": {"ignore_eos": True}})
    answer = response.raise_for_status().json()
    assert (answer["mode"], answer["degraded"]) == ("generate", False), answer["reason"]
    budget = engine.context_tokens - answer_tokens
    assert budget / 2 < answer["usage"]["prompt_tokens"] <= budget
    assert answer_tokens <= answer["usage"]["completion_tokens"]
    assert answer["usage"]["total_tokens"] <= engine.context_tokens


def test_a_long_conversation_of_an_openai_client_fits(engine: Vllm, openai_client: openai.OpenAI) -> None:
    """A conversation that has outgrown the window goes on."""
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *LONG_HISTORY * 3]
    messages.append({"role": "user", "content": QUESTION})
    completion = openai_client.chat.completions.create(model="footnote", messages=messages, max_tokens=64, seed=1)
    assert completion.usage is not None
    assert 0 < completion.usage.prompt_tokens <= engine.context_tokens - 64
