"""The tables. Times are seconds since the epoch, UTC; a collection's changes are numbered by its `sequence`."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows by itself only in a column declared INTEGER.
_RowId = BigInteger().with_variant(Integer, "sqlite")

collections = Table(
    "collections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("space", Integer),  # of its embeddings: the one that answers; null until something was embedded
    Column("next_space", Integer),  # the one that a reindex is making
    Column("settings", JSON, nullable=False),
    # Numbers every change of what can be found: chunks added, versions made live, versions removed. Taken under the
    # row's lock, so a change with a smaller number is never committed after one with a larger.
    Column("sequence", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

# A collection's chunks may be embedded by several models: by the one that answers, by those before it, and by the one
# that a reindex is bringing.
spaces = Table(
    "spaces",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # 1, 2, 3, …
    Column("model", Text, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("is_chosen", Boolean, nullable=False),  # by a reindex: it answers whatever model is configured
    Column("retired_at", Double),  # when another one took over
    PrimaryKeyConstraint("collection_id", "number"),
)

# Deleted documents, for whoever follows the collection at that moment.
deletions = Table(
    "deletions",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("deleted_at", Double, nullable=False),
    Column("document_id", Text, nullable=False),
    PrimaryKeyConstraint("collection_id", "deleted_at", "document_id"),
    sqlite_with_rowid=False,
)

documents = Table(
    "documents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("external_id", Text),
    Column("version", Integer, nullable=False),  # the newest
    Column("live_version", Integer),  # the one that answers; null until the first is ready
    Column("sequence", BigInteger, nullable=False, server_default="0"),  # when what can be found of it changed last
    Column("status", Text, nullable=False),
    Column("stage_done", Integer, nullable=False, default=0),
    Column("stage_total", Integer, nullable=False, default=0),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("metadata", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("collection_id", "external_id"),
    Index(None, "collection_id", "created_at", "id"),
    Index(None, "collection_id", "sequence"),
    Index(None, "status"),
)

versions = Table(
    "versions",
    metadata,
    Column("document_id", Text, ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("filename", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("pages", Integer),
    Column("first_chunk", BigInteger),  # its chunks are first_chunk … first_chunk + chunk_count - 1
    Column("chunk_count", Integer, nullable=False, default=0),
    Column("created_at", Double, nullable=False),
    Column("text", Text),  # normalised; what all offsets refer to
    Column("warnings", JSON),
    Column("is_retired", Boolean, nullable=False, server_default=false()),  # it answered once; the index has none of it
    Column("kept_embeddings", Integer, nullable=False, server_default="0"),  # of the version before: same text
    Column("signature", LargeBinary),  # of its text: `app.signatures`
    PrimaryKeyConstraint("document_id", "version"),
    Index(None, "sha256"),
)

# Parts of the signatures of texts: two that are nearly the same share at least one.
bands = Table(
    "bands",
    metadata,
    Column("band", BigInteger, nullable=False),  # a hash of the part, its place, and the collection
    Column("document_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("band", "document_id", "version"),
    ForeignKeyConstraint(["document_id", "version"], ["versions.document_id", "versions.version"], ondelete="CASCADE"),
    Index(None, "document_id", "version"),
    sqlite_with_rowid=False,
)

chunks = Table(
    "chunks",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("id", BigInteger, nullable=False),  # from the collection's sequence: the id in the index
    Column("document_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("page", Integer),
    Column("page_breaks", JSON, nullable=False),
    Column("page_labels", JSON(none_as_null=True)),  # [[page, label]] of those of its pages that are called otherwise
    Column("tokens", Integer, nullable=False),
    Column("headings", JSON, nullable=False),
    Column("header", Text, nullable=False, server_default=text("''")),
    Column("text", Text, nullable=False),
    Column("space", Integer, nullable=False, server_default="1"),  # the one that answered when it was embedded
    Column("embedding", LargeBinary, nullable=False),  # in that space: float16, little-endian
    PrimaryKeyConstraint("collection_id", "id"),
    ForeignKeyConstraint(["document_id", "version"], ["versions.document_id", "versions.version"], ondelete="CASCADE"),
    Index(None, "document_id", "version", "ordinal"),
    CheckConstraint('"end" > start', name="span"),
)

# The embeddings of chunks in other spaces than their own.
embeddings = Table(
    "embeddings",
    metadata,
    Column("collection_id", Text, nullable=False),
    Column("chunk_id", BigInteger, nullable=False),
    Column("space", Integer, nullable=False),
    Column("embedding", LargeBinary, nullable=False),  # float16, little-endian
    PrimaryKeyConstraint("collection_id", "chunk_id", "space"),
    ForeignKeyConstraint(["collection_id", "chunk_id"], ["chunks.collection_id", "chunks.id"], ondelete="CASCADE"),
)

# Versions whose chunks are gone, for the index to take up.
removals = Table(
    "removals",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("first_chunk", BigInteger, nullable=False),
    PrimaryKeyConstraint("collection_id", "sequence"),
)

# One row a value of a document's metadata, lists unfolded and objects flattened to dotted keys, so that filters are
# plain SQL in every database.
metadata_values = Table(
    "metadata_values",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("document_id", Text, ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("text", Text),
    Column("number", Double),
    Column("boolean", Boolean),
    Index(None, "collection_id", "key", "text"),
    Index(None, "collection_id", "key", "number"),
    Index(None, "document_id"),
)

# Files that were uploaded for themselves, as OpenAI has it: any number of collections may hold one as a document.
files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("media_type", Text),  # null: of a kind that cannot be read
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "sha256"),
    Index(None, "created_at", "id"),
)

# What OpenAI knows of a collection and we do not. Every collection is a vector store, with or without such a row.
vector_stores = Table(
    "vector_stores",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, nullable=False),  # for display: any text, and several may have the same
    Column("description", Text),
    Column("metadata", JSON, nullable=False),
)

file_batches = Table(
    "file_batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("is_cancelled", Boolean, nullable=False, server_default=false()),
    Column("created_at", Double, nullable=False),
    Index(None, "collection_id"),
)

# A file in a collection, and the document that it is there. The document has a copy of the file's name and digest, so
# that everything else may take it for one that was uploaded by itself.
attachments = Table(
    "attachments",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("file_id", Text, ForeignKey("files.id"), nullable=False),
    # Null after its batch was cancelled; gone with a document that is deleted otherwise.
    Column("document_id", Text, ForeignKey("documents.id", ondelete="CASCADE"), unique=True),
    Column("batch_id", Text, ForeignKey("file_batches.id", ondelete="CASCADE")),
    Column("chunk_tokens", Integer),  # null: as in the collection
    Column("chunk_overlap_tokens", Integer),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("collection_id", "file_id"),
    Index(None, "file_id"),
    Index(None, "batch_id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("document_id", Text, ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("token", Integer, nullable=False, default=0),  # grows with every claim: the fence
    Column("owner", Text),
    Column("lease_until", Double),
    Column("run_at", Double, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("password", Text),  # that opens the file; erased in the transaction that ends its reading
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("document_id", "version"),
    Index(None, "state", "run_at"),
    sqlite_autoincrement=True,  # an id is never used again: a worker that was away cannot touch another job
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),  # the client's own, or one of ours
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("title", Text, nullable=False),
    Column("turns", Integer, nullable=False),  # the number of the last one
    Column("summary", Text),  # of the first `summarised_turns`
    Column("summarised_turns", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index(None, "collection_id", "updated_at", "id"),
)

# Those that belong to a conversation are its turns and stay as long as it does; the others go after some time.
answers = Table(
    "answers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("conversation_id", Text, ForeignKey("conversations.id", ondelete="CASCADE")),
    Column("turn", Integer),  # 1, 2, 3, … within the conversation
    Column("question", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("answerable", Boolean, nullable=False),
    Column("is_partial", Boolean, nullable=False),  # the model broke off, or the reader left
    Column("mode", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("sentences", JSON, nullable=False),
    Column("unsupported", Integer, nullable=False),  # sentences
    Column("citation_count", Integer, nullable=False),  # when it was given; a deleted document takes its own along
    Column("created_at", Double, nullable=False),
    UniqueConstraint("conversation_id", "turn"),
    Index(None, "collection_id", "created_at"),
)

citations = Table(
    "citations",
    metadata,
    Column("answer_id", Text, ForeignKey("answers.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("marker", Integer, nullable=False),
    Column("document_id", Text, ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("filename", Text, nullable=False),
    Column("page", Integer),
    Column("page_label", Text),
    Column("chunk_id", Text, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("quote", Text, nullable=False),
    Column("score", Double, nullable=False),
    PrimaryKeyConstraint("answer_id", "position"),
    Index(None, "document_id"),
)

# Answers as OpenAI's Responses API gave them. Each may continue another one, so they form trees; of one that is deleted
# since, those that continue it know nothing more.
responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("answer_id", Text, ForeignKey("answers.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("previous_id", Text),
    Column("input", JSON, nullable=False),  # the messages that were sent, the question among them
    Column("details", JSON, nullable=False),  # whatever else the client was told; nothing of a document
)

# What is said of an answer; the last word counts.
feedback = Table(
    "feedback",
    metadata,
    Column("answer_id", Text, ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True),
    Column("rating", Text, nullable=False),
    Column("comment", Text),
    Column("document_id", Text, ForeignKey("documents.id", ondelete="SET NULL")),  # where the right answer stands
    Column("version", Integer),
    Column("start", Integer),
    Column("end", Integer),
    Column("created_at", Double, nullable=False),
    Index(None, "document_id"),
)

# What a collection has told the language model, one row a change; the newest is also among its settings.
prompts = Table(
    "prompts",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),  # 1, 2, 3, …
    Column("content", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("collection_id", "version"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the secret, which is random and long
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)
