"""What stands in quotation marks."""

from __future__ import annotations

import pytest

from app.answering.verification.quotations import altered_quotations
from app.answering.verification.source import Source

SOURCE = Source("She said that the Bridge opened, with great pomp, in 1932. 他说大桥在一九三二年盛大开通。")


@pytest.mark.parametrize(
    ("sentence", "altered"),
    [
        ("He wrote: “the bridge opened, with great pomp”.", []),
        ('He wrote: "the bridge opened … in 1932".', []),
        ("He wrote: “the bridge opened with little pomp”.", ["the bridge opened with little pomp"]),
        ("他写道：「大桥在一九三二年盛大开通」。", []),
        ("他写道：“大桥在一九三三年悄悄开通”。", ["大桥在一九三三年悄悄开通"]),
        ("The “small pomp” of it.", []),
        ('A 5" pipe and a 6" pipe are there.', []),
    ],
)
def test_quotations_are_exact(sentence: str, altered: list[str]) -> None:
    """A longer quotation stands in the source word for word; case, punctuation and omissions do not count."""
    assert altered_quotations(sentence, [SOURCE]) == altered
