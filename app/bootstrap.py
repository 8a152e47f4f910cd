"""Settings → wired parts: the only place where implementations are chosen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from app.answering.answerer import Answerer
from app.answering.dialogue import Dialogue
from app.answering.openai_generator import OpenAIGenerator
from app.config import Settings
from app.embedding import Embedders, load_embedder
from app.projection import Projection
from app.retrieval.pipeline import Retriever
from app.store.blobs import BlobStore
from app.store.collections import ensure_default_collection
from app.store.database import Database, open_database


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


def build_core(settings: Settings) -> Core:
    """Open the store; no model loads before `embedders.start()`."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = open_database(settings)
    with database.write() as connection:
        ensure_default_collection(connection, time.time())
    batch_size = settings.embedding_batch_size
    return Core(
        settings=settings,
        database=database,
        blobs=BlobStore(settings.blobs_dir),
        projection=Projection(database, settings.index_dir, clustered_from=settings.index_clustered_from),
        embedders=Embedders(
            settings.embedding_model,
            lambda model: load_embedder(model, device=settings.embedding_device, batch_size=batch_size),
            batch_size=batch_size,
        ),
    )


def build_retriever(core: Core) -> Retriever:
    """Both search legs over the core's parts."""
    return Retriever(
        database=core.database,
        projection=core.projection,
        embedders=core.embedders,
        top_k=core.settings.top_k,
        candidates=core.settings.candidates,
    )


def build_dialogue(core: Core, retriever: Retriever, client: httpx.AsyncClient) -> Dialogue:
    """With a language model where one is configured; without, answers are extractive."""
    generator = OpenAIGenerator(client, core.settings) if core.settings.llm_base_url else None
    answerer = Answerer(retriever=retriever, generator=generator, settings=core.settings)
    return Dialogue(answerer=answerer, database=core.database, writer=generator)
