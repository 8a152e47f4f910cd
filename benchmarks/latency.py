"""How long `POST /search` takes over 10,000 chunks, for one client and for eight, beside one query `encode`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import SourceDocument, read_documents, read_set
from benchmarks.encoder import EncoderProcess, running_encoder
from benchmarks.load_client import Load, send_load
from benchmarks.results import Result, Row, quantiles_ms
from benchmarks.server import BenchmarkError, Server, running_server

_SETS = ("xquad_en", "xquad_zh", "squad20_dev", "cranfield", "mtrag_un_half", "covid_qa", "hotpot100")
_QUESTIONS = "squad20_dev"
_LEAST_CHUNKS = 10_000
_ROUNDS = 3
_ENCODES, _SEARCHES = 100, 800  # a round and number of clients
_CLIENTS = (1, 8)
_COLLECTION = "many"
_BOUND_TOGETHER = 20  # paragraphs and abstracts into documents of some pages, which are quicker to ingest


def run(data: Path, *, quick: bool) -> Result:
    """Each query is sent once: nothing comes from a cache."""
    sets = _SETS[:1] if quick else _SETS
    documents = [volume for name in sets for volume in _bind(read_documents(data, name))]
    questions = iter(dict.fromkeys(question.text for question in read_set(data, _QUESTIONS).questions))
    with running_server() as server, running_encoder() as encoder:
        server.ingest(_COLLECTION, documents)
        chunks = round(server.metric("footnote_chunks"))
        if chunks < _LEAST_CHUNKS and not quick:
            raise BenchmarkError(f"The sets have only {chunks} chunks.")
        _search(server, questions, 50, clients=8)  # what the first searches of a process cost once
        rounds = [_measure(server, encoder, questions, 50 if quick else _SEARCHES) for _ in range(_ROUNDS)]
    return Result(_rows(rounds, chunks), {"chunks": chunks, "rounds": rounds})


def _bind(documents: Sequence[SourceDocument]) -> Iterator[SourceDocument]:
    for at in range(0, len(documents), _BOUND_TOGETHER):
        bound = documents[at : at + _BOUND_TOGETHER]
        yield SourceDocument(bound[0].doc_id, bound[0].title, "\n\n".join(document.text for document in bound))


def _rows(rounds: list[dict[str, Any]], chunks: int) -> list[Row]:
    encode, ours = _median(rounds, "as it comes", "p50"), _median(rounds, "encode", "p50")
    limit, stricter = 3 * encode + 10, 3 * ours + 10
    rows = [
        Row(
            "one query `encode`, alone, p50: as the library loads the model / in bfloat16, as Footnote does",
            f"{encode:.1f} / {ours:.1f} ms",
        )
    ]
    for clients in _CLIENTS:
        name = f"{clients} clients"
        p50, p95 = (_median(rounds, name, "total", q) for q in ("p50", "p95"))
        stages = ", ".join(
            f"{stage} {_median(rounds, name, stage, 'p50'):.1f}" for stage in ("embed", "search", "rest")
        )
        target = ""
        if clients == max(_CLIENTS):
            target = f"p95 ≤ 3 × encode + 10 = {limit:.1f} ms (by bfloat16's: {stricter:.1f})"
        figure = f"{p50:.1f} / {p95:.1f} ms"
        what = f"`POST /search`, {chunks:,} chunks, {clients} client{'s' if clients > 1 else ''}"
        rows.append(Row(f"{what}, p50 / p95", figure, target, p95 <= limit if target else None))
        rows.append(Row("… of which, p50 (ms); searches a second", f"{stages}; {_median(rounds, name, 'rate'):.0f}"))
    return rows


def _median(rounds: list[dict[str, Any]], *path: str) -> float:
    def find(value: Any) -> float:
        for name in path:
            value = value[name]
        return float(value)

    return statistics.median(find(one) for one in rounds)


def _measure(server: Server, encoder: EncoderProcess, questions: Iterator[str], searches: int) -> dict[str, Any]:
    """One round: the model alone, then the server with one client, then with many."""
    encode = encoder.one_by_one([next(questions) for _ in range(_ENCODES)])
    plain = encoder.as_it_comes([next(questions) for _ in range(_ENCODES)])
    loads = {f"{n} clients": _search(server, questions, searches, clients=n) for n in _CLIENTS}
    return {
        "encode": quantiles_ms(encode),
        "as it comes": quantiles_ms(plain),
        **{name: _stages(load) for name, load in loads.items()},
    }


def _search(server: Server, questions: Iterator[str], count: int, *, clients: int) -> Load:
    bodies = [{"query": next(questions), "collection": _COLLECTION} for _ in range(count)]
    return send_load(server.port, "/search", bodies, clients)


def _stages(load: Load) -> Mapping[str, Any]:
    """Where the time goes: in milliseconds, and searches a second. `rest` is HTTP and waiting for a thread."""
    total = np.array(load.seconds)
    embed, search = (
        np.array([answer["timings_ms"][stage] for answer in load.answers]) / 1000 for stage in ("embed", "search")
    )
    stages = {"total": total, "embed": embed, "search": search, "rest": total - embed - search}
    quantiles: dict[str, Any] = {name: quantiles_ms(seconds) for name, seconds in stages.items()}
    return quantiles | {"rate": round(len(total) / load.elapsed_seconds, 1)}
