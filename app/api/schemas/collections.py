"""Collections and their settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, Field, FiniteFloat, StringConstraints

from app.answering.features import NAMES
from app.api.schemas.wire import ChunkOverlapTokens, ChunkTokens, CollectionName, TopK, Wire
from app.types import Collection, Quantization


def _known_feature(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"there is no such feature; known are {', '.join(NAMES)}")
    return name


FeatureName = Annotated[str, AfterValidator(_known_feature)]


class Example(Wire):
    """A question with the answer that the model should imitate."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    answer: Annotated[str, StringConstraints(min_length=1, max_length=8000)]


class LogisticModel(Wire):
    """Of `confidence`: `1 / (1 + exp(-(constant + Σ weight × feature)))`."""

    constant: FiniteFloat
    weights: dict[FeatureName, FiniteFloat] = Field(default_factory=dict)


class Calibration(Wire):
    """What `footnote calibrate` found for a collection. Of no effect beside another embedding model than it was made
    with, or once `confidence` goes by other features."""

    features: int  # the version of the features
    embedding_model: str
    spaced: LogisticModel | None = None  # for questions in languages with spaces between words; null: as shipped
    cjk: LogisticModel | None = None  # for questions in Chinese, Japanese and Korean


class CollectionSettings(Wire):
    """What a collection does its own way; null means the server's default."""

    system_prompt: str | None = Field(None, max_length=20_000)
    examples: list[Example] = Field(default_factory=list, max_length=20)
    top_k: TopK | None = None
    candidates: int | None = Field(None, ge=10, le=1000)
    dense_weight: float | None = Field(None, ge=0, le=1)
    answer_threshold: float | None = Field(None, ge=0, le=1)
    calibration: Calibration | None = None
    quantization: Quantization | None = None
    keep_versions: int | None = Field(None, ge=0, le=100)  # earlier ones of each document
    chunk_tokens: ChunkTokens | None = None  # of documents that are uploaded from now on
    chunk_overlap_tokens: ChunkOverlapTokens | None = None


class CollectionIn(Wire):
    name: CollectionName
    settings: CollectionSettings = Field(default_factory=CollectionSettings)


class CollectionChange(Wire):
    settings: CollectionSettings


class CollectionOut(Wire):
    id: str
    name: str
    embedding_model: str | None
    documents: int
    settings: CollectionSettings
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, collection: Collection, documents: int) -> Self:
        return cls(
            id=collection.id,
            name=collection.name,
            embedding_model=collection.embedding_model,
            documents=documents,
            settings=CollectionSettings.model_validate(dict(collection.settings)),
            created_at=collection.created_at,
            updated_at=collection.updated_at,
        )


class CollectionsOut(Wire):
    collections: list[CollectionOut]
