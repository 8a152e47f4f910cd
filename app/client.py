"""A small client of Footnote's own HTTP API, for the command line and the demo."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from app.client_records import (
    AnswerRecord,
    AskEvent,
    CitationFound,
    CollectionRecord,
    Delta,
    DocumentRecord,
    Done,
    PassageRecord,
    Sources,
)
from app.errors import FootnoteError
from app.types import DocumentStatus, Mode

# Heartbeats keep a stream awake, but an answer that is not streamed may take as long as the language model needs.
_TIMEOUT = httpx.Timeout(300.0, connect=3.0)
_POLL_SECONDS = 0.2
_FOLLOWED_AT_ONCE = 16  # documents are ingested in the order of their uploads: the first unfinished ones tell enough
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

FINISHED = frozenset({DocumentStatus.READY, DocumentStatus.FAILED})


class ClientError(FootnoteError):
    """The server refused the request."""

    code = "client_error"


class ServerNotRunning(ClientError):
    """No Footnote server answers there."""

    code = "server_not_running"


class Client:
    """Talks to one server.

    Raises `ClientError` with the server's own message, and `ServerNotRunning` where none answers.
    """

    def __init__(self, url: str, api_key: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=_TIMEOUT,
            transport=transport,
            # A proxy of the environment cannot reach this machine's own loopback.
            trust_env=httpx.URL(self.url).host not in _LOOPBACK_HOSTS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the server can answer questions now."""
        try:
            return self._http.get("/ready").is_success
        except httpx.TransportError:
            return False

    def upload(self, path: Path, *, collection: str) -> DocumentRecord:
        """Send one file; the document that it became, or already was (`duplicate`)."""
        with path.open("rb") as file:
            answer = self._call(
                "POST", "/documents", files={"file": (path.name, file)}, data={"collection": collection}
            )
        document: DocumentRecord = answer["documents"][0]
        return document

    def upload_url(self, url: str, *, collection: str) -> DocumentRecord:
        """Let the server fetch a file."""
        answer = self._call("POST", "/documents", json={"url": url, "collection": collection})
        document: DocumentRecord = answer["documents"][0]
        return document

    def documents(self, *, collection: str | None = None) -> Iterator[DocumentRecord]:
        """All documents, page by page."""
        query = {"collection": collection} if collection else {}
        while True:
            page = self._call("GET", "/documents", params=query)
            yield from page["documents"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def document(self, document_id: str) -> DocumentRecord:
        document: DocumentRecord = self._call("GET", f"/documents/{document_id}")
        return document

    def document_text(self, document_id: str) -> str:
        """The normalised text that the offsets of quotes refer to."""
        return str(self._call("GET", f"/documents/{document_id}/text")["text"])

    def delete_document(self, document_id: str) -> None:
        self._call("DELETE", f"/documents/{document_id}")

    def follow(self, document_ids: Iterable[str]) -> Iterator[DocumentRecord]:
        """Each document again and again, until it is `ready` or `failed`."""
        unfinished = list(dict.fromkeys(document_ids))
        while unfinished:
            for document_id in unfinished[:_FOLLOWED_AT_ONCE]:
                document = self.document(document_id)
                if document["status"] in FINISHED:
                    unfinished.remove(document_id)
                yield document
            if unfinished:
                time.sleep(_POLL_SECONDS)

    def collections(self) -> list[CollectionRecord]:
        collections: list[CollectionRecord] = self._call("GET", "/collections")["collections"]
        return collections

    def create_collection(self, name: str) -> CollectionRecord:
        collection: CollectionRecord = self._call("POST", "/collections", json={"name": name})
        return collection

    def delete_collection(self, name: str) -> None:
        self._call("DELETE", f"/collections/{name}")

    def search(self, query: str, *, collection: str, top_k: int | None = None) -> list[PassageRecord]:
        body = _without_none({"query": query, "collection": collection, "top_k": top_k})
        passages: list[PassageRecord] = self._call("POST", "/search", json=body)["passages"]
        return passages

    def ask(
        self, question: str, *, collection: str, top_k: int | None = None, mode: Mode | None = None
    ) -> Iterator[AskEvent]:
        """The answer as it is written. The last event is `Done`; an answer that breaks off raises `ClientError`."""
        body = {"question": question, "collection": collection, "top_k": top_k, "mode": mode, "stream": True}
        try:
            with self._http.stream("POST", "/ask", json=_without_none(body)) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                for name, data in read_events(response.iter_bytes()):
                    match name:
                        case "sources":
                            yield Sources(data["passages"])
                        case "delta":
                            yield Delta(data["text"])
                        case "citation":
                            yield CitationFound(data)
                        case "done":
                            yield Done(data)
                            return
                        case "error":
                            raise ClientError(data["error"]["message"])
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        raise ClientError("The server ended its answer too early.")

    def answer(
        self, question: str, *, collection: str, top_k: int | None = None, mode: Mode | None = None
    ) -> AnswerRecord:
        """The whole answer at once."""
        body = {"question": question, "collection": collection, "top_k": top_k, "mode": mode, "stream": False}
        answer: AnswerRecord = self._call("POST", "/ask", json=_without_none(body))
        return answer

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise _refusal(response)
        return response.json() if response.content else None

    def _unreachable(self, error: httpx.TransportError) -> ClientError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return ServerNotRunning(f"No Footnote server answers at {self.url}. Start one with: footnote serve")
        return ClientError(f"The connection to {self.url} broke: {error or type(error).__name__}")


def read_events(chunks: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """Server-sent events as (name, decoded JSON), however the bytes were cut on their way."""
    name, data = "message", []
    for line in _lines(chunks):
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:"))
        elif not line:
            if data:
                yield name, json.loads("\n".join(data))
            name, data = "message", []


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    # Not `str.splitlines`: it also cuts at U+2028 and its like, which JSON text may hold.
    pending = b""
    for chunk in chunks:
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()


def _refusal(response: httpx.Response) -> ClientError:
    try:
        return ClientError(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ClientError(f"The server answered {response.status_code} {response.reason_phrase}.")


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
