"""The tool calls of a streamed turn: pieces → calls → arguments that can be trusted to be a JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from app.answering.chat_stream import CallPiece
from app.answering.generation import ToolCall
from app.errors import InvalidRequest

_MOST_CALLS = 16  # of one turn; a model that calls for ever is cut off by its tokens, and no sooner by us
_MOST_CHARACTERS = 20_000  # of one call's arguments


class CallCollector:
    """Puts the pieces of a turn's calls together, in the order in which the calls began."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}
        self._newest = -1

    def add(self, pieces: Iterable[CallPiece]) -> None:
        """Take up what one event brought. A piece without a number belongs to the newest call, unless it names one."""
        for piece in pieces:
            at = piece.index
            if at is None:
                begins = self._newest < 0 or (piece.name is not None and piece.id != self._call(self._newest)["id"])
                at = self._newest + 1 if begins else self._newest
            if at not in self._calls and len(self._calls) >= _MOST_CALLS:
                continue
            self._newest = max(self._newest, at)
            call = self._call(at)
            call["id"] = call["id"] or piece.id or ""
            call["name"] = call["name"] or piece.name or ""
            call["arguments"] = (call["arguments"] + piece.arguments)[:_MOST_CHARACTERS]

    def collected(self) -> tuple[ToolCall, ...]:
        """The calls, each with an id: an answer must name one."""
        return tuple(
            ToolCall(call["id"] or f"call_{at}", call["name"], call["arguments"])
            for at, call in sorted(self._calls.items())
        )

    def _call(self, at: int) -> dict[str, str]:
        return self._calls.setdefault(at, {"id": "", "name": "", "arguments": ""})


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The arguments as an object. Raises `InvalidRequest` with words for the model."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The arguments are not valid JSON.") from error
    if not isinstance(arguments, dict):
        raise InvalidRequest("The arguments must be a JSON object.")
    return arguments
