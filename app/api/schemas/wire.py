"""What all requests and responses are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from app.store.collections import COLLECTION_NAME

T = TypeVar("T")


def _whole_characters(value: T) -> T:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("its text is not valid Unicode") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return value


# A JSON string may hold half a character (a lone surrogate). Any constraint refuses it; a plain `str` takes it.
Text = Annotated[str, StringConstraints(min_length=0)]
AnyJson = Annotated[JsonValue, AfterValidator(_whole_characters)]
JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_whole_characters)]
CollectionName = Annotated[str, StringConstraints(pattern=COLLECTION_NAME)]
# A client's own or ours; it stands in a path, so it has no slash, and is more than dots.
ConversationId = Annotated[
    str, StringConstraints(max_length=255, pattern=r"^[^/\x00-\x1f\x7f]*[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$")
]
# Long enough for any question; a longer text is a document.
Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
TopK = Annotated[int, Field(ge=1, le=50)]
ChunkTokens = Annotated[int, Field(ge=32, le=8192)]
ChunkOverlapTokens = Annotated[int, Field(ge=0, le=8192)]
Filters = JsonObject


class Wire(BaseModel):
    """A request or a response; unknown fields of a request are an error, not a silence."""

    model_config = ConfigDict(extra="forbid")


def fields_of(value: Any, *without: str) -> Mapping[str, Any]:
    """The fields of a slotted dataclass, not copied deep."""
    return {name: getattr(value, name) for name in value.__slots__ if name not in without}
