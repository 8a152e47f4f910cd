"""Making a prompt fit the model's real window, so that no engine ever has to refuse one for its length."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.answering.generation import Task
from app.answering.memory import choose
from app.answering.prompt import Earlier, build_messages
from app.types import Message, Passage

Messages = list[dict[str, str]]

# Room kept for the answer: as the request asks, but never more than half of the window; else a good paragraph or two.
_ANSWER_SHARE = 0.5
_DEFAULT_ANSWER_TOKENS, _DEFAULT_ANSWER_SHARE = 512, 0.25
_HISTORY_SHARE = 0.25  # of the prompt: the newest turns, and what is recalled of the others
_TEMPLATE_TOKENS = 16  # a chat template's own, around each message
_PIECE = re.compile(r"[A-Za-z]+|\n| +|[\x00-\x7f]|[^\x00-\x7f]+")


@dataclass(frozen=True, slots=True)
class Draft:
    """What a prompt would hold: the question, and as much as there is room for of everything else."""

    task: Task
    passages: tuple[Passage, ...]
    history: tuple[Message, ...]
    earlier: tuple[Earlier, ...] = ()

    def messages(self) -> Messages:
        return build_messages(self.task, self.passages, self.history, self.earlier)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits a window."""

    draft: Draft
    messages: Messages
    room: int  # tokens left for the answer


Count = Callable[[Messages], Awaitable[int | None]]


async def fit(task: Task, window: int, count: Count) -> Fitted:
    """Messages that leave room for an answer in a window of that many tokens.

    `count` asks the engine's own tokenizer, and gives None where it has none. The passages lose their neighbours, the
    lowest first; then the oldest turns and the lowest passages are dropped, whole, until the rest fits. A question that
    is too long by itself loses its end.
    """
    room = min(_DEFAULT_ANSWER_TOKENS, int(window * _DEFAULT_ANSWER_SHARE))
    if task.sampling.max_tokens is not None:
        room = min(task.sampling.max_tokens, int(window * _ANSWER_SHARE))
    budget = window - room
    chosen = choose(task.history, task.question, int(budget * _HISTORY_SHARE), count_message)
    draft = Draft(task, task.evidence.passages, chosen.recent, chosen.earlier)
    messages = draft.messages()
    if _most(messages) <= budget:
        return Fitted(draft, messages, room)  # no tokenizer could make more of it: no need to ask
    size, exact = await _size(messages, count)
    scale = 1.0
    reductions = _reductions(draft)
    while size > budget:
        # The engine is asked again only when the estimate, corrected by its last word, says that the draft fits.
        scale = size / estimate(messages) if exact else 1.0
        for draft in reductions:
            messages = draft.messages()
            if estimate(messages) * scale <= budget:
                break
        else:
            break
        size, exact = await _size(messages, count)
    return Fitted(draft, messages, room)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a language model would be asked, and what of it there was no room for."""

    task: Task
    prompt: Fitted
    model: str | None
    window: int
    tokens: int  # of the prompt
    is_exact: bool  # by the model's own tokenizer
    query: str = ""  # what was searched for


async def preview(task: Task, model: str | None, window: int, count: Count) -> Preview:
    """The prompt for a task, counted."""
    prompt = await fit(task, window, count)
    tokens, is_exact = await _size(prompt.messages, count)
    return Preview(task, prompt, model, window, tokens, is_exact)


async def no_tokenizer(messages: Messages) -> None:
    """A `count` where there is none."""


def count_message(text: str) -> int:
    """Tokens of a message of its own, by estimate."""
    return estimate([{"content": text}])


def estimate(messages: Sequence[Mapping[str, str]]) -> int:
    """Tokens of a prompt without its tokenizer, rather too many than too few.

    A vocabulary that lacks a Chinese character spells it in its three UTF-8 bytes, a token each. English words take a
    token for every three letters at most in any vocabulary made for English.
    """
    return sum(_TEMPLATE_TOKENS + sum(map(_piece_tokens, _PIECE.findall(turn["content"]))) for turn in messages)


def _piece_tokens(piece: str) -> int:
    if not piece.isascii():
        return len(piece.encode())
    if piece.isspace():
        return 0 if piece == " " else 1
    return -(-len(piece) // 3)


def _most(messages: Messages) -> int:
    """What no tokenizer that works on bytes can exceed: a token a byte."""
    return sum(_TEMPLATE_TOKENS + len(turn["content"].encode()) for turn in messages)


async def _size(messages: Messages, count: Callable[[Messages], Awaitable[int | None]]) -> tuple[int, bool]:
    counted = await count(messages)
    return (estimate(messages), False) if counted is None else (counted, True)


def _reductions(draft: Draft) -> Iterator[Draft]:
    """Ever smaller drafts, each with the thing left out that would be missed least: first what was joined on."""
    for at in reversed(range(len(draft.task.narrow))):
        passages = (*draft.passages[:at], draft.task.narrow[at], *draft.passages[at + 1 :])
        yield (draft := replace(draft, passages=passages))
    while len(draft.passages) > 1:
        yield (draft := replace(draft, passages=draft.passages[:-1]))
    yield (draft := replace(draft, earlier=(), task=replace(draft.task, summary=None)))
    yield (draft := replace(draft, history=()))
    yield (draft := replace(draft, task=replace(draft.task, examples=())))
    yield (draft := replace(draft, task=replace(draft.task, called=())))
    yield (draft := replace(draft, passages=()))
    while len(draft.task.question) > 1:
        shorter = draft.task.question[: len(draft.task.question) // 2]
        yield (draft := replace(draft, task=replace(draft.task, question=shorter)))
