"""Embeddings by a collection's own model: what is embedded here fits what is stored there."""

from __future__ import annotations

import base64
from collections.abc import Callable

import numpy as np
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND
from app.api.routes.openai.models import collection_of
from app.api.schemas.openai_embeddings import EmbeddingOut, EmbeddingsIn, EmbeddingsOut, EmbeddingUsage
from app.api.streaming import unless_client_leaves
from app.embedding import Vectors
from app.embedding.batching import BatchingEmbedder
from app.errors import InvalidRequest, UnsupportedParameter

router = APIRouter()

_TEXTS_AT_ONCE = 16  # a question that comes meanwhile is embedded after no more than these


@router.post("/embeddings", response_model=EmbeddingsOut, responses=NOT_FOUND)
async def embed(body: EmbeddingsIn, request: Request, services: ServicesDep) -> Response:
    """Vectors of unit length. Texts are taken for documents, unless `input_type` says that they are queries."""
    texts = body.texts()
    collection = await run_in_threadpool(collection_of, services, body.model)
    embedder = services.core.embedders.of(collection)
    embedder.wait(0)
    tokens = await run_in_threadpool(_count_tokens, embedder, texts)
    dimension = _dimension(embedder, body.dimensions)
    as_queries = body.input_type == "query"
    vectors = await unless_client_leaves(
        request, _embed(embedder.embed_queries if as_queries else embedder.embed_documents, texts)
    )
    found = EmbeddingsOut(
        model=body.model,
        data=[
            EmbeddingOut(index=index, embedding=_encoded(vector, body.encoding_format))
            for index, vector in enumerate(shortened(vectors, dimension))
        ],
        usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
    )
    # Not through the framework, which would look at every number of a batch.
    return Response(found.model_dump_json(), media_type="application/json")


async def _embed(embed: Callable[[list[str]], Vectors], texts: list[str]) -> Vectors:
    starts = range(0, len(texts), _TEXTS_AT_ONCE)
    return np.concatenate([await run_in_threadpool(embed, texts[at : at + _TEXTS_AT_ONCE]) for at in starts])


def _count_tokens(embedder: BatchingEmbedder, texts: list[str]) -> int:
    """Of all texts together. Raises `InvalidRequest` where one is too long."""
    counts = embedder.count_tokens(texts)
    for number, count in enumerate(counts):
        # Cut silently, a vector would stand for something else than its text.
        if count > embedder.max_tokens:
            raise InvalidRequest(
                f"Input {number} has {count} tokens; {embedder.name} reads {embedder.max_tokens} at most.",
                param="input",
            )
    return sum(counts)


def shortened(vectors: Vectors, dimension: int) -> Vectors:
    """The first numbers of each, at unit length again (Kusupati et al. 2022, Matryoshka Representation Learning)."""
    if vectors.shape[1] == dimension:
        return vectors
    heads = vectors[:, :dimension]
    lengths = np.linalg.norm(heads, axis=1, keepdims=True)
    shorter: Vectors = (heads / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return shorter


def _dimension(embedder: BatchingEmbedder, wanted: int | None) -> int:
    if wanted is None or wanted == embedder.dimension:
        return embedder.dimension
    if wanted not in embedder.shorter_dimensions:
        raise UnsupportedParameter(
            f"{embedder.name} was not made to be shortened: its vectors have {embedder.dimension} dimensions."
            if not embedder.shorter_dimensions
            else f"{embedder.name} cannot be shortened to {wanted} dimensions.",
            param="dimensions",
        )
    return wanted


def _encoded(vector: Vectors, encoding_format: str) -> list[float] | str:
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
