"""Text → vectors: sentence-transformers behind a small protocol, batched over threads, loaded off the request path."""

from app.embedding.batching import BatchingEmbedder
from app.embedding.models import load_embedder
from app.embedding.protocol import Embedder, Vector, Vectors

__all__ = ["BatchingEmbedder", "Embedder", "Vector", "Vectors", "load_embedder"]
