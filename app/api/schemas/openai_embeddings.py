"""Embeddings, as OpenAI's clients ask for and read them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from app.errors import InvalidRequest, UnsupportedParameter

MOST_INPUTS = 2048


class EmbeddingsIn(BaseModel):
    """`input_type` is no field of OpenAI's: some models read a query otherwise than what it shall find."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"model": "footnote", "input": ["The dome closes at nine."]}]}
    )

    model: str
    input: JsonValue
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    input_type: Literal["query", "document"] = "document"

    def texts(self) -> list[str]:
        """Raises `InvalidRequest`."""
        inputs = self.input if isinstance(self.input, list) else [self.input]
        if not inputs or len(inputs) > MOST_INPUTS:
            raise InvalidRequest(f"`input` is a text, or a list of 1 to {MOST_INPUTS} texts.", param="input")
        if any(isinstance(each, int | list) for each in inputs):
            raise UnsupportedParameter(
                "Send text, not tokens: they are another model's. (With LangChain: check_embedding_ctx_length=False.)",
                param="input",
            )
        texts = [each for each in inputs if isinstance(each, str)]
        if len(texts) != len(inputs) or not all(texts):
            raise InvalidRequest("Each input is a text that is not empty.", param="input")
        return texts


class EmbeddingOut(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str  # in base64: float32, little-endian


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsOut(BaseModel):
    object: Literal["list"] = "list"
    model: str
    data: list[EmbeddingOut]
    usage: EmbeddingUsage
