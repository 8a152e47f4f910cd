"""Vector stores and what is in them, as OpenAI's clients send and read them. Unknown fields are ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, JsonValue, StringConstraints, model_validator

from app.api.schemas.openai_files import Listed
from app.api.schemas.wire import Filters, Text
from app.errors import InvalidRequest, UnsupportedParameter
from app.store.attachments import Attachment, AttachmentStatus, Chunking, Totals
from app.store.documents import flatten
from app.store.vector_stores import FileBatch, VectorStore
from app.types import Collection, Document

Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]
# Beyond these an integer is no number that a filter can compare; it becomes a float, as in JavaScript.
_Integer = Annotated[int, Field(ge=-(2**53), le=2**53)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Text = Annotated[str, StringConstraints(max_length=512)]
Attributes = Annotated[dict[Key, _Text | bool | _Integer | _Number], Field(max_length=16)]
StoreMetadata = Annotated[dict[Key, _Text], Field(max_length=16)]
Attribute = str | bool | int | float  # in an answer
_MOST_FILES = 2000

# Why a file failed, in the three codes that OpenAI has.
_UNSUPPORTED, _SERVER = {"unsupported_media_type"}, {"worker_lost", "internal_error", "storage_full"}


class StaticSizes(BaseModel):
    """In tokens of the embedder; a model with a smaller window makes smaller chunks."""

    max_chunk_size_tokens: int = Field(ge=100, le=4096)
    chunk_overlap_tokens: int = Field(ge=0)

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.chunk_overlap_tokens > self.max_chunk_size_tokens / 2:
            raise ValueError("chunk_overlap_tokens must not exceed half of max_chunk_size_tokens")
        return self


class ChunkingStrategy(BaseModel):
    type: Literal["auto", "static"]
    static: StaticSizes | None = None

    def chunking(self) -> Chunking | None:
        """None: as the vector store does it. Raises `InvalidRequest`."""
        if self.type == "auto":
            return None
        if self.static is None:
            raise InvalidRequest("A static strategy needs its sizes, in `static`.", param="chunking_strategy")
        return Chunking(self.static.max_chunk_size_tokens, self.static.chunk_overlap_tokens)


class StoreFileIn(BaseModel):
    """A file to be put into a vector store."""

    file_id: str
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None

    def chunking(self) -> Chunking | None:
        return self.chunking_strategy.chunking() if self.chunking_strategy else None


class _Expiring(BaseModel):
    expires_after: JsonValue = None

    def check(self) -> None:
        """A promise that nobody keeps is not taken. Raises `UnsupportedParameter`."""
        if self.expires_after is not None:
            raise UnsupportedParameter(
                "Nothing expires by itself here: leave `expires_after` out, and delete what is no longer needed.",
                param="expires_after",
            )


class VectorStoreIn(_Expiring):
    name: _Text | None = None
    description: Annotated[str, StringConstraints(max_length=4000)] | None = None
    metadata: StoreMetadata | None = None
    file_ids: Annotated[list[str], Field(max_length=_MOST_FILES)] = Field(default_factory=list)
    chunking_strategy: ChunkingStrategy | None = None


class VectorStoreChange(_Expiring):
    name: _Text | None = None
    metadata: StoreMetadata | None = None


class FileCounts(BaseModel):
    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int

    @classmethod
    def of(cls, totals: Totals) -> Self:
        counts = {status.value: totals.counts.get(status, 0) for status in AttachmentStatus}
        return cls(**counts, total=sum(counts.values()))


class VectorStoreOut(Listed):
    """A collection. `collection` is its name here, and `footnote/<collection>` the model that answers from it."""

    object: Literal["vector_store"] = "vector_store"
    created_at: int
    name: str
    description: str | None
    collection: str
    metadata: dict[str, str]
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["in_progress", "completed"]
    expires_after: None = None
    expires_at: None = None
    last_active_at: int

    @classmethod
    def of(cls, store: VectorStore) -> Self:
        counts = FileCounts.of(store.totals)
        return cls(
            id=store.id,
            created_at=int(store.collection.created_at.timestamp()),
            name=store.name,
            description=store.description,
            collection=store.collection.name,
            metadata=dict(store.metadata),
            usage_bytes=store.totals.bytes,
            file_counts=counts,
            status="in_progress" if counts.in_progress else "completed",
            last_active_at=int(store.collection.updated_at.timestamp()),
        )


class LastError(BaseModel):
    code: Literal["server_error", "unsupported_file", "invalid_file"]
    message: str


class SizesOut(BaseModel):
    """A collection's own sizes may be smaller than what OpenAI allows."""

    max_chunk_size_tokens: int
    chunk_overlap_tokens: int


class ChunkingOut(BaseModel):
    type: Literal["static"] = "static"
    static: SizesOut


class StoreFileOut(Listed):
    object: Literal["vector_store.file"] = "vector_store.file"
    created_at: int
    vector_store_id: str
    status: AttachmentStatus
    usage_bytes: int
    last_error: LastError | None
    attributes: dict[str, Attribute]
    chunking_strategy: ChunkingOut

    @classmethod
    def of(cls, attachment: Attachment, store_id: str, default: Chunking) -> Self:
        document, chunking = attachment.document, attachment.chunking or default
        return cls(
            id=attachment.id,
            created_at=int(attachment.created_at.timestamp()),
            vector_store_id=store_id,
            status=attachment.status,
            usage_bytes=document.bytes if document else 0,
            last_error=_last_error(document) if attachment.status is AttachmentStatus.FAILED else None,
            attributes=attributes_of(document.metadata if document else {}),
            chunking_strategy=ChunkingOut(
                static=SizesOut(max_chunk_size_tokens=chunking.tokens, chunk_overlap_tokens=chunking.overlap_tokens)
            ),
        )


class AttributesIn(BaseModel):
    attributes: Attributes | None


class FileBatchIn(BaseModel):
    """Either `file_ids`, with what is common to all, or `files`, each with its own."""

    file_ids: Annotated[list[str], Field(max_length=_MOST_FILES)] | None = None
    files: Annotated[list[StoreFileIn], Field(max_length=_MOST_FILES)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None

    def each(self) -> Sequence[StoreFileIn]:
        """Raises `InvalidRequest`."""
        if (self.file_ids is None) is (self.files is None):
            raise InvalidRequest("A batch needs either `file_ids` or `files`.", param="file_ids")
        files = self.files
        if files is None:
            common: dict[str, Any] = {"attributes": self.attributes, "chunking_strategy": self.chunking_strategy}
            files = [StoreFileIn.model_construct(file_id=file_id, **common) for file_id in self.file_ids or ()]
        if not files:
            raise InvalidRequest("A batch needs a file.", param="file_ids")
        return files


class FileBatchOut(BaseModel):
    id: str
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: Literal["in_progress", "completed", "cancelled"]
    file_counts: FileCounts

    @classmethod
    def of(cls, batch: FileBatch, store_id: str) -> Self:
        counts = FileCounts.of(batch.totals)
        return cls(
            id=batch.id,
            created_at=int(batch.created_at.timestamp()),
            vector_store_id=store_id,
            status="cancelled" if batch.is_cancelled else "in_progress" if counts.in_progress else "completed",
            file_counts=counts,
        )


class ContentPart(BaseModel):
    type: Literal["text"] = "text"
    text: str


class FileContentOut(BaseModel):
    """The text that was read from a file, as one part."""

    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"
    data: list[ContentPart]
    has_more: Literal[False] = False
    next_page: None = None


class RankingOptions(BaseModel):
    """`ranker` and `hybrid_search` are ignored: there is one way to rank here."""

    score_threshold: float | None = Field(None, ge=0, le=1)


class Ranked(BaseModel):
    ranking_options: RankingOptions | None = None

    @property
    def score_threshold(self) -> float | None:
        return self.ranking_options.score_threshold if self.ranking_options else None


class StoreSearchIn(Ranked):
    """`rewrite_query` is ignored: a query is searched for as it is."""

    query: Text | Annotated[list[Text], Field(min_length=1, max_length=10)]
    filters: Filters | None = None
    max_num_results: int = Field(10, ge=1, le=50)


class FoundOut(BaseModel):
    """A passage. `score` is 0 to 1 within one search."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Attribute]
    content: list[ContentPart]


class StoreSearchOut(BaseModel):
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[FoundOut]
    has_more: Literal[False] = False
    next_page: None = None


def attributes_of(metadata: Mapping[str, Any]) -> dict[str, Attribute]:
    """A document's metadata as far as attributes can say it: without lists, objects as dotted keys."""
    return dict[str, Attribute](flatten({key: value for key, value in metadata.items() if not isinstance(value, list)}))


def default_chunking(collection: Collection, tokens: int, overlap_tokens: int) -> Chunking:
    """What a file gets that was attached without a strategy."""
    return Chunking(
        collection.setting("chunk_tokens", tokens), collection.setting("chunk_overlap_tokens", overlap_tokens)
    )


def _last_error(document: Document | None) -> LastError | None:
    if document is None or document.error_code is None:
        return None
    if document.error_code in _UNSUPPORTED:
        return LastError(code="unsupported_file", message=document.error_message or "")
    code: Literal["server_error", "invalid_file"] = "server_error" if document.error_code in _SERVER else "invalid_file"
    return LastError(code=code, message=document.error_message or "")
