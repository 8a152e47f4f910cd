"""Models, which are collections: `footnote` is the default one, `footnote/NAME` any other."""

from __future__ import annotations

from fastapi import APIRouter

from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND
from app.api.schemas.openai_chat import ModelOut, ModelsOut
from app.errors import CollectionNotFound, ModelNotFound
from app.store.collections import DEFAULT_COLLECTION, get_collection, list_collections
from app.types import Collection

router = APIRouter()

_MODEL = "footnote"


@router.get("/models")
def list_models(services: ServicesDep) -> ModelsOut:
    """`footnote` is the default collection, `footnote/NAME` any other."""
    with services.core.database.read() as connection:
        found = list_collections(connection)
    return ModelsOut(data=[_model(collection) for collection in found])


@router.get("/models/{model:path}", responses=NOT_FOUND)
def read_model(model: str, services: ServicesDep) -> ModelOut:
    """One of them."""
    return _model(collection_of(services, model))


def collection_of(services: Services, model: str) -> Collection:
    """The collection that a model's name picks. Raises `ModelNotFound`."""
    prefix, _, name = model.partition("/")
    try:
        if prefix != _MODEL:
            raise CollectionNotFound
        with services.core.database.read() as connection:
            return get_collection(connection, name or DEFAULT_COLLECTION)
    except CollectionNotFound as error:
        raise ModelNotFound(
            f"There is no model {model!r}; `footnote` and `footnote/<collection>` are.", param="model"
        ) from error


def _model(collection: Collection) -> ModelOut:
    name = _MODEL if collection.name == DEFAULT_COLLECTION else f"{_MODEL}/{collection.name}"
    return ModelOut(id=name, created=int(collection.created_at.timestamp()))
