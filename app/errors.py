"""Every error that Footnote raises on purpose. A class's docstring is its default message.

    FootnoteError
    ├── InvalidRequest              what was asked cannot be right
    │   ├── InvalidFilter
    │   ├── UnsupportedParameter    OpenAI has it, we do not
    │   ├── InvalidMetadata
    │   ├── EmptyUpload
    │   ├── InvalidTemplate
    │   ├── PreviousResponseNotFound
    │   ├── UrlNotAllowed
    │   └── UrlUnreachable
    ├── Unauthorized
    ├── Forbidden
    │   └── FetchingDisabled
    ├── NotFound
    │   ├── AnswerNotFound
    │   ├── CollectionNotFound
    │   ├── ConversationNotFound
    │   ├── DocumentNotFound
    │   ├── FileNotFound
    │   ├── FileBatchNotFound
    │   ├── VectorStoreNotFound
    │   ├── ModelNotFound
    │   ├── PromptNotFound
    │   ├── ResponseNotFound
    │   ├── VersionNotFound
    │   └── VersionNotReady
    ├── Conflict
    │   ├── CollectionExists
    │   ├── ConversationExists
    │   └── EmbeddingModelMismatch
    ├── PayloadTooLarge
    ├── TooManyRequests             come back in so many seconds
    ├── UnsupportedMediaType
    ├── StorageFull
    ├── Unavailable                 try again later
    │   ├── EmbedderUnavailable
    │   ├── EmbeddingModelChanged
    │   ├── IndexUnavailable
    │   └── GenerationFailed        the language model's server
    │       └── GenerationInterrupted   … after the first token
    ├── ConfigurationError          the operator's settings
    ├── IndexDamaged                a file of the projection is not what was written
    ├── BackupFailed                it could not be made, or is not whole
    ├── LeaseLost                   another worker owns the job now
    └── IngestionError              why a document failed; its message is for a person
        ├── UnreadableDocument
        ├── EncryptedDocument
        ├── EmptyDocument
        └── DocumentTooExpensive

No HTTP here: `app.api.errors` turns each class into a status code.
"""

from __future__ import annotations

import inspect


class FootnoteError(Exception):
    """Something went wrong."""

    code = "internal_error"

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        self.message = message or inspect.getdoc(type(self)) or "Something went wrong."
        self.param = param
        super().__init__(self.message)


class InvalidRequest(FootnoteError):
    """The request is not valid."""

    code = "invalid_request"


class InvalidFilter(InvalidRequest):
    """The filter is not valid."""

    code = "invalid_filter"


class UnsupportedParameter(InvalidRequest):
    """This server does not do that."""

    code = "unsupported_parameter"


class InvalidMetadata(InvalidRequest):
    """Metadata must be a JSON object of strings, numbers, booleans, or lists of them."""

    code = "invalid_metadata"


class EmptyUpload(InvalidRequest):
    """The file is empty."""

    code = "empty_file"


class InvalidTemplate(InvalidRequest):
    """The template is not valid."""

    code = "invalid_template"


class PreviousResponseNotFound(InvalidRequest):
    """There is no such response to continue, or it is no longer kept."""

    code = "previous_response_not_found"


class UrlNotAllowed(InvalidRequest):
    """That URL may not be fetched."""

    code = "url_not_allowed"


class UrlUnreachable(InvalidRequest):
    """That URL could not be fetched."""

    code = "url_unreachable"


class Unauthorized(FootnoteError):
    """A valid API key is needed: send it as `Authorization: Bearer …`."""

    code = "invalid_api_key"


class Forbidden(FootnoteError):
    """A page of another site may not change anything here."""

    code = "forbidden"


class FetchingDisabled(Forbidden):
    """This server fetches nothing from URLs; its operator can allow it with FOOTNOTE_FETCH_URLS=true."""

    code = "fetching_disabled"


class NotFound(FootnoteError):
    """There is no such thing here."""

    code = "not_found"


class AnswerNotFound(NotFound):
    """There is no such answer, or it is no longer kept."""

    code = "answer_not_found"


class CollectionNotFound(NotFound):
    """There is no such collection."""

    code = "collection_not_found"


class ConversationNotFound(NotFound):
    """There is no such conversation."""

    code = "conversation_not_found"


class DocumentNotFound(NotFound):
    """There is no such document."""

    code = "document_not_found"


class FileNotFound(NotFound):
    """There is no such file."""

    code = "file_not_found"


class FileBatchNotFound(NotFound):
    """There is no such batch of files."""

    code = "file_batch_not_found"


class VectorStoreNotFound(NotFound):
    """There is no such vector store."""

    code = "vector_store_not_found"


class ModelNotFound(NotFound):
    """There is no such model."""

    code = "model_not_found"


class PromptNotFound(NotFound):
    """There is no such version of the prompt."""

    code = "prompt_not_found"


class ResponseNotFound(NotFound):
    """There is no such response, or it is no longer kept."""

    code = "response_not_found"


class VersionNotFound(NotFound):
    """There is no such version of the document."""

    code = "version_not_found"


class VersionNotReady(NotFound):
    """The document has no readable version yet."""

    code = "document_not_ready"


class Conflict(FootnoteError):
    """The request conflicts with what is there."""

    code = "conflict"


class CollectionExists(Conflict):
    """A collection of that name already exists."""

    code = "collection_exists"


class ConversationExists(Conflict):
    """A conversation of that id already exists."""

    code = "conversation_exists"


class EmbeddingModelMismatch(Conflict):
    """The collection was embedded with another model than the one that is configured."""

    code = "embedding_model_mismatch"


class PayloadTooLarge(FootnoteError):
    """The upload is larger than the limit."""

    code = "payload_too_large"


class TooManyRequests(FootnoteError):
    """Too many questions are being answered; try again in a moment."""

    code = "too_many_requests"

    def __init__(self, message: str | None = None, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnsupportedMediaType(FootnoteError):
    """This kind of file cannot be read."""

    code = "unsupported_media_type"


class StorageFull(FootnoteError):
    """There is no room left on the server's disk; nothing was stored."""

    code = "storage_full"


class Unavailable(FootnoteError):
    """The service cannot do this right now; try again in a moment."""

    code = "unavailable"


class EmbedderUnavailable(Unavailable):
    """The embedding model is still loading, or could not be loaded."""

    code = "embedder_unavailable"


class EmbeddingModelChanged(Unavailable):
    """The collection has just been given another embedding model."""

    code = "embedding_model_changed"


class IndexUnavailable(Unavailable):
    """The index is being rebuilt."""

    code = "index_unavailable"


class GenerationFailed(Unavailable):
    """The language model did not answer."""

    code = "generation_failed"


class GenerationInterrupted(GenerationFailed):
    """The language model stopped in the middle of its answer."""

    code = "generation_interrupted"


class ConfigurationError(FootnoteError):
    """The configuration is not valid."""

    code = "configuration_error"


class IndexDamaged(FootnoteError):
    """A file of the index is missing or damaged; it will be rebuilt from the database."""

    code = "index_damaged"


class BackupFailed(FootnoteError):
    """The backup could not be made or restored."""

    code = "backup_failed"


class LeaseLost(FootnoteError):
    """Another worker owns this job now, or the document is gone."""

    code = "lease_lost"


class IngestionError(FootnoteError):
    """The document could not be ingested."""

    code = "ingestion_failed"


class UnreadableDocument(IngestionError):
    """The file is damaged, or is not what its name says."""

    code = "unreadable_document"


class EncryptedDocument(IngestionError):
    """The file is password-protected; remove the password and upload it again."""

    code = "password_protected"


class EmptyDocument(IngestionError):
    """No text was found in the file."""

    code = "no_text"


class DocumentTooExpensive(IngestionError):
    """Reading the file took more time or memory than is allowed."""

    code = "limit_exceeded"
