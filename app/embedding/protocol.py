"""What the rest of Footnote knows of an embedding model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]  # shape (dimension,)
Vectors = npt.NDArray[np.float32]  # shape (texts, dimension), each row of unit length


class Embedder(Protocol):
    """A model that maps texts of any length to vectors of unit length. Every method may be called in any thread."""

    @property
    def name(self) -> str:
        """As recorded with the collection."""

    @property
    def dimension(self) -> int: ...

    @property
    def shorter_dimensions(self) -> Collection[int]:
        """What its vectors may be cut to: of a Matryoshka model, which says so itself. Usually none."""

    @property
    def max_tokens(self) -> int:
        """What is longer is cut."""

    @property
    def passes_at_once(self) -> int:
        """How many threads should embed documents at the same time: with one more, each would only be slower."""

    @property
    def batch_size(self) -> int:
        """How many documents a pass should have: with more it would be no quicker."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors: ...

    def embed_queries(self, texts: Sequence[str]) -> Vectors: ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Without the special tokens that the model adds."""

    def coverage(self, text: str) -> float:
        """The share of the text's tokens that the model knows, 0 to 1: an English model must not judge Chinese."""
