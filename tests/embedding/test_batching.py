"""One model for many threads: joined, remembered, and honest about what went wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from app.embedding import BatchingEmbedder, Vectors
from app.embedding.models import HashingEmbedder
from app.errors import ConfigurationError, EmbedderUnavailable
from tests.waiting import wait_until


class CountingEmbedder(HashingEmbedder):
    """Remembers every call, and waits in it for as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.batch_size = 16

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        assert self.gate.wait(20)
        if "poison" in texts:
            raise ValueError("the model choked")
        return super().embed_documents(texts)

    embed_queries = embed_documents


@pytest.fixture
def model() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture
def embedder(model: CountingEmbedder):
    embedder = BatchingEmbedder(lambda: model)
    embedder.start()
    yield embedder
    model.gate.set()
    embedder.close()


def in_threads(*calls: object) -> list[threading.Thread]:
    threads = [threading.Thread(target=call) for call in calls]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    return threads


def test_concurrent_callers_share_a_pass(embedder: BatchingEmbedder, model: CountingEmbedder) -> None:
    """Texts that arrive while the model works go through it together, and everyone gets their own vectors."""
    model.gate.clear()
    results: dict[str, Vectors] = {}
    first = in_threads(lambda: embedder.embed_queries(["first"]))
    wait_until(lambda: model.calls, what="the first call")

    def ask(text: str) -> None:
        results[text] = embedder.embed_queries([text])

    others = in_threads(*(lambda text=f"question {n}": ask(text) for n in range(8)))
    wait_until(lambda: embedder._requests.qsize() == 8, what="the others to queue")
    model.gate.set()
    for thread in [*first, *others]:
        thread.join(20)
    assert len(model.calls) == 2
    for text, vectors in results.items():
        assert np.array_equal(vectors, HashingEmbedder().embed_queries([text]))


def test_a_person_is_served_before_a_document(embedder: BatchingEmbedder, model: CountingEmbedder) -> None:
    """Of what waits together, queries go first, and documents are never mixed with them."""
    model.gate.clear()
    threads = in_threads(lambda: embedder.embed_documents(["first"]))
    wait_until(lambda: model.calls, what="the first call")
    threads += in_threads(lambda: embedder.embed_documents(["document"]))
    wait_until(lambda: embedder._requests.qsize() == 1, what="the document to queue")
    threads += in_threads(lambda: embedder.embed_queries(["query"]))
    wait_until(lambda: embedder._requests.qsize() == 2, what="the query to queue")
    model.gate.set()
    for thread in threads:
        thread.join(20)
    assert model.calls == [["first"], ["query"], ["document"]]


def test_a_repeated_query_is_remembered(embedder: BatchingEmbedder, model: CountingEmbedder) -> None:
    """The same query again costs nothing, twice in one call neither; documents are not remembered."""
    once = embedder.embed_queries(["a", "b", "a"])
    assert np.array_equal(embedder.embed_queries(["a", "b", "a"]), once)
    assert model.calls == [["a", "b"]]
    embedder.embed_documents(["a"])
    embedder.embed_documents(["a"])
    assert len(model.calls) == 3


@pytest.mark.anyio
async def test_a_query_waits_without_a_thread(embedder: BatchingEmbedder, model: CountingEmbedder) -> None:
    """Queries that are awaited share a pass and the memory, and one whose caller has left takes no other along."""
    model.gate.clear()
    first = asyncio.ensure_future(embedder.embed_query("first"))
    await asyncio.to_thread(wait_until, lambda: model.calls)
    left, stays = (asyncio.ensure_future(embedder.embed_query(text)) for text in ("left", "stays"))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    model.gate.set()
    assert np.array_equal(await stays, HashingEmbedder().embed_queries(["stays"])[0])
    assert np.array_equal(await first, await embedder.embed_query("first"))
    assert model.calls == [["first"], ["stays"]]


@pytest.mark.anyio
async def test_texts_wait_without_a_thread(embedder: BatchingEmbedder) -> None:
    """Texts that are awaited are embedded as documents are, however many."""
    texts = [f"text {number}" for number in range(50)]
    assert np.array_equal(await embedder.embed_texts(texts), HashingEmbedder().embed_documents(texts))
    assert (await embedder.embed_texts([])).shape == (0, 64)


def test_a_long_document_is_cut_into_passes(embedder: BatchingEmbedder, model: CountingEmbedder) -> None:
    """Many texts go through in slices, in their order, so that others are not kept waiting."""
    texts = [f"text {number}" for number in range(50)]
    assert np.array_equal(embedder.embed_documents(texts), HashingEmbedder().embed_documents(texts))
    assert max(len(call) for call in model.calls) <= 32
    assert embedder.embed_documents([]).shape == (0, 64)
    assert embedder.embed_queries([]).shape == (0, 64)


def test_documents_are_shared_out_over_threads(model: CountingEmbedder) -> None:
    """A model that is quickest with three passes at once gets three, and the vectors come back in their order."""
    model.passes_at_once = 3
    model.gate.clear()
    texts = [f"text {n}" for n in range(30)]
    embedder = BatchingEmbedder(lambda: model)
    embedder.start()
    results: list[Vectors] = []
    try:
        threads = in_threads(lambda: results.append(embedder.embed_documents(texts)))
        wait_until(lambda: len(model.calls) == 3, what="three passes")
        model.gate.set()
        threads[0].join(20)
    finally:
        model.gate.set()
        embedder.close()
    assert sorted(map(len, model.calls)) == [10, 10, 10]
    assert np.array_equal(results[0], HashingEmbedder().embed_documents(texts))


def test_an_error_reaches_its_caller_alone(embedder: BatchingEmbedder) -> None:
    """A text that the model cannot take fails its call; the next one works."""
    with pytest.raises(ValueError, match="choked"):
        embedder.embed_documents(["poison"])
    assert embedder.embed_documents(["fine"]).shape == (1, 64)


def test_loading_takes_place_in_the_background(model: CountingEmbedder) -> None:
    """`start` returns at once; until the model is there nothing is ready and a wait with a deadline is refused."""
    loading = threading.Event()

    def load() -> CountingEmbedder:
        assert loading.wait(20)
        return model

    embedder = BatchingEmbedder(load)
    embedder.start()
    assert (embedder.is_ready, embedder.problem) == (False, None)
    with pytest.raises(EmbedderUnavailable):
        embedder.wait(0.01)
    loading.set()
    assert embedder.wait(20) is model
    assert embedder.is_ready
    assert (embedder.name, embedder.dimension, embedder.max_tokens) == ("hashing", 64, 256)
    embedder.close()


@pytest.mark.parametrize(
    "error", [ConfigurationError("There is no such model."), RuntimeError("There is no such model.")]
)
def test_a_model_that_cannot_be_loaded_says_why(error: Exception) -> None:
    """The reason is told by `problem`, and by every call, as an error that means "not now"."""

    def load() -> CountingEmbedder:
        raise error

    embedder = BatchingEmbedder(load)
    embedder.start()
    with pytest.raises(EmbedderUnavailable, match="no such model"):
        embedder.embed_queries(["a"])
    assert (embedder.is_ready, embedder.problem) == (False, "There is no such model.")
    embedder.close()


def test_after_its_end_nobody_waits(model: CountingEmbedder) -> None:
    """What waits when it is closed is finished; what comes later is refused instead of waiting for ever."""
    embedder = BatchingEmbedder(lambda: model)
    embedder.start()
    embedder.wait(20)
    embedder.close()
    with pytest.raises(EmbedderUnavailable):
        embedder.embed_queries(["late"])
