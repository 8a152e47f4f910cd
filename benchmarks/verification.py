"""What the checks of an answer's sentences catch: faithful sentences, and the same made false, in both languages.

The sentences are human answers of public sets with the evidence that they were written from; `sentence_pairs` makes the
false ones. A sentence counts as flagged, or as caught, when its verdict is `unsupported`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.answering.verification.source import Source
from app.answering.verification.verdict import judge
from app.types import Support
from benchmarks.results import Result, Row, quantiles_ms
from benchmarks.sentence_pairs import CORRUPTIONS, Kind, Pair, make_pairs

_LANGUAGES = ("English", "Chinese")
_PAIRS = 500
_MOST_FLAGGED = 0.05
_LEAST_CAUGHT = {Kind.NUMBER: 0.90, Kind.NAME: 0.90}


def run(data: Path, *, quick: bool) -> Result:
    """Each sentence against its passage, as an answer's citation has it."""
    pairs = make_pairs(data, *((40, 40) if quick else (_PAIRS, _PAIRS)))
    verdicts: Counter[tuple[Kind, str, Support]] = Counter()
    seconds = []
    for pair in pairs:
        support, took = _judge(pair)
        verdicts[pair.kind, pair.language, support] += 1
        seconds.append(took)
    latency = quantiles_ms(seconds)
    rows = [row for language in (*_LANGUAGES, None) for kind in Kind for row in _rows(verdicts, kind, language)]
    rows.append(Row("one sentence, time of a core, p50 / p95", f"{latency['p50']:.2f} / {latency['p95']:.2f} ms"))
    return Result(rows, _details(pairs, verdicts) | {"latency_ms": latency})


def _judge(pair: Pair) -> tuple[Support, float]:
    source = Source(pair.passage, pair.title)
    judge(pair.sentence, [source])  # reads the passage, which several sentences of an answer share
    started = time.process_time()
    support = judge(pair.sentence, [source]).support
    return support, time.process_time() - started


def _rows(verdicts: Counter[tuple[Kind, str, Support]], kind: Kind, language: str | None) -> list[Row]:
    """Of one language, or of both: these have the targets."""
    counts = {
        support: sum(verdicts[kind, each, support] for each in ((language,) if language else _LANGUAGES))
        for support in Support
    }
    total = sum(counts.values())
    unsupported, partial = counts[Support.UNSUPPORTED], counts[Support.PARTIAL]
    share = unsupported / total
    figure = f"{share:.3f} ({unsupported} of {total}; {partial} partial)"
    what = f"{language or 'both languages'}, {kind}, {'flagged' if kind is Kind.FAITHFUL else 'caught'}"
    if language:
        return [Row(what, figure)]
    if kind is Kind.FAITHFUL:
        return [Row(what, figure, f"≤ {_MOST_FLAGGED:.2f}", share <= _MOST_FLAGGED)]
    least = _LEAST_CAUGHT.get(kind)
    return [Row(what, figure, f"≥ {least:.2f}", share >= least) if least else Row(what, figure)]


def _details(pairs: Sequence[Pair], verdicts: Counter[tuple[Kind, str, Support]]) -> dict[str, Any]:
    return {
        language: {
            str(kind): {str(support): verdicts[kind, language, support] for support in Support}
            for kind in (Kind.FAITHFUL, *CORRUPTIONS)
        }
        for language in _LANGUAGES
    } | {"pairs": len(pairs)}
