"""One frozen `Settings`, read once from the environment (prefix `FOOTNOTE_`) and an optional `.env` file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.types import PdfEngine

DEFAULT_EMBEDDING_MODEL = "all-MiniLM-L6-v2"
_OTHER_VARIABLES = ("FOOTNOTE_PUBLISH", "FOOTNOTE_FAILPOINT", "FOOTNOTE_TEST_")  # of compose, and of tests
DEFAULT_CLUSTERED_FROM = 100_000  # measured: docs/decisions/0010


class ParseLimits(BaseModel):
    """What reading one file may cost; a document that costs more fails with a reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(120.0, gt=0)
    cpu_seconds: float = Field(120.0, gt=0)
    memory_bytes: int = Field(1024 * 1024 * 1024, gt=0)
    open_files: int = Field(64, ge=16)  # the interpreter needs some itself
    output_bytes: int = Field(128 * 1024 * 1024, gt=0)  # of the text that was found, with its structure
    pages: int = Field(5000, gt=0)


class LlmTimeouts(BaseModel):
    """How long to wait for the language model's server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_seconds: float = Field(3.0, gt=0)
    first_token_seconds: float = Field(60.0, gt=0)
    token_seconds: float = Field(20.0, gt=0)  # between two
    total_seconds: float = Field(600.0, gt=0)  # for one generation


class AdmissionLimits(BaseModel):
    """How many questions a language model is given, by each process of the server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    running: int = Field(64, ge=1)  # at once; fewer while the engine says that it has too much to do
    waiting: int = Field(128, ge=0)
    seconds: float = Field(15.0, gt=0)  # that each may wait


class Settings(BaseSettings):
    """Everything an operator can set. The README's table is this class in prose."""

    model_config = SettingsConfigDict(
        env_prefix="FOOTNOTE_",
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,  # compose passes `NAME=` for what the operator left blank
        extra="ignore",
        frozen=True,
    )

    # Where things are
    data_dir: Path = Path("data")
    database_url: str | None = None  # default: SQLite in data_dir

    # The server
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()  # comma-separated
    max_upload_bytes: int = Field(50 * 1024 * 1024, gt=0)
    fetch_urls: bool = False  # documents may be named by URL: the server then makes requests to the internet
    shutdown_grace_seconds: float = Field(10.0, ge=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    # Embedding
    embedding_model: str = DEFAULT_EMBEDDING_MODEL  # the bundled one, a path, or a name on a hub
    embedding_device: str = "auto"  # auto, cpu, cuda, mps
    embedding_batch_size: int | None = Field(None, gt=0)  # default: as fits the device

    # Chunks, in tokens of the embedder
    chunk_tokens: int = Field(200, ge=32)
    chunk_overlap_tokens: int = Field(40, ge=0)

    # Retrieval
    top_k: int = Field(6, ge=1, le=50)
    rerank_model: str | None = None  # a cross-encoder: a path, or a name on a hub; none: the fused order is used

    # Chunks of a segment; smaller ones are searched exactly
    index_clustered_from: int = Field(DEFAULT_CLUSTERED_FROM, ge=1000)

    # Generation: no base URL means extractive answers
    llm_base_url: str | None = None
    llm_model: str | None = None  # default: the first that the server lists
    llm_api_key: SecretStr | None = None
    llm_context_tokens: int | None = Field(None, gt=0)  # where the server does not tell its window
    llm_timeouts: LlmTimeouts = LlmTimeouts()  # FOOTNOTE_LLM_TIMEOUTS__CONNECT_SECONDS and so on
    admission: AdmissionLimits = AdmissionLimits()  # FOOTNOTE_ADMISSION__RUNNING and so on
    # Confidence below it: "your documents do not say". A wrong refusal costs as much as 13 wrong tries: 1 / (1 + 13).
    answer_threshold: float = Field(0.07, ge=0, le=1)

    entailment_model: str | None = None  # a cross-encoder that judges answers, too: a path, or a name on a hub

    # The worker
    worker_concurrency: int = Field(4, ge=1, le=64)
    lease_seconds: float = Field(30.0, gt=0)
    max_attempts: int = Field(4, ge=1)
    parse_limits: ParseLimits = ParseLimits()  # FOOTNOTE_PARSE_LIMITS__SECONDS and so on
    pdf_engine: PdfEngine = PdfEngine.DEFAULT

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def unknown_variables(self) -> list[str]:
        """What is set in the environment under our prefix and is no setting: a slip, or a name of an older version."""
        known = {f"FOOTNOTE_{name}".upper() for name in type(self).model_fields}
        ours = (name for name in map(str.upper, os.environ) if name.startswith("FOOTNOTE_"))
        return sorted(
            name for name in ours if name.split("__")[0] not in known and not name.startswith(_OTHER_VARIABLES)
        )

    @property
    def index_dir(self) -> Path:
        return self.data_dir / "index"

    @property
    def blobs_dir(self) -> Path:
        return self.data_dir / "blobs"

    @property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'footnote.db'}"
