"""One model for many threads: loaded in the background, fed in batches, with a memory for queries."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from app.cores import available_cores
from app.embedding.protocol import Embedder, Vector, Vectors
from app.errors import EmbedderUnavailable

logger = logging.getLogger(__name__)

_CACHED_QUERIES = 4096
_QUERIES_TOGETHER = 128
_MOST_PATIENCE_SECONDS = 0.01
_BUSY = 3  # requests a core, from which on nobody is answered sooner for not waiting
_LEAST_SLICE = 8  # texts: fewer fill a pass badly


@dataclass(slots=True)
class _Request:
    texts: list[str]
    is_query: bool
    result: Future[Vectors]


class BatchingEmbedder:
    """An embedder that loads in the background, joins the texts of concurrent callers, and remembers queries.

    A thread takes whatever is waiting, up to a few batches, so a lone query waits for nobody and many callers share one
    pass; for documents there are as many threads as the model likes. Supervised: if loading fails, `problem` says why
    and so does every call.
    """

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load = load
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._loaded = threading.Event()
        self._embedder: Embedder | None = None
        self._problem: str | None = None
        self._is_closed = False
        self._is_for_queries = False
        self._busy = _BUSY * available_cores()
        self._asking = 0  # requests that are under way
        self._idle = 0  # threads that wait for a request
        self._idle_lock = threading.Lock()
        self._closing = threading.Lock()
        self._cache: OrderedDict[str, Vector] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._threads = [threading.Thread(target=self._load_and_run, name="embedder", daemon=True)]

    def start(self, *, for_queries: bool = False) -> None:
        """Begin to load, `for_queries` with what only the first of them pays; returns at once."""
        self._is_for_queries = for_queries
        self._threads[0].start()

    def close(self) -> None:
        """Finish what is waiting, then stop; later calls raise `EmbedderUnavailable`."""
        with self._closing:
            self._is_closed = True
            self._requests.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    @property
    def is_ready(self) -> bool:
        return self._loaded.is_set() and self._problem is None

    @property
    def problem(self) -> str | None:
        """Why the model could not be loaded."""
        return self._problem

    def wait(self, timeout_seconds: float | None = None) -> Embedder:
        """The loaded embedder. Raises `EmbedderUnavailable`."""
        if not self._loaded.wait(timeout_seconds):
            raise EmbedderUnavailable
        if self._problem:
            raise EmbedderUnavailable(self._problem)
        assert self._embedder is not None  # noqa: S101 - loaded without a problem
        return self._embedder

    @property
    def name(self) -> str:
        return self.wait().name

    @property
    def dimension(self) -> int:
        return self.wait().dimension

    @property
    def shorter_dimensions(self) -> Collection[int]:
        return self.wait().shorter_dimensions

    @property
    def max_tokens(self) -> int:
        return self.wait().max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.wait().count_tokens(texts)

    def coverage(self, text: str) -> float:
        return self.wait().coverage(text)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return self._submit(texts, is_query=False)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        known = self._recall(texts)
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            found = dict(zip(missing, self._submit(missing, is_query=True), strict=True))
            self._remember(found)
            known |= found
        return np.stack([known[text] for text in texts]) if texts else np.empty((0, self.dimension), np.float32)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around the whole of a request that embeds a query, so that it is known how busy we are.

        For the one thread of an event loop.
        """
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    async def embed_query(self, text: str) -> Vector:
        """The same for one query, without a thread that waits for it."""
        known = self._recall([text])
        if text not in known:
            await self._until_loaded()
            [request] = self._enqueue([text], is_query=True)
            known[text] = (await asyncio.wrap_future(request.result))[0]
            self._remember(known)
        return known[text]

    async def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """`embed_documents` of a few, without a thread that waits for them."""
        await self._until_loaded()
        parts = [await asyncio.wrap_future(request.result) for request in self._enqueue(texts, is_query=False)]
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), np.float32)

    async def _until_loaded(self) -> None:
        if not self._loaded.is_set():
            await asyncio.to_thread(self.wait)

    def _recall(self, texts: Sequence[str]) -> dict[str, Vector]:
        with self._cache_lock:
            known = {text: self._cache[text] for text in texts if text in self._cache}
            for text in known:
                self._cache.move_to_end(text)
        return known

    def _remember(self, vectors: Mapping[str, Vector]) -> None:
        with self._cache_lock:
            self._cache.update(vectors)
            while len(self._cache) > _CACHED_QUERIES:
                self._cache.popitem(last=False)

    def _submit(self, texts: Sequence[str], *, is_query: bool) -> Vectors:
        # Texts of one length share a pass: padding is wasted work.
        by_length = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        requests = self._enqueue([texts[at] for at in by_length], is_query=is_query)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        if requests:
            vectors[by_length] = np.concatenate([request.result.result() for request in requests])
        return vectors

    def _enqueue(self, texts: Sequence[str], *, is_query: bool) -> list[_Request]:
        embedder = self.wait()
        most = _QUERIES_TOGETHER if is_query else embedder.batch_size
        # In slices, so that a long document does not keep the others waiting, and every thread has one.
        share = -(-len(texts) // len(self._threads))
        size = min(max(share, _LEAST_SLICE), most)
        slices = [list(texts[i : i + size]) for i in range(0, len(texts), size)]
        requests = [_Request(part, is_query, Future()) for part in slices]
        with self._closing:
            if self._is_closed:
                raise EmbedderUnavailable("The embedding model was stopped.")
            for request in requests:
                self._requests.put(request)
        return requests

    @property
    def batch_size(self) -> int:
        return self.wait().batch_size

    @property
    def passes_at_once(self) -> int:
        return self.wait().passes_at_once

    def _load_and_run(self) -> None:
        try:
            self._embedder = self._load()
            if self._is_for_queries:
                self._embedder.embed_queries(["warm"])
            else:
                self._add_threads(self._embedder.passes_at_once - 1)
        except Exception as error:
            logger.exception("the embedding model could not be loaded")
            self._problem = str(error) or type(error).__name__
        self._loaded.set()
        self._run()

    def _add_threads(self, count: int) -> None:
        with self._closing:
            if not self._is_closed:
                more = [threading.Thread(target=self._run, name="embedder", daemon=True) for _ in range(count)]
                self._threads += more
                for thread in more:
                    thread.start()

    def _run(self) -> None:
        expected, patience = 1, 0.0
        while (request := self._next()) is not None:
            together, stop = self._gather(request, expected, patience)
            started = time.monotonic()
            for is_query in (True, False):  # a person waits for a query
                self._answer([r for r in together if r.is_query is is_query], is_query=is_query)
            patience = min(time.monotonic() - started, _MOST_PATIENCE_SECONDS)
            expected = max(sum(r.is_query for r in together), expected - 1)
            if stop:
                break
        self._requests.put(None)  # for the next thread

    def _gather(self, first: _Request, expected: int, patience: float) -> tuple[list[_Request], bool]:
        """The request and those behind it; and whether the end came with them.

        While we are busy, whoever is being answered is soon followed by somebody else, and one pass for all takes less
        of the cores than many small ones: so wait for as many queries as are under way, or were together last time, but
        no longer than that pass took.
        """
        together = [first]
        expected = max(expected, self._asking)
        if expected < self._busy:
            patience = 0.0
        deadline = time.monotonic() + patience
        most = _QUERIES_TOGETHER if first.is_query else self.batch_size
        # What another thread waits for is left to it.
        while not self._idle and sum(len(r.texts) for r in together) < most:
            is_waiting = first.is_query and len(together) < expected
            try:
                following = self._requests.get(timeout=max(0.0, deadline - time.monotonic()) if is_waiting else 0.0)
            except queue.Empty:
                break
            if following is None:
                return together, True
            together.append(following)
        return together, False

    def _next(self) -> _Request | None:
        with self._idle_lock:
            self._idle += 1
        try:
            return self._requests.get()
        finally:
            with self._idle_lock:
                self._idle -= 1

    def _answer(self, requests: list[_Request], *, is_query: bool) -> None:
        # From here on nobody can cancel them; who did so before has left.
        requests = [request for request in requests if request.result.set_running_or_notify_cancel()]
        if not requests:
            return
        try:
            embedder = self.wait()
            embed = embedder.embed_queries if is_query else embedder.embed_documents
            vectors = embed([text for request in requests for text in request.texts])
        except Exception as error:
            for request in requests:
                request.result.set_exception(error)
            return
        at = 0
        for request in requests:
            request.result.set_result(vectors[at : at + len(request.texts)])
            at += len(request.texts)
