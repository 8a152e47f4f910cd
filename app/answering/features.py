"""What a question and its passages tell of whether they answer it: numbers for `app.answering.confidence`.

No language model is asked, and the embedder only how near the best sentences come to the question. A term's worth is
its weight times its rarity in the whole collection, so that a name that many documents share says less than one that a
single document holds.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from heapq import nlargest
from itertools import pairwise

from app.answering.evidence import Evidence, EvidenceSentence
from app.answering.terms import NAME, has_cjk, recall, weighted_terms
from app.index.analysis import analyse
from app.retrieval.pipeline import Legs
from app.types import Passage

_CLOSELY_READ = 3  # passages
_NEAR_TERMS, _NEARBY_TERMS = 25, 50  # a long sentence, and two or three
_COMPARED = 3  # sentences
_RUNNERS_UP = 5
_ASKS_WHEN = re.compile(
    r"\bwhen\b|\b(?:what|which) (?:year|date|month|day|century|decade)\b|哪一?[年天日月]|何[时時年]|年份"
    r"|[几幾][年月日号號]|什[么麼](?:时候|時候|时间|時間|日期)",
    re.IGNORECASE,
)
_ASKS_HOW_MANY = re.compile(
    r"\bhow (?:many|much|old|tall|long|far|high|large|big|fast)\b|\bwhat (?:percent|number|percentage)|多少"
    r"|百分之[几幾]|[几幾][个個位次名种種条條所人]",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\d|[一二三四五六七八九十零〇]+[年月日世]|早上|上午|中午|下午|晚上|之[后後]|之前|[时時]期|世[纪紀]"
    r"|\b(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)?days?|weeks?|months?|years?|century|morning|evening|night"
    r"|after|before|during|until|since)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d+|[一二三四五六七八九十百千万萬亿億两兩半零]"
    r"|\b(?:no|none|zero|one|once|two|twice|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty"
    r"|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|millions?|billions?|half|third|dozen|several|few|many)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Features:
    """Shares are of the worth of the question's terms, from 0 to 1. What stands around a passage (file name, headings,
    a table's header) counts as its own."""

    first_passage: float  # share that the first passage holds
    best_passage: float  # share that the passage with the most holds
    best_document: float  # share that the passages of one document hold together
    document_lead: float  # by how much that is more than the next document's; of one document, its passages compared
    all_passages: float  # share that all passages together hold
    first_of_all: float  # as `first_passage`, but by rarity among the passages found
    best_sentence: float  # share that the sentence with the most holds
    adjacent_sentences: float  # share that the best two neighbouring sentences hold
    adjacent_words: float  # the same, every word counting alike whatever its rarity
    near: float  # share that stands within 25 terms, in one of the first three passages, whatever its sentences are
    nearby: float  # the same within 50 terms
    first_nearby: float  # the same in the first passage
    held: float  # logarithm of the worth that the best document holds
    lacking: float  # logarithm of the worth that it lacks
    rarest_missing: float  # worth of the rarest term that it lacks, by that of a term in no document
    names_missing: float  # share of the question's names and numbers that it lacks
    unknown: float  # share of the question's words that no chunk of the collection holds
    names_unknown: float  # share of its names and numbers that none holds
    phrases: float  # share of neighbouring words that the best sentences hold side by side; in Chinese of runs of three
    kind_missing: float  # 1 where a date or a number is asked for, and the best sentences have none of their own
    lexical_lead: float  # by how much the best BM25 score leads over the mean of the next five, as a share of it
    dense: float  # the best cosine similarity; this and the next three as far as the embedder knows the question
    dense_height: float  # by how many standard deviations it lies above the other candidates, as a logarithm
    closest: float  # the best similarity to the question among the sentences that hold the most of it, likewise
    agreement: float  # 1 where both legs put the first passage first
    length: float  # logarithm of the question's terms


NAMES = tuple(field.name for field in fields(Features))


def to_compare(question: str, evidence: Evidence, legs: Legs) -> list[str]:
    """The sentences that hold the most of a question, each once: chunks overlap."""
    words = weighted_terms(question)
    worth = _worth(words, _rarity(words, evidence, legs))
    held = {evidence.text(sentence): recall(worth, sentence.terms) for sentence in evidence.sentences}
    return nlargest(_COMPARED, held, key=held.__getitem__)


def features(question: str, evidence: Evidence, coverage: float, legs: Legs, similarities: Sequence[float]) -> Features:
    """`coverage` is the embedder's, of the question; `similarities` its cosines of the question to `to_compare`.

    There must be at least one passage.
    """
    words = weighted_terms(question)
    rarity = _rarity(words, evidence, legs)
    worth = _worth(words, rarity)
    total = sum(worth.values())
    passages = [
        terms.union(_terms_around(passage)) for terms, passage in zip(evidence.terms, evidence.passages, strict=True)
    ]
    among = {
        term: weight * _rarity_of(sum(term in terms for terms in passages), len(passages))
        for term, weight in words.items()
    }
    by_passage = [recall(worth, terms) for terms in passages]
    best, share, next_share = _best_document(worth, passages, evidence)
    missing = [value for term, value in worth.items() if term not in best]
    pair, adjacent = _best_neighbours(worth, evidence)
    texts = [analyse(passage.text) for passage in evidence.passages[:_CLOSELY_READ]]
    nearby = [_within(_NEARBY_TERMS, worth, terms) for terms in texts]
    sentences = " ".join(evidence.text(sentence) for sentence in pair)
    names = {term: rarity[term] for term in _names(question) if term in rarity}
    known = {term for term in words if legs.frequencies.holding.get(term, 0)} or passages[0]
    lexical = legs.lexical or _scores([passage.scores.lexical for passage in evidence.passages])
    dense = legs.dense or _scores([passage.scores.dense for passage in evidence.passages])
    first = evidence.passages[0].scores
    return Features(
        first_passage=by_passage[0],
        best_passage=max(by_passage),
        best_document=share,
        document_lead=share - next_share,
        all_passages=recall(worth, frozenset().union(*passages)),
        first_of_all=recall(among, passages[0]),
        best_sentence=max((recall(worth, sentence.terms) for sentence in evidence.sentences), default=0.0),
        adjacent_sentences=adjacent,
        adjacent_words=_best_neighbours(words, evidence)[1],
        near=max(_within(_NEAR_TERMS, worth, terms) for terms in texts),
        nearby=max(nearby),
        first_nearby=nearby[0],
        held=math.log1p(share * total),
        lacking=math.log1p((1 - share) * total),
        rarest_missing=max(missing, default=0.0) / _rarity_of(0, _chunks(evidence, legs)),
        names_missing=_missing(names, best),
        unknown=_missing(words, known),
        names_unknown=_missing(names, known),
        phrases=_phrases(question, worth, evidence, sentences),
        kind_missing=float(_kind_missing(question, sentences)),
        lexical_lead=_lead(lexical),
        dense=(dense[0] if dense else 0.0) * coverage,
        dense_height=_height(dense) * coverage,
        closest=max(similarities, default=0.0) * coverage,
        agreement=coverage * bool(dense and lexical and (first.dense, first.lexical) == (dense[0], lexical[0])),
        length=math.log1p(sum(words.values())),
    )


def _terms_around(passage: Passage) -> list[str]:
    return analyse(" ".join((passage.filename, *passage.headings, passage.header)))


def _best_document(
    worth: Mapping[str, float], passages: Sequence[frozenset[str]], evidence: Evidence
) -> tuple[frozenset[str], float, float]:
    """The terms of the document whose passages hold the most together, their share, and the next document's."""
    documents: dict[str, frozenset[str]] = {}
    for passage, terms in zip(evidence.passages, passages, strict=True):
        documents[passage.document_id] = documents.get(passage.document_id, frozenset()) | terms
    if len(documents) == 1:
        first, *others = sorted((recall(worth, terms) for terms in passages), reverse=True)
        [(_, terms)] = documents.items()
        share = recall(worth, terms)
        return terms, share, share - (first - others[0]) if others else 0.0
    shares = {document: recall(worth, terms) for document, terms in documents.items()}
    best, second, *_ = sorted(shares, key=shares.__getitem__, reverse=True)
    return documents[best], shares[best], shares[second]


def _chunks(evidence: Evidence, legs: Legs) -> int:
    return legs.frequencies.chunks or len(evidence.passages)


def _worth(words: Mapping[str, float], rarity: Mapping[str, float]) -> dict[str, float]:
    return {term: weight * rarity[term] for term, weight in words.items()}


def _rarity(words: Mapping[str, float], evidence: Evidence, legs: Legs) -> dict[str, float]:
    """BM25's, over the collection; over the passages where nothing is known of it."""
    known = legs.frequencies
    if not known.chunks:
        return {term: _rarity_of(sum(term in each for each in evidence.terms), len(evidence.terms)) for term in words}
    return {term: _rarity_of(known.holding.get(term, 0), known.chunks) for term in words}


def _rarity_of(holding: int, chunks: int) -> float:
    return math.log(1 + max(0.0, chunks - holding + 0.5) / (holding + 0.5))


def _scores(found: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(sorted((score for score in found if score is not None), reverse=True))


def _lead(scores: Sequence[float]) -> float:
    others = scores[1 : 1 + _RUNNERS_UP]
    if not others or scores[0] <= 0:
        return 0.0
    return (scores[0] - sum(others) / len(others)) / scores[0]


def _height(scores: Sequence[float]) -> float:
    others = scores[1:]
    if len(others) < 2:
        return 0.0
    mean = sum(others) / len(others)
    spread = math.sqrt(sum((score - mean) ** 2 for score in others) / len(others))
    return math.log1p(max(0.0, scores[0] - mean) / spread) if spread > 1e-6 * abs(mean) else 0.0


def _best_neighbours(wanted: Mapping[str, float], evidence: Evidence) -> tuple[Sequence[EvidenceSentence], float]:
    """The two neighbouring sentences that hold the most of what is wanted, and the share that they hold."""
    best: tuple[Sequence[EvidenceSentence], float] = ((), 0.0)
    previous: EvidenceSentence | None = None
    for sentence in evidence.sentences:
        pair = (sentence,) if previous is None or previous.passage != sentence.passage else (previous, sentence)
        share = recall(wanted, frozenset().union(*(each.terms for each in pair)))
        if share > best[1]:
            best = pair, share
        previous = sentence
    return best


def _within(span: int, worth: Mapping[str, float], terms: Sequence[str]) -> float:
    """The largest share of the worth that stands within `span` terms of each other."""
    total = sum(worth.values())
    places = [place for place, term in enumerate(terms) if term in worth]
    best = held = 0.0
    inside: Counter[str] = Counter()
    first = 0
    for place in places:
        held += 0.0 if inside[terms[place]] else worth[terms[place]]
        inside[terms[place]] += 1
        while places[first] <= place - span:
            leaving = terms[places[first]]
            inside[leaving] -= 1
            held -= 0.0 if inside[leaving] else worth[leaving]
            first += 1
        best = max(best, held)
    return min(1.0, best / total) if total else 0.0


def _names(question: str) -> list[str]:
    """Terms of names and numbers. The first word has a capital whatever it is; in Chinese a Latin word is a name."""
    words = [match.group() for match in NAME.finditer(question)]
    names = [
        word
        for place, word in enumerate(words)
        if word[0].isdigit() or (word[0].isupper() and len(word) > 1 and (place or has_cjk(question)))
    ]
    return analyse(" ".join(names))


def _missing(wanted: Mapping[str, float], held: Set[str]) -> float:
    return 1.0 - recall(wanted, held) if wanted else 0.0


def _phrases(question: str, worth: Mapping[str, float], evidence: Evidence, sentences: str) -> float:
    if has_cjk(question):
        runs = set(_runs(question))
        texts = [_joined(passage.text) for passage in evidence.passages[:_CLOSELY_READ]]
        return max(sum(run in text for run in runs) for text in texts) / len(runs) if runs else 0.0
    terms = analyse(question)
    pairs = {pair: math.sqrt(worth[pair[0]] * worth[pair[1]]) for pair in pairwise(terms)}
    return _held(pairs, analyse(sentences))


def _held(pairs: Mapping[tuple[str, str], float], terms: Sequence[str]) -> float:
    total = sum(pairs.values())
    there = set(pairwise(terms))
    return sum(value for pair, value in pairs.items() if pair in there) / total if total else 0.0


def _joined(text: str) -> str:
    return re.sub(r"\W+", "", text.lower())


def _runs(question: str) -> Iterator[str]:
    text = _joined(question)
    return (text[start : start + 3] for start in range(len(text) - 2))


def _kind_missing(question: str, sentences: str) -> bool:
    wanted = _TIME if _ASKS_WHEN.search(question) else _NUMBER if _ASKS_HOW_MANY.search(question) else None
    if wanted is None:
        return False
    asked = {match.group().lower() for match in wanted.finditer(question)}
    return not any(match.group().lower() not in asked for match in wanted.finditer(sentences))
