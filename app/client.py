"""A small client of Footnote's own HTTP API, for the command line and the demo."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

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
_POLLING_SHARE = 0.2  # of the time: while thousands are ingested, their list takes the server a while
_FOLLOWED_ONE_BY_ONE = 16  # more documents are looked for in the list
_LISTED_AT_ONCE = 1000
_AT_ONCE = 4  # requests on their way: measured with small files, more gain nothing
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

FINISHED = frozenset({DocumentStatus.READY, DocumentStatus.FAILED})

Item = TypeVar("Item")
Result = TypeVar("Result")


class ClientError(FootnoteError):
    """The server refused the request."""

    code = "client_error"

    def __init__(self, message: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status  # of the HTTP answer, where there was one

    @property
    def is_final(self) -> bool:
        """Whether the same request would be refused again."""
        return self.status is not None and self.status < 500


class ServerNotRunning(ClientError):
    """No Footnote server answers there."""

    code = "server_not_running"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A file to upload, or a URL that the server fetches.

    `name` is for people; `external_id` the document's, which a later upload replaces.
    """

    source: Path | str  # a string is a URL
    name: str
    external_id: str | None = None
    instead_of: tuple[str, ...] = ()  # documents that are deleted just before
    password: str | None = field(default=None, repr=False)  # opens the file if it is encrypted


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

    def upload(self, path: Path, *, collection: str, external_id: str | None = None) -> DocumentRecord:
        """Send one file; the document that it became, or already was (`duplicate`)."""
        with path.open("rb") as file:
            return self._send(file, path.name, collection, external_id=external_id)

    def upload_all(
        self, files: Iterable[Outgoing], *, collection: str
    ) -> Iterator[tuple[Outgoing, DocumentRecord | ClientError | OSError]]:
        """Send many files, several at a time; what became of each, in their order. Raises `ServerNotRunning`."""

        def send(outgoing: Outgoing) -> DocumentRecord:
            if isinstance(outgoing.source, str):
                return self.upload_url(outgoing.source, collection=collection, password=outgoing.password)
            with outgoing.source.open("rb") as file:
                # Only now: a file that cannot be opened costs no document.
                for document_id in outgoing.instead_of:
                    self.discard_document(document_id)
                return self._send(
                    file,
                    outgoing.source.name,
                    collection,
                    external_id=outgoing.external_id,
                    password=outgoing.password,
                )

        return _several_at_once(send, files)

    def discard_all(self, document_ids: Iterable[str]) -> Iterator[tuple[str, ClientError | OSError | None]]:
        """Delete many documents, several at a time. Raises `ServerNotRunning`."""
        return _several_at_once(self.discard_document, document_ids)

    def upload_url(self, url: str, *, collection: str, password: str | None = None) -> DocumentRecord:
        """Let the server fetch a file."""
        body = _without_none({"url": url, "collection": collection, "password": password})
        answer = self._call("POST", "/documents", json=body)
        document: DocumentRecord = answer["documents"][0]
        return document

    def documents(self, *, collection: str | None = None) -> Iterator[DocumentRecord]:
        """All documents, newest first, page by page."""
        query: dict[str, str | int] = {"limit": _LISTED_AT_ONCE}
        if collection:
            query["collection"] = collection
        while True:
            page = self._call("GET", "/documents", params=query)
            yield from page["documents"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def document(self, document_id: str) -> DocumentRecord:
        document: DocumentRecord = self._call("GET", f"/documents/{document_id}")
        return document

    def document_text(self, document_id: str, *, version: int | None = None) -> str:
        """The normalised text that the offsets of quotes refer to."""
        query = _without_none({"version": version})
        return str(self._call("GET", f"/documents/{document_id}/text", params=query)["text"])

    def delete_document(self, document_id: str) -> None:
        self._call("DELETE", f"/documents/{document_id}")

    def discard_document(self, document_id: str) -> None:
        """Delete a document that may be gone already."""
        try:
            self.delete_document(document_id)
        except ClientError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    def follow(self, document_ids: Iterable[str], *, collection: str | None = None) -> Iterator[DocumentRecord]:
        """Each document again and again, until it is `ready`, `failed` or deleted. `collection`: the one of all."""
        unfinished = set(document_ids)
        while unfinished:
            asked_at = time.monotonic()
            unseen = set(unfinished)
            for document in self._look_at(unseen, collection):
                if document["status"] in FINISHED:
                    unfinished.remove(document["id"])
                unseen.remove(document["id"])
                yield document
                if not unseen:
                    break
            unfinished -= unseen  # deleted
            if unfinished:
                seconds = time.monotonic() - asked_at
                time.sleep(max(_POLL_SECONDS, seconds / _POLLING_SHARE - seconds))

    def _look_at(self, document_ids: Collection[str], collection: str | None) -> Iterator[DocumentRecord]:
        """Those of the documents that are still there. The newest come first: of what was just uploaded, no more than
        the list's first pages are read."""
        if len(document_ids) > _FOLLOWED_ONE_BY_ONE:
            yield from (each for each in self.documents(collection=collection) if each["id"] in document_ids)
            return
        for document_id in list(document_ids):
            try:
                yield self.document(document_id)
            except ClientError as error:
                if error.status != httpx.codes.NOT_FOUND:
                    raise

    def collections(self) -> list[CollectionRecord]:
        collections: list[CollectionRecord] = self._call("GET", "/collections")["collections"]
        return collections

    def create_collection(self, name: str) -> CollectionRecord:
        collection: CollectionRecord = self._call("POST", "/collections", json={"name": name})
        return collection

    def collection(self, name: str) -> CollectionRecord:
        collection: CollectionRecord = self._call("GET", f"/collections/{name}")
        return collection

    def change_collection(self, name: str, settings: Mapping[str, Any]) -> CollectionRecord:
        """Change the settings that are given."""
        collection: CollectionRecord = self._call("PATCH", f"/collections/{name}", json={"settings": settings})
        return collection

    def delete_collection(self, name: str) -> None:
        self._call("DELETE", f"/collections/{name}")

    def search(
        self, query: str, *, collection: str, top_k: int | None = None, filters: Mapping[str, Any] | None = None
    ) -> list[PassageRecord]:
        body = _without_none({"query": query, "collection": collection, "top_k": top_k, "filters": filters})
        passages: list[PassageRecord] = self._call("POST", "/search", json=body)["passages"]
        return passages

    def ask(
        self,
        question: str,
        *,
        collection: str,
        top_k: int | None = None,
        mode: Mode | None = None,
        conversation_id: str | None = None,
    ) -> Iterator[AskEvent]:
        """The answer as it is written. The last event is `Done`; an answer that breaks off raises `ClientError`."""
        body = {"question": question, "collection": collection, "top_k": top_k, "mode": mode, "stream": True}
        body |= {"conversation_id": conversation_id}
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
                        case "citation" if data["marker"] is not None:  # null: a sentence without a source
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
        self,
        question: str,
        *,
        collection: str,
        top_k: int | None = None,
        mode: Mode | None = None,
        conversation_id: str | None = None,
        filters: Mapping[str, Any] | None = None,
        explain: bool | None = None,
    ) -> AnswerRecord:
        """The whole answer at once."""
        choices = {"top_k": top_k, "mode": mode, "conversation_id": conversation_id, "filters": filters}
        body = {"question": question, "collection": collection, "stream": False, "explain": explain, **choices}
        answer: AnswerRecord = self._call("POST", "/ask", json=_without_none(body))
        return answer

    def _send(self, file: BinaryIO, filename: str, collection: str, **more: str | None) -> DocumentRecord:
        # A file's name may hold bytes that are no UTF-8; the server shows it, no more.
        name = filename.encode("utf-8", "replace").decode()
        fields = _without_none({"collection": collection, **more})
        answer = self._call("POST", "/documents", files={"file": (name, file)}, data=fields)
        document: DocumentRecord = answer["documents"][0]
        return document

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
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"The server answered {response.status_code} {response.reason_phrase}."
    return ClientError(message, status=response.status_code)


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _several_at_once(
    call: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result | ClientError | OSError]]:
    """Results in the order of the items, and never many items on their way. Errors that concern an item alone are its
    result; `ServerNotRunning` ends it all."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="client") as threads:
        under_way: deque[tuple[Item, Future[Result]]] = deque()

        def result() -> tuple[Item, Result | ClientError | OSError]:
            item, future = under_way.popleft()
            try:
                return item, future.result()
            except ServerNotRunning:
                raise
            except (ClientError, OSError) as error:
                return item, error

        try:
            for item in items:
                under_way.append((item, threads.submit(call, item)))
                if len(under_way) == 2 * _AT_ONCE:
                    yield result()
            while under_way:
                yield result()
        finally:
            threads.shutdown(cancel_futures=True)
