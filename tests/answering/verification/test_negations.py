"""Sentences that deny what their source states, and the other way round."""

from __future__ import annotations

import pytest

from app.answering.verification.negation import contradictions
from app.answering.verification.source import Source


def contradicts(sentence: str, source: str) -> bool:
    return any(contradictions(sentence, [Source(source)]))


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("The bridge did not open in 1932.", "The bridge opened in 1932."),
        ("The bridge opened in 1932.", "The bridge did not open in 1932."),
        ("The dome is never closed at night.", "The dome is closed at night."),
        ("The dome isn't closed at night.", "The dome is closed at night."),
        ("公司没有完成收购。", "公司完成了收购。"),
        ("公司完成了收购。", "公司没有完成收购。"),
        ("圆顶在大风时不关闭。", "圆顶在大风时关闭。"),
        ("公司更新了政策，并未修订治理框架。", "公司更新了政策，修订了治理框架。"),
    ],
)
def test_a_denial_of_what_is_stated(sentence: str, source: str) -> None:
    """ "Not" before what the source states, or its absence before what the source denies, is a contradiction."""
    assert contradicts(sentence, source)


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("The bridge did not open in 1932.", "In 1932 the bridge did not open."),
        ("The bridge not only opened in 1932.", "The bridge opened in 1932."),
        ("The product does not contain sugar.", "The product lacks sugar."),
        ("There is no doubt that the bridge opened.", "The bridge opened."),
        ("The ship sank.", "It was not the captain who was blamed when the ship sank."),
        ("公司没有完成收购。", "收购尚未完成。"),
        ("公司不断完成收购。", "公司完成收购。"),
        ("公司不仅完成了收购。", "公司完成了收购。"),
        ("未来公司完成收购。", "公司完成收购。"),
    ],
)
def test_no_contradiction(sentence: str, source: str) -> None:
    """A denial of what the source denies too, in whatever words, and words that only look like one."""
    assert not contradicts(sentence, source)
