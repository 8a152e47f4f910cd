"""A question of a conversation → one that can be searched for by itself.

"And when?" and "它多高？" say nothing alone. Where a language model is at hand it rewrites them; without one, or where
it fails, the words that they lean on are carried over from the turns before. A question that stands alone stays as it
is: words of an old subject would only lead the search astray.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from app.answering.abstention import is_abstention
from app.answering.citations import MARKER
from app.answering.generation import Writer
from app.answering.prompt import clean, without_markers
from app.answering.terms import has_cjk, weighted_terms
from app.errors import GenerationFailed
from app.index.analysis import CJK, analyse
from app.sentences import split_sentences
from app.types import Message, Usage

logger = logging.getLogger(__name__)

_TURNS = 6  # that a question may lean on, through one another
_CARRIED_WORDS = 12
_SECONDS = 4.0  # for the language model's rewriting: it delays the search
_MOST_TOKENS = 120
_MOST_CHARACTERS = 500  # of a rewritten question
_SHOWN_CHARACTERS = 600  # of each message that the language model sees
_ENOUGH_CONTENT = 2.0  # content words of a question that can stand alone
_ENOUGH_BEFORE = 3.0  # content words before a pronoun that it may refer to: "the bridge that opened when it …"

_PRONOUN = re.compile(
    r"\b(?:it|its|itself|they|them|their|theirs|he|him|his|she|her|hers|this|these|those|there|then|such|former|latter|"
    r"same|ones?|both|either|neither|(?:(?:does|did|do|is|was|can|will|would|about|of|for|after|before|than)\s|^)that)\b",
    re.IGNORECASE,
)
# "Is it true that", "there is", "this year": these refer to nothing before.
_EMPTY_PRONOUN = re.compile(
    r"\b(?:(?:is|was|are|were|does|did) there|there (?:is|was|are|were)|is it (?:true|possible|known|allowed)|"
    r"this (?:year|month|week|document|collection)|one of the)",
    re.IGNORECASE,
)
_ELLIPSIS = re.compile(
    r"^\W*(?:and|but|or|so|also|what about|how about|how come|why(?: not)?\W*$|who else|what else|where else|when else|"
    r"anything else|any others?|tell me more|more|really|else)\b",
    re.IGNORECASE,
)
_CJK_PRONOUN = re.compile(
    r"它们?|他们?(?!人|国)|她们?|牠|其(?!他|它|中|实|实际)|该|此(?!外|前)|这|那|這|前者|后者|後者|上述|同样|同一|对方|當時|当时|当年"
)
_CJK_ELLIPSIS = re.compile(
    r"^\s*(?:那么?|那麼|还有|還有|然后|然後|另外|此外|而且|并且|所以|但是?|可是|不过|再|又|接着|为什么|為什麼|为何|具体|更多|继续)"
    r"|呢[\s？?。]*$"
)
_CJK_FRAME = re.compile(  # what makes a question of a phrase, and says nothing of its subject
    r"请问|請問|什么时候|什麼時候|什么|什麼|甚么|何时|何時|何地|何处|多少|多久|多长|多大|多高|多远|哪里|哪裡|哪儿|哪个|哪個|哪些|哪一?|谁|誰|"
    r"为什么|為什麼|为何|怎么样|怎样|怎么|怎麼|如何|是否|是不是|有没有|有沒有|能不能|可以|几|幾|吗|嗎|呢|吧|啊|了|的|地|得|是|在|有|被|把|和|与|及|"
    r"由|从|對|对|于|也|都|还|還|就|又|再|会|會|那么?|那麼|这些?|那些?|它们?|他们?|她们?|其|该|此|个|個|然后|具体|时候|时间|是谁"
)
_WORD = re.compile(rf"[{CJK}]+|(?:(?![{CJK}])[^\W_])+(?:['’.,-](?:(?![{CJK}])[^\W_])+)*")
_QUOTED = re.compile(r"[“\"「『《]([^”\"」』》]{1,40})[”\"」』》]")
_GIVEN_FRAME = re.compile(
    r"^(?:rewritten question|standalone question|question|改写后的问题|改写|问题)\s*[:：]\s*", re.IGNORECASE
)

_INSTRUCTIONS = (
    "Rewrite the last question of a conversation so that it can be understood without the conversation: put names and "
    "things in place of pronouns and of what is left unsaid. Add nothing else, do not answer it, keep its language. "
    "If it can be understood alone, repeat it unchanged. Write the question and nothing more."
)


async def rewrite(
    question: str, history: Sequence[Message], writer: Writer | None, *, model: str | None = None
) -> tuple[str, Usage]:
    """The question as it is to be searched for, and the tokens that this took."""
    turns = _turns(history)
    if not turns or (stands_alone(question) and _content(question) >= 2 * _ENOUGH_CONTENT):
        return question, Usage()
    carried = carry_over(question, history)
    if writer is None:
        return carried, Usage()
    try:
        turn = await writer.turn(_request(question, turns), max_tokens=_MOST_TOKENS, seconds=_SECONDS, model=model)
    except GenerationFailed as error:
        logger.info("the question was not rewritten by the language model: %s", error)
        return carried, Usage()
    return _usable(turn.text) or carried, turn.usage


def carry_over(question: str, history: Sequence[Message]) -> str:
    """The question behind the words of the last turns that it leans on; as it is where it stands alone."""
    topic, answer = "", ""
    for asked, answered in _turns(history):
        topic, answer = _resolve(asked, topic, answer), answered
    return _resolve(question, topic, answer)


def stands_alone(question: str) -> bool:
    """Whether a question tells by itself what it is about, as far as its words show."""
    if (_CJK_ELLIPSIS if has_cjk(question) else _ELLIPSIS).search(question):
        return False
    pronoun = _pronoun(question)
    if pronoun and _content(question[: pronoun.start()]) < _ENOUGH_BEFORE and not _names(question[: pronoun.start()]):
        return False
    return _content(question) >= _ENOUGH_CONTENT


def _pronoun(question: str) -> re.Match[str] | None:
    if has_cjk(question):
        return _CJK_PRONOUN.search(question)
    return _PRONOUN.search(_EMPTY_PRONOUN.sub(lambda match: " " * len(match.group()), question))


def _resolve(question: str, topic: str, answer: str) -> str:
    """`topic` is the question before, resolved itself; `answer` what was answered to it."""
    if not topic or stands_alone(question):
        return question
    known = set(analyse(question))
    # "What did it cost in 2018?" – "And in 2019?": the new number, or name, takes the place of the old.
    replaced = _numbers(topic) if _numbers(question) else set()
    if _ELLIPSIS.search(question) and _names(question):
        replaced |= _names(topic)
    words = [word for word in content_words(topic) if word not in replaced]
    if _pronoun(question):  # what it stands for may have been named by the answer alone
        words += [word for word in _news(answer, topic) if word not in _numbers(answer)]
    carried = []
    for word in words:
        terms = set(analyse(word))
        if not terms <= known:
            carried.append(word)
            known |= terms
    return " ".join([*carried[:_CARRIED_WORDS], question])


def _turns(history: Sequence[Message]) -> list[tuple[str, str]]:
    """The last questions, each with what was answered."""
    turns: list[tuple[str, str]] = []
    for message in history:
        if message.role == "user":
            turns.append((message.content, ""))
        elif message.role == "assistant" and turns:
            asked, answered = turns[-1]
            turns[-1] = (asked, f"{answered} {message.content}".strip())
    return turns[-_TURNS:]


def _content(text: str) -> float:
    """How many words of content a text has; two Chinese characters count as one."""
    words = content_words(text)
    return sum(len(word) / 2 if has_cjk(word) else 1.0 for word in words)


def content_words(text: str) -> list[str]:
    """The words that tell what a text is about, as they are written; of Chinese the runs between words of grammar."""
    words: list[str] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if has_cjk(word):
            words += [run for run in _CJK_FRAME.split(word) if run]
        elif not _PRONOUN.fullmatch(word) and max(weighted_terms(word).values(), default=0.0) == 1.0:
            words.append(word)
    return list(dict.fromkeys(words))


def _names(text: str) -> set[str]:
    """Capitalised words but the first, and all of them in Chinese."""
    words = [match.group() for match in _WORD.finditer(text)]
    latin = [word for word in (words if has_cjk(text) else words[1:]) if word[0].isupper() and len(word) > 1]
    return {word for word in latin if not _PRONOUN.fullmatch(word)}


def _numbers(text: str) -> set[str]:
    return {match.group() for match in _WORD.finditer(text) if match.group()[0].isdecimal()}


def _news(answer: str, topic: str) -> list[str]:
    """What the first sentence of an answer names that the question did not: names, titles, and short Chinese runs."""
    text = without_markers(answer)
    span = next(split_sentences(text), None)
    if span is None or is_abstention(text[slice(*span)]):
        return []
    sentence = text[slice(*span)]
    words = [match[1] for match in _QUOTED.finditer(sentence)]
    words += [word for word in content_words(sentence) if word in _names(sentence)]
    if has_cjk(sentence):
        known = set(analyse(topic))
        runs = re.split(rf"[^{CJK}]+", sentence)
        words += [run for each in runs for run in _unknown_runs(each, known) if 1 < len(run) <= 6]
    return list(dict.fromkeys(words))[: _CARRIED_WORDS // 2]


def _unknown_runs(text: str, known: set[str]) -> list[str]:
    """The parts of Chinese words that hold no pair of characters that is known."""
    runs: list[str] = []
    for word in (run for run in _CJK_FRAME.split(text) if run):
        kept = [
            " " if word[max(0, at - 1) : at + 1] in known or word[at : at + 2] in known else character
            for at, character in enumerate(word)
        ]
        runs += "".join(kept).split()
    return runs


def _request(question: str, turns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    lines = [
        f"{who}: {' '.join(clean(without_markers(text)).split())[:_SHOWN_CHARACTERS]}"
        for turn in turns
        for who, text in zip(("User", "Assistant"), turn, strict=True)
        if text
    ]
    conversation = "\n".join([*lines, f"Last question: {' '.join(clean(question).split())}"])
    return [{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": conversation}]


def _usable(text: str) -> str | None:
    """The one line that was asked for; None for anything else."""
    line = _GIVEN_FRAME.sub("", text.strip()).strip('"“”「」 ')
    is_one = bool(line) and "\n" not in line and len(line) <= _MOST_CHARACTERS and not MARKER.search(line)
    return line if is_one else None
