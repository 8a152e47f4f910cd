"""The OpenAI-compatible face: a model's name picks the collection, and every collection is a vector store."""

from __future__ import annotations

from fastapi import APIRouter

from app.api.routes.openai import batches, chat, embeddings, files, models, responses, store_files, vector_stores

router = APIRouter(prefix="/v1", tags=["openai"])
for module in (models, chat, embeddings, responses, files, vector_stores, store_files, batches):
    router.include_router(module.router)
