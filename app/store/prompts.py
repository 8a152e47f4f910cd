"""The versions of a collection's prompt: which there were, and the way back to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from app.errors import PromptNotFound
from app.store import collections
from app.store.tables import prompts
from app.types import Collection

# The settings that make up the prompt, with what they are where nobody has set them.
_PARTS: Mapping[str, Any] = {"system_prompt": None, "question_template": None, "examples": [], "language": None}


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """What the language model was told from some moment on."""

    number: int
    content: Mapping[str, Any]
    created_at: datetime


def list_prompts(connection: Connection, collection_id: str) -> list[PromptVersion]:
    """Newest first: the one in use. Empty while the collection has the built-in prompt."""
    query = select(prompts).where(prompts.c.collection_id == collection_id).order_by(prompts.c.version.desc())
    return [
        PromptVersion(row.version, row.content, datetime.fromtimestamp(row.created_at, UTC))
        for row in connection.execute(query)
    ]


def get_prompt(connection: Connection, collection: Collection, number: int) -> PromptVersion:
    """Raises `PromptNotFound`."""
    for version in list_prompts(connection, collection.id):
        if version.number == number:
            return version
    raise PromptNotFound(f"The prompt of {collection.name!r} has no version {number}.")


def change_settings(
    connection: Connection, collection: Collection, settings: Mapping[str, Any], now: float
) -> Collection:
    """Replace a collection's settings; another prompt among them becomes its newest version."""
    changed = collections.change_settings(connection, collection.name, settings, now)
    record_prompt(connection, changed, collection.settings, now)
    return changed


def record_prompt(connection: Connection, collection: Collection, before: Mapping[str, Any], now: float) -> None:
    """Make a version of the collection's prompt where it is another one than `before`, its settings until now."""
    old, new = _prompt(before), _prompt(collection.settings)
    if old == new:
        return
    kept = list_prompts(connection, collection.id)
    last = kept[0].number if kept else 0
    if not kept and old != _PARTS:  # it is older than the versions are
        last += 1
        _insert(connection, collection.id, last, old, now)
    _insert(connection, collection.id, last + 1, new, now)


def _prompt(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings.get(name) or default for name, default in _PARTS.items()}


def _insert(connection: Connection, collection_id: str, version: int, content: Mapping[str, Any], now: float) -> None:
    values = {"collection_id": collection_id, "version": version, "content": dict(content), "created_at": now}
    connection.execute(insert(prompts).values(values))
