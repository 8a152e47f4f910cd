"""Clients that leave a real vLLM's answers: its slot is free at once, whatever the phase."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.vllm.servers import ServerProcess, Vllm, wait_for

QUESTION = "At what wind speed must the dome of the telescope be closed?"
LONG = 2000  # tokens: seven seconds of the engine's time
# Temperature 0 takes a random model round in circles: it comes to no end by itself.
ASK = {"question": QUESTION, "mode": "generate", "max_tokens": LONG, "temperature": 0}
CHAT = {
    "model": "footnote",
    "messages": [{"role": "user", "content": QUESTION}],
    "max_tokens": LONG,
    "temperature": 0,
}

pytestmark = pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ask", ASK | {"stream": True}),
        ("/ask", ASK),
        ("/v1/chat/completions", CHAT | {"stream": True}),
        ("/v1/chat/completions", CHAT),
    ],
    ids=["ask streaming", "ask", "chat streaming", "chat"],
)


@contextmanager
def client(footnote: ServerProcess, path: str, body: dict[str, Any]) -> Iterator[None]:
    """Somebody who has asked, and hangs up at the end of the block."""
    url = urlsplit(footnote.url)
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        yield


def test_leaving_in_mid_answer(
    engine: Vllm, footnote: ServerProcess, http: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    """The engine stops long before the end of an answer that nobody reads any more, and takes the next question."""
    before = engine.count("vllm:generation_tokens_total")
    with client(footnote, path, body):
        wait_for(lambda: engine.count("vllm:generation_tokens_total") >= before + 10, 20)
    engine.wait_for_load(running=0, waiting=0)
    assert engine.count("vllm:generation_tokens_total") < before + LONG / 2
    following = {"question": QUESTION, "mode": "generate", "max_tokens": 4, "extra": {"ignore_eos": True}}
    assert not http.post("/ask", json=following).raise_for_status().json()["degraded"]


def test_leaving_before_the_first_token(engine: Vllm, footnote: ServerProcess, path: str, body: dict[str, Any]) -> None:
    """Who leaves while the engine is busy with others leaves its queue too."""
    with engine.occupied():
        with client(footnote, path, body):
            engine.wait_for_load(running=1, waiting=1)
        engine.wait_for_load(running=1, waiting=0)
