"""Names of a sentence, looked for in a source, in both languages."""

from __future__ import annotations

import pytest

from app.answering.verification.names import find_names, missing_names
from app.answering.verification.source import Source


def missing(sentence: str, source: str, labels: str = "") -> list[str]:
    return [name.text for name in missing_names(sentence, [Source(source, labels)], [source])]


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("However, Kawann Short won.", "KAWANN SHORT, defensive tackle"),
        ("It was Chinese.", "a company in China"),
        ("The UN met.", "the United Nations met"),
        ("The United Nations met.", "the UN met"),
        ("R&D grew.", "research and development grew"),
        ("Revenue fell.", "Sales fell."),
        ("In March, the board met.", "the board met"),
        ("A Story Of Great Success", "they did well"),
        ("卡万·肖特领先全队。", "肖特以11次擒杀领先全队。"),
        ("绿源环保有限公司成立。", "绿源环保于2019年成立。"),
        ("公司收购绿源环保有限公司。", "对绿源环保有限公司的收购"),
        ("他在北京市工作。", "他在北京上班。"),
        ("教练是Rivera。", "教练里维拉（Rivera）"),
    ],
)
def test_names_that_the_source_has(sentence: str, source: str) -> None:
    """A name may be in capitals, in initials, a people instead of a country, or a part of the full name."""
    assert missing(sentence, source) == []


@pytest.mark.parametrize(
    ("sentence", "source", "names"),
    [
        ("However, Josh Norman won.", "KAWANN SHORT", ["Josh Norman"]),
        ("Brady's passes won it.", "Short won it.", ["Brady"]),
        ("Kawann Short won.", "Josh Norman won.", ["Kawann Short"]),
        ("Brady threw five passes.", "Short threw five passes.", ["Brady"]),
        ("The Bank of Chile grew.", "The Bank of Peru grew.", ["Bank of Chile"]),
        ("The harbour is in Sydney.", "The harbour is in Perth.", ["Sydney"]),
        ("It uses COVID-19 data.", "It uses data.", ["COVID-19"]),
        ("He met Lee.", "He went to sleep.", ["Lee"]),
        ("教练是Rivera。", "教练是罗恩。", ["Rivera"]),
        ("罗恩·里维拉领先全队。", "卡万·肖特领先全队。", ["罗恩·里维拉"]),
        ("作者写了《红楼梦》。", "作者写了《西游记》。", ["红楼梦"]),
        ("总部设在上海。", "总部设在北京。", ["上海"]),
        ("王建国任董事长。", "李明任董事长。", ["王建国"]),
    ],
)
def test_names_that_the_source_lacks(sentence: str, source: str, names: list[str]) -> None:
    """A name that the source does not have is found, at the beginning of a sentence too."""
    assert missing(sentence, source) == names


def test_an_organisation_is_told_from_another() -> None:
    """Two companies differ by their names, not by what all companies are called."""
    assert "蓝天环保有限公司" in missing("蓝天环保有限公司成立。", "绿源环保有限公司成立。")


def test_labels_count() -> None:
    """A file's name or a heading names what the text below calls "the company"."""
    assert missing("Acme Financial grew.", "The company grew.", labels="Acme Financial.pdf") == []


def test_a_rival_stands_in_its_place() -> None:
    """Where the source names another of the same kind, the name is wrong; where it names none, the name is open."""
    (found,) = missing_names("The harbour is in Sydney.", [Source("The harbour is in Perth.")], [])
    assert found.has_rival
    (found,) = missing_names("The harbour is in Sydney.", [Source("The harbour is large.")], [])
    assert not found.has_rival


def test_each_name_once() -> None:
    """A name that is said twice is one name."""
    assert [name.text for name in find_names("We met Ann Lee and Ann Lee.")] == ["Ann Lee"]
