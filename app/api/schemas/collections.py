"""Collections and their settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, Field, FiniteFloat, StringConstraints

from app.answering.features import NAMES
from app.api.schemas.wire import ChunkOverlapTokens, ChunkTokens, CollectionName, JsonObject, TopK, Wire
from app.store.prompts import PromptVersion
from app.types import Collection, Quantization, Strategy, Unsupported

LanguageTag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
_Word = Annotated[str, StringConstraints(max_length=1000)]
_Scalar = _Word | bool | int | float
_List = Annotated[list[_Scalar], Field(max_length=100)]
_FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Metadata = Annotated[dict[_FieldName, _Scalar | _List], Field(max_length=100)]


def _known_feature(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"there is no such feature; known are {', '.join(NAMES)}")
    return name


FeatureName = Annotated[str, AfterValidator(_known_feature)]


class Example(Wire):
    """A question with the answer that the model should imitate."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    answer: Annotated[str, StringConstraints(min_length=1, max_length=8000)]


class SamplingSettings(Wire):
    """How the language model draws its tokens; null means the engine's default."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    stop: list[str] | None = None
    extra: JsonObject = Field(default_factory=dict)  # top_k, min_p, repetition_penalty, seed, …


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

    # Templates over `collection`, `language`, `today` and `metadata`; the second one, which ends the prompt, also has
    # `question`.
    system_prompt: str | None = Field(None, max_length=20_000)
    question_template: str | None = Field(None, max_length=20_000)
    language: LanguageTag | None = None  # of answers; null: the question's own
    metadata: Metadata = Field(default_factory=dict)  # what templates may tell of the collection
    examples: list[Example] = Field(default_factory=list, max_length=20)
    top_k: TopK | None = None
    candidates: int | None = Field(None, ge=10, le=1000)
    rerank_budget_ms: float | None = Field(None, ge=0, le=60_000)  # then the fused order is used
    strategy: Strategy | None = None
    agent_steps: int | None = Field(None, ge=1, le=30)  # turns of the language model
    agent_tokens: int | None = Field(None, ge=1000, le=1_000_000)  # of its prompts and turns together
    dense_weight: float | None = Field(None, ge=0, le=1)
    model: ModelName | None = None  # for a request that names none: for example a LoRA adapter of the server's
    sampling: SamplingSettings | None = None  # for what a request leaves open
    unsupported: Unsupported | None = None  # sentences of an answer: kept with their verdict, marked, removed
    answer_threshold: float | None = Field(None, ge=0, le=1)
    calibration: Calibration | None = None
    quantization: Quantization | None = None
    keep_versions: int | None = Field(None, ge=0, le=100)  # earlier ones of each document
    keep_answers_days: int | None = Field(None, ge=0, le=3650)  # outside of conversations; 90, and 0 keeps none
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


class PromptVersionOut(Wire):
    """What the language model was told from some moment on."""

    version: int
    current: bool
    system_prompt: str | None
    question_template: str | None
    examples: list[Example]
    language: str | None
    created_at: datetime

    @classmethod
    def of(cls, version: PromptVersion, *, current: bool) -> Self:
        return cls(version=version.number, current=current, created_at=version.created_at, **version.content)


class PromptsOut(Wire):
    prompts: list[PromptVersionOut]
