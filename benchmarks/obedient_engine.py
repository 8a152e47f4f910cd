"""A language model's server that does whatever a document tells it: the worst model that an injection can meet."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PIECE = 3  # characters of a token: no address and no tag arrives whole


class ObedientEngine:
    """Writes, of the first key of `orders` that its prompt holds, the value. `prompts`: the messages it got, by key."""

    def __init__(self, orders: Mapping[str, str]) -> None:
        self.orders = orders
        self.prompts: dict[str, list[dict[str, str]]] = {}
        self.base_url = ""

    def answer(self, messages: list[dict[str, str]]) -> str:
        text = messages[-1]["content"]
        question = text[text.rfind("\n") :]
        for key, order in self.orders.items():
            if key in question and text.count(key) > question.count(key):  # the document is there, too
                self.prompts[key] = messages
                return order
        return "Nothing was asked of me."


@contextmanager
def serving(engine: ObedientEngine) -> Iterator[None]:
    """On loopback, in a thread, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            model = {"id": "obedient", "object": "model", "max_model_len": 16_384}
            self._send("application/json", json.dumps({"object": "list", "data": [model]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "chat/completions" not in self.path:
                self.send_error(404)
                return
            text = engine.answer(body["messages"])
            pieces = [_chunk({"content": text[at : at + _PIECE]}) for at in range(0, len(text), _PIECE)]
            usage = {"prompt_tokens": 1, "completion_tokens": len(pieces), "total_tokens": len(pieces) + 1}
            events = [*pieces, _chunk({}, "stop"), {"choices": [], "usage": usage}]
            stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            self._send("text/event-stream", f"{stream}data: [DONE]\n\n")

        def _send(self, media_type: str, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    engine.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"model": "obedient", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
