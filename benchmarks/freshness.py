"""How soon a new document is found: by the server's own words, and by what its worker commits to the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from app.store.database import Database
from app.store.documents import get_document
from app.types import Document, DocumentStatus
from benchmarks.server import BenchmarkError, Server

_PATIENCE_SECONDS = 600.0
_PAUSE_SECONDS = 0.002
_BEFORE_EMBEDDING = (DocumentStatus.QUEUED, DocumentStatus.PARSING, DocumentStatus.CHUNKING)


def until_found(server: Server, directory: Path, collection: str, number: int) -> dict[str, float]:
    """Upload one, and search until it is found. In seconds, from each of three moments.

    That its embedding is done is written nowhere, so the promise is measured from the moments around it:
    `after_embedding_began` is too strict by the embedding of one chunk, `after_stored` too mild by one commit.
    """
    name = f"zyxomma{number}{time.monotonic_ns()}"  # a word that no other text has
    body = {"text": f"The dragonfly {name} was seen at the pond.", "collection": collection}
    uploaded = time.monotonic()
    document_id = server.call("POST", "/documents", json=body)["documents"][0]["id"]
    with Database(f"sqlite:///{directory / 'footnote.db'}") as database:
        began = _wait(database, document_id, lambda document: document.status not in _BEFORE_EMBEDDING)
        stored = _wait(database, document_id, lambda document: document.chunks > 0)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _is_found(server, collection, name, document_id):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{document_id} is not found after {_PATIENCE_SECONDS:.0f} s.")
    found = time.monotonic()
    moments = {"after_upload": uploaded, "after_embedding_began": began, "after_stored": stored}
    return {what: round(found - moment, 3) for what, moment in moments.items()}


def _is_found(server: Server, collection: str, name: str, document_id: str) -> bool:
    answer = server.call("POST", "/search", json={"query": name, "collection": collection})
    return any(passage["document_id"] == document_id for passage in answer["passages"])


def _wait(database: Database, document_id: str, condition: Callable[[Document], bool]) -> float:
    """The moment when the database says so."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with database.read() as connection:
            document = get_document(connection, document_id)
        if document.status is DocumentStatus.FAILED:
            raise BenchmarkError(f"{document_id} failed: {document.error_message}")
        if condition(document):
            return time.monotonic()
        time.sleep(_PAUSE_SECONDS)
    raise BenchmarkError(f"{document_id} did not get that far in {_PATIENCE_SECONDS:.0f} s.")
