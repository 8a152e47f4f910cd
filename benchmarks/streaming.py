"""What Footnote adds to an engine's own time: to the first token, and to each of 64 streams at once.

One run, three ways through the same engine (`paced_engine.py`): straight to it, through Footnote, and through a LiteLLM
proxy, which runs in the environment `.venv-litellm` (made on the first run; `FOOTNOTE_LITELLM_VENV` names another one).
"""

from __future__ import annotations

import itertools
import re
import statistics
import subprocess
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.datasets import SourceDocument, read_set
from benchmarks.encoder import EncoderProcess, running_encoder
from benchmarks.litellm_proxy import running_proxy
from benchmarks.paced_engine import PacedEngine, running_engine
from benchmarks.results import Result, Row, quantiles_ms
from benchmarks.server import BenchmarkError, Server, running_server
from benchmarks.stream_client import Connection, Stream, Streams, read_streams

_SET = "squad20_dev"
_COLLECTION = "paragraphs"
_STEP_SECONDS = 1 / 50  # between two tokens of a stream
_TOKENS = 400  # of the one answer
_TOKEN = re.compile(r"\s*(?:\w{1,6}|[^\w\s])")
_ROUNDS = 3
_TAIL_SECONDS = 1.0  # at the end of a round, for tokens on their way
_ENCODE_PLUS_MS = 15.0
_MOST_DELAY_MS = 50.0
_LEAST_RATE = 0.95

Ask = Callable[[int], dict[str, Any]]  # a seed → the body of a request


@dataclass(frozen=True, slots=True)
class _Way:
    """To the engine."""

    name: str
    port: int
    path: str
    ask: Ask
    pid: int | None = None  # of what is in between


@dataclass(frozen=True, slots=True)
class _Phase:
    """What the clients of one way saw in one round, and the shares of a core that it took."""

    way: str
    begins: float  # from when on all of them stream
    load: Streams
    shares: Mapping[str, float]


def run(data: Path, *, quick: bool) -> Result:
    """Overhead first, on a quiet engine; then the streams, the ways taking turns."""
    chosen = read_set(data, _SET)
    documents = chosen.documents[:40] if quick else chosen.documents
    questions = itertools.cycle(dict.fromkeys(question.text for question in chosen.questions))
    tokens = _answer(documents)
    with running_engine(tokens, _STEP_SECONDS) as engine, ExitStack() as stack:
        server = stack.enter_context(running_server(settings={"FOOTNOTE_LLM_BASE_URL": engine.base_url}))
        server.ingest(_COLLECTION, documents)
        with running_encoder() as encoder:
            overhead = _overhead(server, engine, encoder, questions, 8 if quick else 50)
        ways = [*_ways(server, engine, questions)]
        try:
            proxy = stack.enter_context(running_proxy(engine.base_url))
        except (BenchmarkError, OSError, subprocess.SubprocessError) as error:
            missing: str | None = str(error)
        else:
            missing = None
            ways.append(_Way("LiteLLM", proxy.port, "/v1/chat/completions", ways[0].ask, proxy.pid))
        clients, seconds = (8, 4.0) if quick else (64, 12.0)
        seeds = itertools.count(1000)
        rounds = 1 if quick else _ROUNDS
        phases = [_stream(way, engine, seeds, clients, seconds) for _ in range(rounds) for way in ways]
        sent = engine.stop()
    found = _by_way(phases, sent, tokens)
    rows = [*_overhead_rows(overhead), *_stream_rows(found, clients)]
    if missing is not None:
        rows.append(Row("LiteLLM", f"could not be measured: {missing}"))
    return Result(rows, {"overhead": overhead, "clients": clients, "streams": found})


def _answer(documents: Sequence[SourceDocument]) -> list[str]:
    """Sentences of the documents, each with a marker, as the pieces that a tokenizer might make of them."""
    text = " ".join(document.text for document in documents[:20])
    marked = re.sub(r"(?<=[a-z]{2})\. (?=[A-Z])", ". [1] ", text)
    return [match.group() for match in _TOKEN.finditer(marked)][:_TOKENS]


def _ways(server: Server, engine: PacedEngine, questions: Iterator[str]) -> Iterator[_Way]:
    prompt = server.call("POST", "/ask", json=_question(next(questions), dry_run=True))["messages"]
    messages = [{"role": each["role"], "content": each["content"]} for each in prompt]
    yield _Way("direct", engine.port, "/v1/chat/completions", lambda seed: engine.request(messages, seed=seed))
    yield _Way("`/ask`", server.port, "/ask", lambda seed: _question(next(questions), seed), server.pid)
    yield _Way(
        "`/v1/chat/completions`",
        server.port,
        "/v1/chat/completions",
        lambda seed: _chat(next(questions), seed),
        server.pid,
    )


def _question(text: str, seed: int = -1, **more: Any) -> dict[str, Any]:
    return {"question": text, "collection": _COLLECTION, "stream": True, "extra": {"seed": seed}, **more}


def _chat(text: str, seed: int, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": f"footnote/{_COLLECTION}", "messages": messages, "stream": True, "seed": seed, **more}


def _overhead(
    server: Server, engine: PacedEngine, encoder: EncoderProcess, questions: Iterator[str], count: int
) -> dict[str, Any]:
    """One question after the other, through Footnote and then its very prompt straight to the engine."""
    through = {"`/ask`": ("/ask", _question), "`/v1/chat/completions`": ("/v1/chat/completions", _chat)}
    seconds: dict[str, list[float]] = {f"{name} {part}": [] for name in through for part in ("all", "added")}
    encode: list[float] = []
    for part in range(-1, 4):
        for name, (path, body) in through.items():
            texts = [next(questions) for _ in range(count if part >= 0 else 20)]  # the first ones only warm up
            for text in texts:
                asked = _first_token(server.port, path, body(text, 1, max_tokens=1))
                prompt = server.call("POST", "/ask", json=_question(text, dry_run=True))["messages"]
                messages = [{"role": each["role"], "content": each["content"]} for each in prompt]
                order = engine.request(messages, max_tokens=1, seed=1)
                alone = _first_token(engine.port, "/v1/chat/completions", order)
                if part >= 0:
                    seconds[f"{name} all"].append(asked)
                    seconds[f"{name} added"].append(asked - alone)
            if part >= 0:
                encode += encoder.one_by_one(texts)
    return {"encode": quantiles_ms(encode), **{name: quantiles_ms(each) for name, each in seconds.items()}}


def _first_token(port: int, path: str, body: dict[str, Any]) -> float:
    stream = Connection(port, path).ask(body)
    return stream.times[0] - stream.started


def _stream(way: _Way, engine: PacedEngine, seeds: Iterator[int], clients: int, seconds: float) -> _Phase:
    """All clients stream for so long; before that they begin one after the other, as questions do."""
    one_answer = _TOKENS * _STEP_SECONDS
    bodies = [[way.ask(next(seeds)) for _ in range(2 + int(seconds / one_answer))] for _ in range(clients)]
    processes = {"engine": engine.pid} | ({"between": way.pid} if way.pid else {})
    before = {name: _processor_seconds(pid) for name, pid in processes.items()}
    load = read_streams(way.port, way.path, bodies, apart_seconds=one_answer / clients, seconds=one_answer + seconds)
    took = load.ended - load.begun
    shares = {name: (_processor_seconds(pid) - before[name]) / took for name, pid in processes.items()}
    return _Phase(way.name, load.begun + one_answer, load, {**shares, "clients": load.share})


def _processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _by_way(
    phases: Sequence[_Phase], sent: Mapping[int, Sequence[float]], tokens: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """The figures of each round."""
    found: dict[str, list[dict[str, Any]]] = {}
    for phase in phases:
        delays: list[float] = []
        arrived = 0
        for stream in phase.load.streams:
            arrivals = _arrivals(stream, tokens)
            arrived += sum(at >= phase.begins for at in arrivals)
            for number, at in enumerate(sent.get(stream.seed, ())):
                if phase.begins <= at <= phase.load.ended - _TAIL_SECONDS:
                    # One that never came was late by at least as much.
                    delays.append((arrivals[number] if number < len(arrivals) else phase.load.ended) - at)
        p50, p99 = (round(float(np.percentile(delays, q)) * 1000, 2) for q in (50, 99))
        figures = {"p50_ms": p50, "p99_ms": p99, "most_ms": round(max(delays) * 1000, 2), "tokens": len(delays)}
        rate = round(arrived / (phase.load.ended - phase.begins), 1)
        found.setdefault(phase.way, []).append({**figures, "rate": rate, "shares": phase.shares})
    return found


def _arrivals(stream: Stream, tokens: Sequence[str]) -> list[float]:
    """When each token was there, be it alone or with others."""
    length = len("".join(stream.pieces))
    if not "".join(tokens).startswith("".join(stream.pieces)):
        raise BenchmarkError(f"A stream does not say what the engine said: {''.join(stream.pieces)!r}")
    received = list(accumulate(map(len, stream.pieces)))
    return [stream.times[bisect_left(received, end)] for end in accumulate(map(len, tokens)) if end <= length]


def _overhead_rows(overhead: Mapping[str, Any]) -> list[Row]:
    encode = overhead["encode"]["p50"]
    limit = encode + _ENCODE_PLUS_MS
    rows = [Row("one query `encode`, alone, p50", f"{encode:.1f} ms")]
    for name in ("`/ask`", "`/v1/chat/completions`"):
        added = overhead[f"{name} added"]
        rows.append(
            Row(
                f"{name}: time to the first token, beyond that of the same prompt sent to the engine, p50 / p95",
                f"{added['p50']:.1f} / {added['p95']:.1f} ms",
                f"p50 ≤ encode + {_ENCODE_PLUS_MS:.0f} = {limit:.1f} ms",
                added["p50"] <= limit,
            )
        )
    return rows


def _stream_rows(found: Mapping[str, Sequence[Mapping[str, Any]]], clients: int) -> list[Row]:
    rows = []
    direct = _median(found["direct"], "rate")
    for name, rounds in found.items():
        is_ours = name.startswith("`")
        p50, p99, rate = (_median(rounds, each) for each in ("p50_ms", "p99_ms", "rate"))
        what = f"{clients} streams of {1 / _STEP_SECONDS:.0f} tokens/s, {name}"
        rows.append(
            Row(
                f"{what}: a token's delay, p50 / p99",
                f"{p50:.1f} / {p99:.1f} ms",
                f"p99 ≤ {_MOST_DELAY_MS:.0f} ms" if is_ours else "",
                p99 <= _MOST_DELAY_MS if is_ours else None,
            )
        )
        rows.append(
            Row(
                "… tokens a second, all together; of direct",
                f"{rate:.0f}; {rate / direct:.3f}",
                f"≥ {_LEAST_RATE}" if is_ours else "",
                rate / direct >= _LEAST_RATE if is_ours else None,
            )
        )
        shares = [each["shares"] for each in rounds]
        rows.append(
            Row(
                "… shares of a core: " + " / ".join(shares[0]),
                " / ".join(f"{_median(shares, each):.2f}" for each in shares[0]),
            )
        )
    return rows


def _median(rounds: Sequence[Mapping[str, Any]], name: str) -> float:
    return statistics.median(each[name] for each in rounds)
