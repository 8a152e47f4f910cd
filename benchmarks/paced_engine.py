"""A language model's server that speaks at a steady pace, in a process of its own, and notes when it sent each token.

The child, `python -m benchmarks.paced_engine`, reads one JSON line (the tokens of its one answer, and the seconds
between two), prints its port, serves until its input closes, and then prints when each token was sent, by the request's
`seed`. As in an engine that batches, all running requests get their next token in one step; the first comes at once.
`max_tokens` is obeyed. It parses no more than it must, and what it sends is made beforehand.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import uvloop

_ROOT = Path(__file__).resolve().parent.parent
_MODEL = "paced"
_WINDOW = 32_768
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_END = b"0\r\n\r\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class PacedEngine:
    """The parent's end."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.pid = process.pid
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def request(self, messages: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        """The body of a streamed chat completion."""
        return {"model": _MODEL, "messages": list(messages), "stream": True, **more}

    def stop(self) -> Mapping[int, Sequence[float]]:
        """When each token was sent, by the request's `seed` and `time.monotonic`, which processes share."""
        output, _ = self._process.communicate()  # closes its input
        return {int(seed): times for seed, times in json.loads(output).items()}


@contextmanager
def running_engine(tokens: Sequence[str], step_seconds: float) -> Iterator[PacedEngine]:
    """An engine that says those tokens to everybody."""
    command = [sys.executable, "-m", "benchmarks.paced_engine"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=_ROOT, text=True, **pipes) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"tokens": list(tokens), "step_seconds": step_seconds}) + "\n")
            process.stdin.flush()
            yield PacedEngine(process, int(process.stdout.readline()))
        finally:
            process.kill()


class _Answer:
    """One request that is answered."""

    def __init__(self, transport: asyncio.WriteTransport, most: int) -> None:
        self.transport = transport
        self.most = most
        self.sent: list[float] = []


class _Engine:
    def __init__(self, tokens: Sequence[str], step_seconds: float) -> None:
        self._step_seconds = step_seconds
        self._tokens = [_chunk({"choices": [_choice({"content": token})]}) for token in tokens]
        self._first = _STREAM_HEAD + _chunk({"choices": [_choice({"role": "assistant", "content": ""})]})
        self._running: set[_Answer] = set()
        self.sent: dict[int, list[float]] = {}

    def begin(self, transport: asyncio.WriteTransport, body: Mapping[str, Any]) -> _Answer:
        answer = _Answer(transport, min(len(self._tokens), body.get("max_tokens") or len(self._tokens)))
        self.sent[body.get("seed", -1)] = answer.sent
        self._running.add(answer)
        transport.write(self._first)
        self._say(answer)
        return answer

    def leave(self, answer: _Answer) -> None:
        self._running.discard(answer)

    def run(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        for answer in list(self._running):
            self._say(answer)
        due = max(due + self._step_seconds, loop.time())  # a step that was late is not made up for
        loop.call_at(due, self.run, loop, due)

    def _say(self, answer: _Answer) -> None:
        at = len(answer.sent)
        answer.sent.append(time.monotonic())
        answer.transport.write(self._tokens[at])
        if at + 1 == answer.most:
            self._running.discard(answer)
            reason = "stop" if answer.most == len(self._tokens) else "length"
            usage = {"prompt_tokens": 1000, "completion_tokens": answer.most, "total_tokens": 1000 + answer.most}
            last = _chunk({"choices": [_choice({}, reason)]}) + _chunk({"choices": [], "usage": usage})
            answer.transport.write(last + _framed(b"data: [DONE]\n\n") + _END)


class _Connection(asyncio.Protocol):
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._received = b""
        self._answer: _Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or (length and len(body) < int(length[1])):
            return
        self._received = b""
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/chat/completions"):
            self._answer = self._engine.begin(self._transport, json.loads(body))
        elif path.endswith(b"/models"):
            model = {"id": _MODEL, "object": "model", "max_model_len": _WINDOW}
            self._reply(b"200 OK", {"object": "list", "data": [model]})
        else:
            self._reply(b"404 Not Found", {"error": {"message": "Not Found"}})

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None:
            self._engine.leave(self._answer)

    def _reply(self, status: bytes, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode()
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self._transport.write(head + body)


def _choice(delta: Mapping[str, str], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _chunk(part: Mapping[str, Any]) -> bytes:
    head = {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1_700_000_000}
    text = json.dumps({**head, "model": _MODEL, **part}, ensure_ascii=False, separators=(",", ":"))
    return _framed(f"data: {text}\n\n".encode())


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _serve(order: Mapping[str, Any]) -> Mapping[int, Sequence[float]]:
    loop = asyncio.get_running_loop()
    engine = _Engine(**order)
    server = await loop.create_server(lambda: _Connection(engine), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    engine.run(loop, loop.time())
    await loop.run_in_executor(None, sys.stdin.read)
    return engine.sent


if __name__ == "__main__":
    json.dump(uvloop.run(_serve(json.loads(sys.stdin.readline()))), sys.stdout)
