"""Vector stores, which are collections, and search in them."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND
from app.api.file_search import FileSearch, merged
from app.api.routes.collections import delete_whole
from app.api.schemas.openai_files import Deleted, ListOut, page_query
from app.api.schemas.openai_vector_stores import (
    StoreSearchIn,
    StoreSearchOut,
    VectorStoreChange,
    VectorStoreIn,
    VectorStoreOut,
)
from app.errors import InvalidRequest
from app.store import vector_stores
from app.store.attachments import attach
from app.store.paging import PageQuery
from app.store.vector_stores import VectorStore, collection_id_of

router = APIRouter()

_LONGEST_QUERY = 20_000


@router.post("/vector_stores", responses=NOT_FOUND)
def create_store(body: VectorStoreIn, services: ServicesDep) -> VectorStoreOut:
    """A collection, with files that are put into it at once."""
    body.check()
    chunking = body.chunking_strategy.chunking() if body.chunking_strategy else None
    now = time.time()
    with services.core.database.write() as connection:
        store = vector_stores.create_store(connection, body.name or "", body.description, body.metadata or {}, now)
        for file_id in body.file_ids:
            attach(connection, store.collection.id, file_id, attributes=None, chunking=chunking, now=now)
        return VectorStoreOut.of(vector_stores.get_store(connection, store.collection.id))


@router.get("/vector_stores")
def list_stores(services: ServicesDep, page: Annotated[PageQuery, Depends(page_query)]) -> ListOut[VectorStoreOut]:
    """All collections, newest first."""
    after, before = (cursor and collection_id_of(cursor) for cursor in (page.after, page.before))
    with services.core.database.read() as connection:
        found, has_more = vector_stores.list_stores(connection, PageQuery(page.limit, page.newest_first, after, before))
    return ListOut[VectorStoreOut].of([VectorStoreOut.of(store) for store in found], has_more)


@router.get("/vector_stores/{store_id}", responses=NOT_FOUND)
def read_store(store_id: str, services: ServicesDep) -> VectorStoreOut:
    """One of them, with how far its files have come."""
    return VectorStoreOut.of(find_store(services, store_id))


@router.post("/vector_stores/{store_id}", responses=NOT_FOUND)
def change_store(store_id: str, body: VectorStoreChange, services: ServicesDep) -> VectorStoreOut:
    """Change its name for display, or its metadata; the collection keeps its name."""
    body.check()
    changes = body.model_dump(include={"name", "metadata"}, exclude_unset=True)
    changes = {
        name: value if value is not None else {"name": "", "metadata": {}}[name] for name, value in changes.items()
    }
    with services.core.database.write() as connection:
        changed = vector_stores.change_store(connection, collection_id_of(store_id), changes, time.time())
    return VectorStoreOut.of(changed)


@router.delete("/vector_stores/{store_id}", responses=NOT_FOUND)
def delete_store(store_id: str, services: ServicesDep) -> Deleted:
    """With everything in it; the files themselves stay."""
    delete_whole(services.core, find_store(services, store_id).collection.name)
    return Deleted(id=store_id, object="vector_store.deleted")


@router.post("/vector_stores/{store_id}/search", responses=NOT_FOUND)
async def search_store(store_id: str, body: StoreSearchIn, services: ServicesDep) -> StoreSearchOut:
    """The passages that fit best; of several queries, each passage once."""
    queries = [body.query] if isinstance(body.query, str) else body.query
    if any(not query.strip() or len(query) > _LONGEST_QUERY for query in queries):
        raise InvalidRequest(f"A query has 1 to {_LONGEST_QUERY:,} characters.", param="query")
    store = await run_in_threadpool(find_store, services, store_id)
    search = FileSearch(
        services,
        [store.collection],
        filters=body.filters,
        most=body.max_num_results,
        score_threshold=body.score_threshold,
    )
    passages = merged([await search(query.strip()) for query in queries], body.max_num_results)
    return StoreSearchOut(search_query=queries, data=[search.found(passage) for passage in passages])


def find_store(services: Services, store_id: str) -> VectorStore:
    """Raises `VectorStoreNotFound`."""
    with services.core.database.read() as connection:
        return vector_stores.get_store(connection, collection_id_of(store_id))
