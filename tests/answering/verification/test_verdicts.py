"""All checks together."""

from __future__ import annotations

import pytest

from app.answering.verification.source import Source
from app.answering.verification.verdict import judge
from app.types import Check, Support
from tests.answering.samples import BRIDGE, CHINESE, PANTHERS


@pytest.mark.parametrize(
    ("sentence", "source", "support", "checks"),
    [
        ("The Panthers defense gave up 308 points.", PANTHERS, Support.SUPPORTED, []),
        ("The Panthers defense gave up 309 points.", PANTHERS, Support.UNSUPPORTED, [Check.NUMBERS]),
        ("It took eight years to build and cost 42 million pounds.", BRIDGE, Support.UNSUPPORTED, [Check.NUMBERS]),
        ("The team's sacks were led by Kawann Short.", PANTHERS, Support.SUPPORTED, []),
        ("The team's sacks were led by Tom Brady.", PANTHERS, Support.UNSUPPORTED, [Check.NAMES]),
        ("The Panthers defense did not give up 308 points.", PANTHERS, Support.UNSUPPORTED, [Check.NEGATION]),
        ("It was “a bridge of four hundred steps”.", BRIDGE, Support.UNSUPPORTED, [Check.NUMBERS, Check.QUOTES]),
        ("The bridge opened in 1932 after a long political quarrel.", BRIDGE, Support.PARTIAL, []),
        ("Otters sleep in rivers while holding hands.", BRIDGE, Support.UNSUPPORTED, []),
        ("黑豹队的防守丢了308分。", CHINESE, Support.SUPPORTED, []),
        ("黑豹队的防守丢了三百零八分。", CHINESE, Support.SUPPORTED, []),
        ("黑豹队的防守丢了318分。", CHINESE, Support.UNSUPPORTED, [Check.NUMBERS]),
        ("黑豹队的教练是Rivera。", CHINESE, Support.UNSUPPORTED, [Check.NAMES]),
        ("黑豹队的防守没有丢308分。", CHINESE, Support.UNSUPPORTED, [Check.NEGATION]),
        ("它在1932年通车。", CHINESE, Support.UNSUPPORTED, [Check.NUMBERS]),
        ("海港大桥于1932年通车。", BRIDGE, Support.PARTIAL, []),
        ("海港大桥于1933年通车。", BRIDGE, Support.UNSUPPORTED, [Check.NUMBERS]),
        ("Kawann Short led with 11 sacks.", CHINESE, Support.PARTIAL, []),
    ],
)
def test_a_sentence_and_a_passage(sentence: str, source: str, support: Support, checks: list[Check]) -> None:
    """A failed check makes a sentence unsupported; too few common terms do, too. Across languages numbers decide."""
    verdict = judge(sentence, [Source(source)])
    assert (verdict.support, [problem.check for problem in verdict.problems]) == (support, checks)


def test_several_sources_are_read_together() -> None:
    """A sentence that cites two passages may take its numbers from one and its names from the other."""
    sentence = "Kawann Short had 11 sacks and the bridge cost 4.2 million pounds."
    assert judge(sentence, [Source(PANTHERS), Source(BRIDGE)]).support is Support.SUPPORTED
    assert judge(sentence, [Source(PANTHERS)]).support is Support.UNSUPPORTED


def test_a_number_of_another_matter_does_not_count() -> None:
    """That a number stands somewhere in the passage is not enough: it has to stand where the matter is spoken of."""
    report = "\n".join(
        ["In May the company bought a rival firm.", *("Staff were trained with care." for _ in range(3)),
         "In August the directors were elected."]
    )  # fmt: skip
    assert judge("In May the company bought a rival firm there.", [Source(report)]).problems == ()
    (problem,) = judge("In August the company bought a rival firm there.", [Source(report)]).problems
    assert (problem.check, problem.text) == (Check.NUMBERS, "August")


def test_without_sources() -> None:
    """A sentence that cites nothing is unsupported."""
    assert judge("It opened in 1932.", []).support is Support.UNSUPPORTED


@pytest.mark.parametrize(
    "piece",
    ["9", "一", "hundred ", "万亿", "1,", "9:30 ", "March 5, ", "not ", "不", "“abcd efgh ij kl ", "甲·", "1/2/"],
)
def test_hostile_text_is_read_to_its_end(piece: str) -> None:
    """Numbers without end, nested quotations and the like neither fail nor take more than a moment."""
    text = piece * (20_000 // len(piece))
    assert judge(f"Zed {text[:2000]} Qux", [Source(text)]).support in Support
