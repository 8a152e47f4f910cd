"""Words that stand in a Chinese sentence where its source has others."""

from __future__ import annotations

import pytest

from app.answering.verification.source import Source
from app.answering.verification.substitution import Substitution, substitutions
from app.answering.verification.verdict import judge
from app.types import Check, Support

SOURCE = "玛丽·麦特琳担任了美国手语翻译，而女神卡卡在开场时献唱了国歌。"


def found(sentence: str) -> list[Substitution]:
    return list(substitutions(sentence, SOURCE, Source(SOURCE).folded))


def test_what_took_the_place_of_a_name() -> None:
    """A name that gave way to words that the source does not have is seen, whether or not these are known as a name."""
    (substitution,) = found(SOURCE.replace("美国", "塞尔柱"))
    assert substitution.text.startswith("塞尔柱")
    assert substitution.of_a_name


@pytest.mark.parametrize(
    "sentence",
    [
        SOURCE,
        SOURCE.replace("而女神卡卡在开场时", "在开场时"),
        SOURCE.replace("开场", "国歌"),
        "这位歌手十分出名。",
        "",
    ],
)
def test_what_is_left_out_or_stands_in_the_source(sentence: str) -> None:
    """Words left out, words of the source itself, and sentences that go another way are no substitution."""
    assert found(sentence) == []


def test_an_unknown_name_is_wrong_where_another_stood() -> None:
    """The verdict counts it as a name that the source does not hold."""
    verdict = judge(SOURCE.replace("美国", "合赞汗"), [Source(SOURCE)])
    assert verdict.support is Support.UNSUPPORTED
    assert Check.NAMES in [problem.check for problem in verdict.problems]
