"""Settings → wired parts: the only place where implementations are chosen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import httpx

from app.answering.answerer import Answerer
from app.answering.inspection import Inspector
from app.answering.openai_generator import OpenAIGenerator
from app.answering.second_opinion import SecondOpinion
from app.config import Settings
from app.embedding import CrossEncoderScorer, Embedders, load_embedder
from app.embedding.entailment import CrossEncoderEntailment
from app.projection import Projection
from app.retrieval.pipeline import Retriever
from app.retrieval.reading import Reader
from app.retrieval.reranking import Reranker
from app.store.blobs import BlobStore
from app.store.collections import ensure_default_collection
from app.store.database import Database, open_database

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Core:
    """What server and worker share: the truth, its projection, and the embedding models."""

    settings: Settings
    database: Database
    blobs: BlobStore
    projection: Projection
    embedders: Embedders

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.embedders.close()
        self.database.close()


def build_core(settings: Settings, on_loaded: Callable[[], None] = lambda: None) -> Core:
    """Open the store; no model loads before `embedders.start()`. `on_loaded` is told of each that was."""
    for name in settings.unknown_variables:
        logger.warning("%s is no setting and changes nothing: see the table of settings in the README.", name)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = open_database(settings)
    with database.write() as connection:
        ensure_default_collection(connection, time.time())
    return Core(
        settings=settings,
        database=database,
        blobs=BlobStore(settings.blobs_dir),
        projection=Projection(database, settings.index_dir, clustered_from=settings.index_clustered_from),
        embedders=Embedders(
            settings.embedding_model,
            lambda model: _told(
                load_embedder(model, device=settings.embedding_device, batch_size=settings.embedding_batch_size),
                on_loaded,
            ),
        ),
    )


def build_reranker(settings: Settings, on_loaded: Callable[[], None] = lambda: None) -> Reranker | None:
    """Where a model is configured; it loads when it is started."""
    model = settings.rerank_model
    if model is None:
        return None
    return Reranker(lambda: _told(CrossEncoderScorer(model, device=settings.embedding_device), on_loaded))


def build_retriever(core: Core, reranker: Reranker | None = None) -> Retriever:
    """Both search legs over the core's parts."""
    return Retriever(
        database=core.database,
        projection=core.projection,
        embedders=core.embedders,
        top_k=core.settings.top_k,
        reranker=reranker,
    )


def build_inspector(core: Core, retriever: Retriever) -> Inspector:
    """Over the same searches that answers are made from."""
    return Inspector(database=core.database, projection=core.projection, embedders=core.embedders, retriever=retriever)


def build_answerer(
    core: Core,
    retriever: Retriever,
    generator: OpenAIGenerator | None,
    second_opinion: SecondOpinion | None = None,
) -> Answerer:
    """Without a language model, answers are extractive."""
    return Answerer(
        retriever=retriever,
        generator=generator,
        settings=core.settings,
        reader=Reader(core.database),
        second_opinion=second_opinion,
    )


def build_generator(settings: Settings, client: httpx.AsyncClient) -> OpenAIGenerator | None:
    """The language model that is configured; None where none is."""
    return OpenAIGenerator(client, settings) if settings.llm_base_url else None


def build_second_opinion(settings: Settings, on_loaded: Callable[[], None] = lambda: None) -> SecondOpinion | None:
    """Where a model is configured; it begins to load."""
    model = settings.entailment_model
    if model is None:
        return None
    return SecondOpinion(lambda: _told(CrossEncoderEntailment(model, device=settings.embedding_device), on_loaded))


def _told(model: T, on_loaded: Callable[[], None]) -> T:
    on_loaded()
    return model
