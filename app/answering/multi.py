"""Several searches for one question: for its parts, and for other wordings of it where a language model is at hand."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Sequence

from app.answering.events import Action, Step
from app.answering.gathering import Gathered, Search, Weigh, as_one, fuse_passages
from app.answering.generation import Writer
from app.answering.prompt import clean
from app.answering.splitting import split
from app.errors import GenerationFailed
from app.types import Sampling, Strategy, Usage

logger = logging.getLogger(__name__)

_MOST_REWRITES = 3
_REWRITE_SECONDS = 6.0  # it delays the search; without it the question and its parts are searched for all the same
_REWRITE_TOKENS = 200
_MOST_CHARACTERS = 300  # of a rewrite: a longer one is no query
_BULLET = re.compile(r"^\s*(?:[-*•]|[\[(]?\d{1,2}[.)\]、:：]|[\"“])\s*")

_INSTRUCTIONS = f"""\
You prepare searches in a library of documents. Write at most {_MOST_REWRITES} search queries, one a line, that \
together find what is needed to answer the question: one for each thing that it asks for, or other wordings of it. \
Keep names and numbers as they are, and the language of the question. Write the queries and nothing else."""


async def gather(
    question: str,
    *,
    search: Search,
    weigh: Weigh,
    top_k: int,
    writer: Writer | None,
    model: str | None = None,
    first_step: int = 1,
) -> AsyncGenerator[Step | Gathered, None]:
    """A `Step` for everything that is done, then `Gathered` with the best `top_k` passages of all searches.

    Raises what `search` raises.
    """
    first = await search(question)
    number = first_step
    usage = Usage()
    parts = split(question)
    if len(parts) > 1:
        outcome = f"The question has {len(parts)} parts."
        yield Step(number, Action.SPLIT, {"parts": list(parts)}, outcome)
        number += 1
    rewrites: tuple[str, ...] = ()
    if writer is not None:
        rewrites, usage, outcome = await _rewrite(question, writer, model)
        yield Step(number, Action.REWRITE, {"queries": list(rewrites)}, outcome)
        number += 1
    queries = list(dict.fromkeys([question, *parts, *rewrites]))
    searches = [first, *await asyncio.gather(*(search(query) for query in queries[1:]))]
    seen: set[str] = set()
    for query, found in zip(queries, searches, strict=True):
        chunks = {passage.chunk_id for passage in found.passages}
        new = len(chunks - seen)
        seen |= chunks
        yield Step(number, Action.SEARCH, {"query": query}, _told(len(chunks), new), len(chunks), new)
        number += 1
    by_query = dict(zip(queries, searches, strict=True))
    weighed = parts if len(parts) > 1 else ()
    sure = await asyncio.gather(*(weigh(by_query[part]) for part in weighed))
    yield Gathered(
        retrieval=as_one(searches, fuse_passages(searches)[:top_k]),
        strategy=Strategy.MULTI,
        searches=tuple(searches),
        confidences=dict(zip(weighed, sure, strict=True)),
        usage=usage,
    )


async def _rewrite(question: str, writer: Writer, model: str | None) -> tuple[tuple[str, ...], Usage, str]:
    """Other queries for a question, the tokens that they took, and what came of it in words."""
    messages = [{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": clean(question)}]
    try:
        turn = await writer.turn(
            messages, max_tokens=_REWRITE_TOKENS, seconds=_REWRITE_SECONDS, model=model, sampling=Sampling()
        )
    except GenerationFailed as error:
        logger.info("a question was not rewritten: %s", error)
        return (), Usage(), f"{error.message} The question is searched for as it is."
    rewrites = read_queries(turn.text, question)
    return rewrites, turn.usage, f"{len(rewrites)} other queries." if rewrites else "No usable query came of it."


def read_queries(text: str, question: str) -> tuple[str, ...]:
    """The queries that a model wrote, a line each or as a JSON list; what cannot be one is left out."""
    lines: Sequence[object] = text.splitlines()
    opening, closing = text.find("["), text.rfind("]")
    if 0 <= opening < closing:
        try:
            listed = json.loads(text[opening : closing + 1])
        except (ValueError, RecursionError):
            listed = None
        if isinstance(listed, list) and any(isinstance(each, str) for each in listed):
            lines = listed
    queries = [_BULLET.sub("", line).strip(" \t\"“”'`,") for line in lines if isinstance(line, str)]
    usable = [query for query in queries if any(map(str.isalnum, query)) and len(query) <= _MOST_CHARACTERS]
    return tuple(query for query in dict.fromkeys(usable) if query.casefold() != question.casefold())[:_MOST_REWRITES]


def _told(found: int, new: int) -> str:
    return f"{found} passages, {new} of them new." if found else "Nothing was found."
