"""A real vLLM that is killed in mid-answer, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.client import read_events
from tests.vllm.servers import Vllm

QUESTION = "At what wind speed must the dome of the telescope be closed?"
ASK: dict[str, Any] = {"question": QUESTION, "max_tokens": 2000, "temperature": 0}


@pytest.mark.parametrize("kill", [Vllm.kill_core, Vllm.kill], ids=["its core", "all of it"])
def test_the_engine_dies_in_mid_answer(engine: Vllm, http: httpx.Client, kill: Callable[[Vllm], None]) -> None:
    """The answer breaks off with an error, the next is made without the model, and after its restart with it again."""
    said = ""
    with http.stream("POST", "/ask", json=ASK | {"stream": True}) as response:
        assert response.status_code == 200
        for name, data in read_events(response.iter_bytes()):
            if name == "delta":
                if not said:
                    kill(engine)
                said += data["text"]
    assert name == "error"
    assert data["error"]["code"] == "generation_interrupted"
    assert data["partial"] is True
    assert data["answer"]["answer"] == said

    answer = http.post("/ask", json=ASK).raise_for_status().json()
    assert (answer["mode"], answer["degraded"], answer["answerable"]) == ("extract", True, True)
    assert "15 metres per second" in answer["answer"]
    assert answer["citations"]
    assert answer["reason"]

    engine.stop()
    engine.start()
    answer = http.post("/ask", json=ASK | {"max_tokens": 8}).raise_for_status().json()
    assert (answer["mode"], answer["degraded"]) == ("generate", False)
