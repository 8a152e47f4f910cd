"""Text → vectors: sentence-transformers behind a small protocol, batched over threads, loaded off the request path."""

from app.embedding.batching import BatchingEmbedder
from app.embedding.cross_encoder import CrossEncoderScorer
from app.embedding.models import load_embedder
from app.embedding.protocol import Embedder, Vector, Vectors
from app.embedding.registry import Embedders

__all__ = ["BatchingEmbedder", "CrossEncoderScorer", "Embedder", "Embedders", "Vector", "Vectors", "load_embedder"]
