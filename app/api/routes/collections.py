"""Create, list, read, change and delete collections."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Response

from app.answering.prompt import require_templates
from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND, ErrorResponse
from app.api.schemas.collections import (
    CollectionChange,
    CollectionIn,
    CollectionOut,
    CollectionsOut,
    PromptsOut,
    PromptVersionOut,
)
from app.bootstrap import Core
from app.errors import Conflict
from app.store import collections, prompts
from app.store.uploads import sweep_blobs

router = APIRouter(prefix="/collections", tags=["collections"])

_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorResponse, "description": "It exists already, or must not be deleted"}
}


@router.post("", status_code=201, responses={**_CONFLICT})
def create_collection(body: CollectionIn, services: ServicesDep) -> CollectionOut:
    """A set of documents that is searched together."""
    now = time.time()
    with services.core.database.write() as connection:
        created = collections.create_collection(connection, body.name, body.settings.model_dump(), now)
        prompts.record_prompt(connection, created, {}, now)
        require_templates(created, {})
    return CollectionOut.of(created, documents=0)


@router.get("")
def list_collections(services: ServicesDep) -> CollectionsOut:
    """All collections, by name."""
    with services.core.database.read() as connection:
        found, counts = collections.list_collections(connection), collections.count_documents(connection)
    return CollectionsOut(collections=[CollectionOut.of(each, counts.get(each.id, 0)) for each in found])


@router.get("/{name}", responses=NOT_FOUND)
def read_collection(name: str, services: ServicesDep) -> CollectionOut:
    """One collection."""
    with services.core.database.read() as connection:
        found, counts = collections.get_collection(connection, name), collections.count_documents(connection)
    return CollectionOut.of(found, counts.get(found.id, 0))


@router.patch("/{name}", responses=NOT_FOUND)
def change_collection(name: str, body: CollectionChange, services: ServicesDep) -> CollectionOut:
    """Change the settings that are given; the others stay. Another prompt is another version of it."""
    with services.core.database.write() as connection:
        before = collections.get_collection(connection, name)
        settings = {**before.settings, **body.settings.model_dump(exclude_unset=True)}
        changed = prompts.change_settings(connection, before, settings, time.time())
        require_templates(changed, before.settings)
        counts = collections.count_documents(connection)
    return CollectionOut.of(changed, counts.get(changed.id, 0))


@router.get("/{name}/prompts", responses=NOT_FOUND)
def list_prompts(name: str, services: ServicesDep) -> PromptsOut:
    """The versions of the prompt (`system_prompt`, `question_template`, `examples`, `language`), newest first."""
    with services.core.database.read() as connection:
        found = prompts.list_prompts(connection, collections.get_collection(connection, name).id)
    return PromptsOut(prompts=[PromptVersionOut.of(each, current=each is found[0]) for each in found])


@router.post("/{name}/prompts/{version}/restore", responses=NOT_FOUND)
def restore_prompt(name: str, version: int, services: ServicesDep) -> CollectionOut:
    """Go back to an earlier prompt, which becomes the newest version."""
    with services.core.database.write() as connection:
        before = collections.get_collection(connection, name)
        settings = {**before.settings, **prompts.get_prompt(connection, before, version).content}
        changed = prompts.change_settings(connection, before, settings, time.time())
        counts = collections.count_documents(connection)
    return CollectionOut.of(changed, counts.get(changed.id, 0))


@router.delete("/{name}", status_code=204, response_class=Response, responses={**NOT_FOUND, **_CONFLICT})
def delete_collection(name: str, services: ServicesDep) -> Response:
    """With all its documents, answers and conversations."""
    delete_whole(services.core, name)
    return Response(status_code=204)


def delete_whole(core: Core, name: str) -> None:
    """The collection with all that belongs to it, its index, and the originals that nobody needs any more."""
    if name == collections.DEFAULT_COLLECTION:
        raise Conflict("The default collection cannot be deleted; delete its documents.")
    with core.database.write() as connection:
        deleted = collections.delete_collection(connection, name)
    core.projection.forget(deleted.id)
    sweep_blobs(core.database, core.blobs)
