"""The embedding models in use: the configured one, and those that a reindex has given to collections."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.embedding.batching import BatchingEmbedder
from app.embedding.protocol import Embedder
from app.errors import EmbeddingModelMismatch
from app.types import Collection


class Embedders:
    """Each model is loaded once, in the background, when it is first wanted."""

    def __init__(self, configured: str, load: Callable[[str], Embedder]) -> None:
        """`load` makes the embedder of a name, and may take seconds."""
        self.configured = configured
        self._load = load
        self._lock = threading.Lock()
        self._for_queries = False
        self._embedders: dict[str, BatchingEmbedder] = {}

    def start(self, *, for_queries: bool = False) -> BatchingEmbedder:
        """Begin to load the configured model; all are for queries, or for documents."""
        self._for_queries = for_queries
        return self.get(self.configured)

    def get(self, model: str) -> BatchingEmbedder:
        """The embedder of that name; it may still be loading."""
        with self._lock:
            embedder = self._embedders.get(model)
            if embedder is None:
                embedder = BatchingEmbedder(lambda: self._load(model))
                embedder.start(for_queries=self._for_queries)
                self._embedders[model] = embedder
            return embedder

    def model_of(self, collection: Collection) -> str:
        """The model for a collection's queries and documents. Raises `EmbeddingModelMismatch`.

        A collection stays with the model that it was embedded with. Where that is not the configured one, only a
        reindex makes it the collection's own: the settings may have been changed by mistake.
        """
        model = collection.embedding_model
        if model is None or model == self.configured:
            return self.configured
        if not collection.is_model_chosen:
            raise EmbeddingModelMismatch(
                f"Collection {collection.name!r} was embedded with {model}; the configured model is {self.configured}. "
                f"Set FOOTNOTE_EMBEDDING_MODEL back, or run `footnote reindex {collection.name} --model MODEL`."
            )
        return model

    def of(self, collection: Collection) -> BatchingEmbedder:
        """The embedder for a collection's queries and documents. Raises `EmbeddingModelMismatch`."""
        return self.get(self.model_of(collection))

    def close(self) -> None:
        """Finish what is waiting, then stop."""
        with self._lock:
            embedders = list(self._embedders.values())
        for embedder in embedders:
            embedder.close()
