"""A language model's server that does as it is told: a real HTTP server on loopback, in a thread of its own.

    with FakeEngine() as engine:
        engine.script(answer("It opened in 1932. [1]"), broken("It op"), refusal(503, "busy"))
        … engine.base_url …

Each chat completion takes the next scripted reply; when none is left it gets `engine.default`. A reply is a list of
steps: bytes to send, seconds to wait, `STALL` (until the client leaves), or `RESET` (cut the connection).
"""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Any, Self


class Act(Enum):
    """What a reply can do besides sending."""

    STALL = "stall"
    RESET = "reset"


STALL, RESET = Act.STALL, Act.RESET
Step = bytes | float | Act


@dataclass(frozen=True)
class Reply:
    """What the engine answers. Without a status it never sends headers: the steps are all that happens."""

    steps: Sequence[Step] = ()
    status: int | None = 200
    content_type: str = "text/event-stream"


def event(payload: object) -> bytes:
    """One server-sent event; a string is sent as it is."""
    data = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return f"data: {data}\n\n".encode()


def delta(text: str | None = None, *, finish: str | None = None, **more: object) -> bytes:
    """A chunk with a piece of text, or with `reasoning="…"`, or with a reason to finish."""
    content = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": {**content, **more}, "finish_reason": finish}
    return event({"object": "chat.completion.chunk", "model": "fake", "choices": [choice]})


def usage(prompt_tokens: int = 11, completion_tokens: int = 7) -> bytes:
    """The chunk that vLLM sends last: no choices, only the usage."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return event({"choices": [], "usage": {**counts, "total_tokens": prompt_tokens + completion_tokens}})


DONE = event("[DONE]")


def words(text: str) -> list[bytes]:
    """A chunk a word, spaces kept."""
    pieces = text.split(" ")
    return [delta(piece + " ") for piece in pieces[:-1]] + [delta(pieces[-1])]


def answer(text: str, *, finish: str = "stop", reasoning: str | None = None, packet_bytes: int | None = None) -> Reply:
    """A whole answer; `packet_bytes` cuts the stream anywhere, in the middle of characters too."""
    steps = [delta("", role="assistant")]
    steps += [delta(reasoning=word) for word in (reasoning or "").split()]
    steps += [*words(text), delta(finish=finish), usage(), DONE]
    if packet_bytes:
        stream = b"".join(steps)
        steps = [stream[at : at + packet_bytes] for at in range(0, len(stream), packet_bytes)]
    return Reply(steps)


def tool_call(name: str, arguments: object, *, index: int = 0, pieces: int = 3) -> list[bytes]:
    """The chunks of one tool call, its arguments in pieces, as vLLM streams them; a string is sent as it is."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    size = max(1, -(-len(text) // pieces))
    head = {"index": index, "id": f"call_{name}_{index}", "type": "function"}
    first = delta(tool_calls=[{**head, "function": {"name": name, "arguments": ""}}])
    rest = [text[at : at + size] for at in range(0, len(text), size)]
    return [first, *(delta(tool_calls=[{"index": index, "function": {"arguments": piece}}]) for piece in rest)]


def calling(*calls: tuple[str, object], text: str = "") -> Reply:
    """A turn that calls tools: `calling(("search", {"query": "dome"}), …)`."""
    steps = words(text) if text else []
    for index, (name, arguments) in enumerate(calls):
        steps += tool_call(name, arguments, index=index)
    return Reply([*steps, delta(finish="tool_calls"), usage(), DONE])


def broken(text: str, act: Act = RESET) -> Reply:
    """An answer that stalls, or whose connection is reset, after some words."""
    return Reply([*words(text), act])


def refusal(status: int, message: str) -> Reply:
    """An error in OpenAI's shape."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": status}}).encode()
    return Reply([body], status, "application/json")


def vllm_metrics(running: int, waiting: int) -> str:
    """What vLLM's `/metrics` tells of its requests, among all else."""
    labels = 'engine="0",model_name="fake"'
    return (
        "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
        "# TYPE vllm:num_requests_running gauge\n"
        f"vllm:num_requests_running{{{labels}}} {float(running)}\n"
        "# TYPE vllm:num_requests_waiting gauge\n"
        f"vllm:num_requests_waiting{{{labels}}} {float(waiting)}\n"
        f'vllm:num_requests_waiting_by_reason{{{labels},reason="capacity"}} {float(waiting)}\n'
        f'vllm:request_success_total{{{labels},finished_reason="stop"}} 3.0\n'
    )


def last_message(body: dict[str, Any]) -> str:
    """The text of a request's last message: the passages and the question."""
    return str(body["messages"][-1]["content"])


@dataclass
class FakeEngine:
    """The server. Its lists grow while it runs; read them after `wait_for`, or once a request has ended."""

    context_tokens: int | None = 4096
    models: Sequence[str] = ("fake",)
    adapters: Sequence[str] = ()  # of the first model, listed as vLLM lists them: without a window of their own
    tokenizer: bool = True
    load: tuple[int, int] | None = None  # requests running and waiting, as `/metrics` tells; None: it has no such route
    enforce_window: bool = True  # answer 400 to a prompt that is too long, as vLLM does
    count: Callable[[str], int] = lambda text: len(text.encode()) // 3
    default: Callable[[dict[str, Any]], Reply] = lambda body: answer("The passage says so. [1]")
    requests: list[dict[str, Any]] = field(default_factory=list)  # the bodies of chat completions
    paths: list[str] = field(default_factory=list)  # of every request
    left: int = 0  # clients that hung up before their reply was complete
    open: int = 0  # connections now

    def __post_init__(self) -> None:
        self._script: deque[Reply] = deque()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-engine", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *replies: Reply) -> None:
        """What the next chat completions get, one each."""
        self._script.extend(replies)

    def start(self, port: int = 0) -> None:
        """Listen; after `stop`, on the same port again with `start(engine.port)`."""
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", port), self._loop
        ).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Die: refuse connections, and cut those that are open."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Until the condition holds; `AssertionError` when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the engine waited in vain"
            time.sleep(0.005)

    async def _stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self.open -= 1
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(
            (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
        )
        body = json.loads(await reader.readexactly(length) or b"{}")
        path = head.split()[1]
        self.paths.append(path)
        reply = self._reply(path, body)
        hung_up = asyncio.create_task(reader.read())
        sending = asyncio.create_task(_send(reply, writer))
        try:
            await asyncio.wait({hung_up, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() or isinstance(sending.exception(), ConnectionError):
                self.left += 1
        finally:
            for task in (hung_up, sending):
                task.cancel()
            await asyncio.gather(hung_up, sending, return_exceptions=True)

    def _reply(self, path: str, body: dict[str, Any]) -> Reply:
        if path == "/v1/models":
            window = {} if self.context_tokens is None else {"max_model_len": self.context_tokens}
            listed = [{"id": name, "object": "model", **window} for name in self.models]
            listed += [{"id": name, "parent": self.models[0], "max_model_len": None} for name in self.adapters]
            return _json({"object": "list", "data": listed})
        if path == "/tokenize" and self.tokenizer:
            return _json({"count": self.tokens(body), "max_model_len": self.context_tokens})
        if path == "/metrics" and self.load is not None:
            return Reply([vllm_metrics(*self.load).encode()], content_type="text/plain; version=0.0.4")
        if path == "/v1/chat/completions":
            self.requests.append(body)
            wanted = self.tokens(body) + (body.get("max_tokens") or 1)
            if self.enforce_window and self.context_tokens is not None and wanted > self.context_tokens:
                return refusal(400, f"This model's maximum context length is {self.context_tokens} tokens.")
            return self._script.popleft() if self._script else self.default(body)
        return refusal(404, "Not Found")

    def tokens(self, body: dict[str, Any]) -> int:
        """The length of a request's prompt, by this engine's own tokenizer."""
        return sum(self.count(message["content"]) + 4 for message in body["messages"])


def _json(body: object) -> Reply:
    return Reply([json.dumps(body).encode()], content_type="application/json")


async def _send(reply: Reply, writer: asyncio.StreamWriter) -> None:
    if reply.status is not None:
        head = f"HTTP/1.1 {reply.status} -\r\nContent-Type: {reply.content_type}\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
    for step in reply.steps:
        if isinstance(step, bytes):
            writer.write(f"{len(step):x}\r\n".encode() + step + b"\r\n")
            await writer.drain()
        elif isinstance(step, float):
            await asyncio.sleep(step)
        elif step is STALL:
            await asyncio.Event().wait()
        else:
            # Linger 0: the kernel answers with RST, as when a process is killed.
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
    writer.write(b"0\r\n\r\n")
    await writer.drain()
