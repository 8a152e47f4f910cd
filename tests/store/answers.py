"""Answers as they might have been given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from app.store.answers import GivenAnswer
from app.types import Citation, Mode, Sentence, Support
from tests.store.library import NOW


def given(answer_id: str, *, cites: Sequence[str] = (), at: float = NOW, **changes: Any) -> GivenAnswer:
    """An answer that cites these documents, at a time."""
    values: dict[str, Any] = {
        "question": "When does the dome close?",
        "text": "It closes at 15 m/s. [1]",
        "answerable": True,
        "is_partial": False,
        "mode": Mode.EXTRACT,
        "model": "extractive",
        "confidence": 0.75,
        "sentences": (Sentence(0, 20, (1,), Support.SUPPORTED, 1.0),),
        "citations": tuple(citation(document_id, marker) for marker, document_id in enumerate(cites, 1)),
        "created_at": datetime.fromtimestamp(at, UTC),
    }
    return GivenAnswer(id=answer_id, **{**values, **changes})


def citation(document_id: str, marker: int = 1) -> Citation:
    return Citation(marker, document_id, 1, "note.txt", 4, f"{document_id}.1.0", 0, 9, "the dome…", 1.0, "iv")
