"""Documents, their versions and chunks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, SecretStr, StringConstraints

from app.api.schemas.wire import ChunkOverlapTokens, ChunkTokens, CollectionName, Wire, fields_of
from app.types import Document, DocumentStatus, Version

LONGEST_PASSWORD = 255  # characters; a PDF's has 127 bytes at most


# That opens a file; kept until the file was read, and never told again.
Password = Annotated[SecretStr, Field(max_length=LONGEST_PASSWORD)]


class Progress(Wire):
    """How far the newest version has come in its stage."""

    stage: DocumentStatus
    done: int
    total: int


class DocumentProblem(Wire):
    """Why the newest version failed."""

    code: str
    message: str


class DocumentOut(Wire):
    """A document, as of its newest version."""

    id: str
    collection: str
    external_id: str | None
    filename: str
    media_type: str
    bytes: int
    sha256: str
    version: int
    status: DocumentStatus
    progress: Progress
    error: DocumentProblem | None
    pages: int | None
    chunks: int
    metadata: dict[str, JsonValue]
    warnings: list[str]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, document: Document) -> Self:
        return cls(**_document_fields(document))


class UploadedDocument(DocumentOut):
    """An accepted document. `duplicate`: the collection had these bytes already."""

    duplicate: bool

    @classmethod
    def of_upload(cls, document: Document, *, duplicate: bool) -> Self:
        return cls(**_document_fields(document), duplicate=duplicate)


def _document_fields(document: Document) -> dict[str, Any]:
    failed = document.error_code is not None and document.error_message is not None
    return {
        "id": document.id,
        "collection": document.collection,
        "external_id": document.external_id,
        "filename": document.filename,
        "media_type": document.media_type,
        "bytes": document.bytes,
        "sha256": document.sha256,
        "version": document.version,
        "status": document.status,
        "progress": Progress(stage=document.status, done=document.stage_done, total=document.stage_total),
        "error": DocumentProblem(code=document.error_code or "", message=document.error_message or "")
        if failed
        else None,
        "pages": document.pages,
        "chunks": document.chunks,
        "metadata": document.metadata,
        "warnings": list(document.warnings),
        "created_at": document.created_at,
        "updated_at": document.updated_at,
    }


class DocumentsOut(Wire):
    documents: list[DocumentOut]
    next_cursor: str | None


class UploadedDocuments(Wire):
    documents: list[UploadedDocument]


class TextIn(Wire):
    """A note, without a file."""

    text: Annotated[str, StringConstraints(min_length=1)]
    title: Annotated[str, StringConstraints(strip_whitespace=True, max_length=255)] = ""
    media_type: Literal["text/plain", "text/markdown", "text/html"] = "text/plain"
    collection: CollectionName = "default"
    external_id: str | None = Field(None, max_length=255)
    metadata: dict[str, JsonValue] | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Opening hours", "text": "The library opens at nine."}]}
    )


class UrlIn(Wire):
    """A file that the server fetches."""

    url: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4096)]
    collection: CollectionName = "default"
    external_id: str | None = Field(None, max_length=255)
    metadata: dict[str, JsonValue] | None = None
    password: Password | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"url": "https://example.org/report.pdf"}]})


class RetryIn(Wire):
    """What another try may need."""

    password: Password | None = None


class DocumentText(Wire):
    """The live version's normalised text: what every offset refers to."""

    document_id: str
    version: int
    text: str


class VersionOut(Wire):
    """A version of a document. `kept_embeddings`: chunks whose text the version before had already."""

    version: int
    filename: str
    media_type: str
    bytes: int
    sha256: str
    pages: int | None
    chunks: int
    kept_embeddings: int
    live: bool
    created_at: datetime

    @classmethod
    def of(cls, version: Version) -> Self:
        return cls(version=version.number, live=version.is_live, **fields_of(version, "number", "is_live"))


class VersionsOut(Wire):
    document_id: str
    versions: list[VersionOut]


class PreviewedChunk(Wire):
    """A span of a document's text: `text == document text[start:end]`."""

    ordinal: int
    page: int | None
    page_label: str | None
    headings: list[str]
    start: int
    end: int
    tokens: int
    text: str


class ChunkOut(PreviewedChunk):
    """A chunk of a document that was ingested."""

    chunk_id: str


class ChunksOut(Wire):
    document_id: str
    chunks: list[ChunkOut]
    next_cursor: str | None


class PreviewIn(Wire):
    """The fields beside the file; what is not given is as in the collection."""

    collection: CollectionName = "default"
    chunk_tokens: ChunkTokens | None = None
    chunk_overlap_tokens: ChunkOverlapTokens | None = None
    password: Password | None = None


class ChunkPreview(Wire):
    """What a file would become."""

    filename: str
    media_type: str
    pages: int | None
    warnings: list[str]
    chunks: list[PreviewedChunk]
