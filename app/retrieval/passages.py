"""A stored chunk → a passage."""

from __future__ import annotations

from app.store.chunks import StoredChunk
from app.types import Passage, Scores


def passage_of(stored: StoredChunk, *, score: float = 0.0, scores: Scores = Scores()) -> Passage:  # noqa: B008 - frozen
    """The passage that a chunk is; without scores where no search has found it."""
    chunk = stored.chunk
    return Passage(
        document_id=stored.document_id,
        version=stored.version,
        chunk_id=stored.chunk_id,
        filename=stored.filename,
        page=chunk.page,
        headings=chunk.headings,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        score=score,
        scores=scores,
        page_breaks=chunk.page_breaks,
        page_labels=chunk.page_labels,
        header=chunk.header,
    )
