"""The tools that a language model may call while it gathers passages: `search` and `read`.

What they return is text of documents that anyone may have written. It stands in the same frame as the passages of a
prompt, under a key of its own for each question. `read` opens only documents in which a search has found something, so
a request's filters hold for it too.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from app.answering.events import Action, Step
from app.answering.gathering import Search, fuse_passages
from app.answering.generation import ToolCall
from app.answering.prompt import framed, passage_block
from app.answering.terms import recall, weighted_terms
from app.answering.tool_calls import arguments_of
from app.errors import InvalidRequest
from app.index.analysis import analyse
from app.retrieval.pipeline import Retrieval
from app.retrieval.reading import Reader
from app.types import Passage

_MOST_QUERY_CHARACTERS = 500
_MOST_SHOWN = 5  # arguments of a call that could not be done
_READ_SCORE = 0.5  # of a passage that was read and not found, and as much again for the question's own words in it

TOOLS: Sequence[dict[str, Any]] = (
    {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Search the documents. Finds the passages that match a short query best.",
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "What to look for: one thing at a time, a few words."}
                },
                "required": ["query"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "read",
            "description": "Read on in the document of a passage that was found: what stands around the passage, one "
            "page, or the document's outline (its headings, with their pages).",
            "parameters": {
                "type": "object",
                "properties": {
                    "passage": {"type": "integer", "description": "The number of the passage."},
                    "what": {"type": "string", "enum": ["neighbours", "page", "outline"]},
                    "page": {"type": "integer", "description": "Which page; only with what = page."},
                },
                "required": ["passage", "what"],
            },
        },
    },
)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call: in a message for the model, and in a few words for whoever watches."""

    content: str
    action: Action
    arguments: dict[str, Any]
    outcome: str
    found: int = 0
    new: int = 0

    def step(self, number: int) -> Step:
        """The same as an event."""
        return Step(number, self.action, self.arguments, self.outcome, self.found, self.new)


@dataclass
class Notebook:
    """Everything that was found for one question: passages are numbered from 1 in the order in which they came."""

    question: str
    search: Search
    reader: Reader
    key: str = field(default_factory=lambda: secrets.token_hex(6))
    searches: list[Retrieval] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)  # by chunk
    _read: dict[str, Passage] = field(default_factory=dict)  # by chunk: read, and found by no search
    _done: set[tuple[str, str]] = field(default_factory=set)

    async def call(self, call: ToolCall) -> ToolResult:
        """Do what a model asks for; whatever is wrong with the call is told to it. Raises what `search` raises."""
        try:
            arguments = arguments_of(call)
        except InvalidRequest as error:
            return _refused(call.name, {}, error.message)
        once = (call.name, json.dumps(arguments, sort_keys=True))
        if once in self._done:
            return _refused(call.name, arguments, "You have made this very call before.")
        self._done.add(once)
        try:
            if call.name == "search":
                return await self.search_for(_text(arguments, "query"))
            if call.name == "read":
                return await self._read_on(arguments)
        except InvalidRequest as error:
            return _refused(call.name, arguments, error.message)
        return _refused(call.name, arguments, f"There is no tool {call.name[:50]!r}; there are `search` and `read`.")

    async def search_for(self, query: str) -> ToolResult:
        """Search, and note what was found."""
        found = await self.search(query)
        self.searches.append(found)
        return self._noted(found.passages, Action.SEARCH, {"query": query})

    def best(self, limit: int) -> list[Passage]:
        """The best of all passages, best first."""
        found = fuse_passages(self.searches)
        known = {passage.chunk_id for passage in found}
        wanted = weighted_terms(self.question)
        read = [
            replace(passage, score=_READ_SCORE * (1 + recall(wanted, analyse(passage.text))))
            for chunk, passage in self._read.items()
            if chunk not in known
        ]
        return sorted([*found, *read], key=lambda passage: -passage.score)[:limit]

    async def _read_on(self, arguments: dict[str, Any]) -> ToolResult:
        number, what, page = arguments.get("passage"), arguments.get("what"), arguments.get("page")
        if not isinstance(number, int) or not 1 <= number <= len(self.passages):
            raise InvalidRequest(f"`passage` must be the number of a passage, 1 to {len(self.passages)}.")
        passage = self.passages[number - 1]
        shown = {"document": passage.filename, "what": what}
        if what == "outline":
            headings = await self.reader.outline(passage)
            lines = [
                " › ".join(heading.path) + (f", page {heading.page}" if heading.page else "") for heading in headings
            ]
            text = framed("outline", "\n".join(lines), self.key) if lines else "This document has no headings."
            return ToolResult(text, Action.READ, shown, f"{len(lines)} headings.")
        if what == "neighbours":
            found = await self.reader.neighbours(passage)
        elif what == "page":
            if not isinstance(page, int) or page < 1:
                raise InvalidRequest("`page` must be a number from 1.")
            shown["page"] = page
            found = await self.reader.page(passage, page)
        else:
            raise InvalidRequest("`what` must be `neighbours`, `page` or `outline`.")
        for each in found:
            self._read.setdefault(each.chunk_id, each)
        return self._noted(found, Action.READ, shown)

    def _noted(self, found: Sequence[Passage], action: Action, arguments: dict[str, Any]) -> ToolResult:
        new = [passage for passage in found if passage.chunk_id not in self._numbers]
        for passage in new:
            self.passages.append(passage)
            self._numbers[passage.chunk_id] = len(self.passages)
        blocks = [passage_block(self._numbers[passage.chunk_id], passage, self.key) for passage in new]
        before = [str(self._numbers[passage.chunk_id]) for passage in found if passage not in new]
        if before:
            blocks.append(f"Seen before: {', '.join(before)}.")
        outcome = f"{len(found)} passages, {len(new)} of them new." if found else "Nothing was found."
        return ToolResult("\n\n".join(blocks) or outcome, action, arguments, outcome, len(found), len(new))


def _refused(name: str, arguments: dict[str, Any], message: str) -> ToolResult:
    action = Action.READ if name == "read" else Action.SEARCH
    shown = {
        key[:50]: value if isinstance(value, int | float) else str(value)[:200] for key, value in arguments.items()
    }
    return ToolResult(f"Error: {message}", action, dict(islice(shown.items(), _MOST_SHOWN)), message)


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(f"`{name}` must be a text.")
    return value.strip()[:_MOST_QUERY_CHARACTERS]
