"""A conversation as Markdown with footnotes, for a file that may be opened anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from app.answering.citations import MARKER
from app.store.answers import StoredAnswer
from app.store.conversations import Conversation
from app.types import Citation

# What Markdown takes for its own. Documents and models are not trusted with a reader's browser: no links, images, HTML.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!$^])")
_BLOCK = re.compile(r"^(\s*)([-+=>]|\d+[.)])(?=\s|$)", re.MULTILINE)


class ExportFormat(StrEnum):
    """What a conversation may be exported as."""

    JSON = "json"
    MARKDOWN = "markdown"


def to_markdown(conversation: Conversation, turns: Sequence[StoredAnswer]) -> str:
    """Questions as headings, answers as they were given, a footnote for each source."""
    title = _line(conversation.title) or "…"
    about = f"{conversation.collection} · {conversation.created_at:%F %R} – {conversation.updated_at:%F %R} UTC"
    parts = [f"# {title}", _line(about), *(_turn(turn) for turn in turns)]
    return "\n\n".join(parts) + "\n"


def _turn(turn: StoredAnswer) -> str:
    cited: dict[int, list[Citation]] = {}
    for citation in turn.answer.citations:
        cited.setdefault(citation.marker, []).append(citation)
    parts = [f"## {turn.turn}. {_line(turn.answer.question)}", _answer(turn, cited)]
    if turn.answer.is_partial:
        parts.append("*(broken off)*")
    if len(turn.answer.citations) < turn.citation_count:
        parts.append("*(cites a document that has been deleted)*")
    parts += [f"{_label(turn, marker)}: {_footnote(found)}" for marker, found in sorted(cited.items())]
    return "\n\n".join(parts)


def _answer(turn: StoredAnswer, cited: dict[int, list[Citation]]) -> str:
    text = turn.answer.text
    written, at = "", 0
    for match in MARKER.finditer(text):
        markers = [int(number) for number in re.findall(r"\d+", match[1])]
        labels = "".join(_label(turn, marker) for marker in markers if marker in cited)
        written += _escaped(text[at : match.start()]) + labels
        at = match.end()
    return written + _escaped(text[at:])


def _footnote(found: Sequence[Citation]) -> str:
    first = found[0]
    page = f", page {first.page}" if first.page is not None else ""
    quotes = " … ".join(dict.fromkeys(_line(citation.quote) for citation in found))
    return f"{_line(first.filename)}{page}: “{quotes}”"


def _label(turn: StoredAnswer, marker: int) -> str:
    return f"[^{turn.turn}-{marker}]"


def _line(text: str) -> str:
    return _escaped(" ".join(text.split()))


def _escaped(text: str) -> str:
    return _BLOCK.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", text))
