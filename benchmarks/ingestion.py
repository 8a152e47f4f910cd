"""The worker's throughput, as a share of what the bare model would do on the same chunks in the same minutes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from app.types import indexed_text
from benchmarks.datasets import SourceDocument, read_documents
from benchmarks.encoder import EncoderProcess, running_encoder
from benchmarks.results import Result, Row
from benchmarks.server import Server, running_server

_TARGET = 0.80
_ROUNDS = 3
_MOST_WAIT_FOR_CLAIM_SECONDS = 120


def run(data: Path, *, quick: bool) -> Result:
    """Many documents of a paragraph each, then a few long ones; worker and bare model take turns."""
    short = read_documents(data, "squad20_dev")[: 40 if quick else 480]
    long = sorted(read_documents(data, "covid_qa"), key=lambda document: -len(document.text))[: 2 if quick else 12]
    scenarios = {f"{len(short)} documents of a paragraph": short, f"{len(long)} long documents": long}
    rows, details = [], {}
    with running_server(worker=False) as server, running_encoder() as encoder:
        for number, (what, documents) in enumerate(scenarios.items()):
            names = [f"scenario-{number}-{i}" for i in range(_ROUNDS)]
            rounds = [_measure(server, encoder, name, documents) for name in names]
            details[what] = rounds
            share = statistics.median(each["share"] for each in rounds)
            rates = " / ".join(f"{statistics.median(each[rate] for each in rounds):.0f}" for rate in ("worker", "bare"))
            rows.append(Row(f"{what}, worker ÷ bare `encode`", f"{share:.2f}", f"≥ {_TARGET:.2f}", share >= _TARGET))
            rows.append(Row(f"{what}, chunks a second, worker / bare", rates))
    return Result(rows, details)


def _measure(
    server: Server, encoder: EncoderProcess, collection: str, documents: Sequence[SourceDocument]
) -> dict[str, Any]:
    """Chunks a second from the first claim to the last `ready`, and of one `encode` of the same texts."""
    server.upload(collection, documents)
    with server.worker():
        # The clock begins here, late by a twentieth of a second at most.
        server.wait_until(
            lambda: server.metric("footnote_jobs", state="running") > 0,
            seconds=_MOST_WAIT_FOR_CLAIM_SECONDS,
            pause_seconds=0.05,
        )
        claimed_at = time.time()
        server.wait_until(lambda: not server.unfinished_jobs(), pause_seconds=0.5)
    ingested = list(server.pages("/documents", "documents", collection=collection, status="ready"))
    ready_at = max(datetime.fromisoformat(document["updated_at"]).timestamp() for document in ingested)
    texts = [
        indexed_text(document["filename"], tuple(chunk["headings"]), "", chunk["text"])
        for document in ingested
        for chunk in server.pages(f"/documents/{document['id']}/chunks", "chunks")
    ]
    worker_rate = len(texts) / (ready_at - claimed_at)
    bare_rate = len(texts) / encoder.together(texts)
    return {
        "documents": len(ingested),
        "chunks": len(texts),
        "worker": round(worker_rate, 1),
        "bare": round(bare_rate, 1),
        "share": round(worker_rate / bare_rate, 3),
    }
