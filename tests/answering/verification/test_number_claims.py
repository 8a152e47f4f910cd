"""Numbers and dates of a sentence, looked for in a source, in both languages' spellings."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.answering.verification.mentions import find_mentions
from app.answering.verification.numbers import missing_numbers, read_numbers, table_scale


def missing(sentence: str, source: str) -> list[str]:
    sentence, source = (unicodedata.normalize("NFKC", text) for text in (sentence, source))
    found = missing_numbers(find_mentions(sentence), read_numbers(source, table_scale(source)))
    return [each.mention.text for each in found]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.2 million people", "1,200,000 people"),
        ("120万人", "1.2 million people"),
        ("十二亿", "1.2 billion"),
        ("2亿3千万元", "230 million yuan"),
        ("1.2万亿", "1.2 trillion"),
        ("1.2bn", "1.2 billion"),
        ("三百二十个", "320"),
        ("三万二千人", "32,000 people"),
        ("一千零五个", "1005"),
        ("百分之五", "5%"),
        ("5 per cent", "百分之五"),
        ("0.5 percentage points", "零点五个百分点"),
        ("五成", "50%"),
        ("三分之二", "two-thirds"),
        ("two thirds", "2/3"),
        ("25%", "0.25"),
        ("1/4", "25%"),
        ("三成五", "35%"),
        ("百分之十二点五", "12.5%"),
        ("a dozen", "12"),
        ("二○一九年", "2019"),
        ("2019-03", "March 2019"),
        ("两个", "two"),
        ("第六", "sixth"),
        ("6th", "ranked sixth"),
        ("twelve", "12"),
        ("two hundred and five", "205"),
        ("nineteen ninety-nine", "1999"),
        ("twenty-five years", "25年"),
        ("the 1990s", "20世纪90年代"),
        ("$10 million", "10,000,000美元"),
        ("5000万元", "RMB 50 million"),
        ("5 km", "5000米"),
        ("15 m/s", "每秒15米"),
        ("晚上9点", "21:00"),
        ("9:30 pm", "21:30"),
        ("２０２０", "2020"),
        ("March 5, 2019", "5 March 2019"),
        ("2019-03-05", "2019年3月5日"),
        ("二〇一九年三月五日", "Mar. 5, 2019"),
        ("民国108年3月5日", "2019年3月5日"),
        ("2017年9月", "September 2017"),
        ("20190305", "2019/3/5"),
    ],
)
def test_spellings_of_one_number(one: str, other: str) -> None:
    """Whichever way a number or a date is spelled, it is found in the other spelling, both ways round."""
    assert missing(one, other) == []
    assert missing(other, one) == []


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("1.3 million people", "1,200,000 people"),
        ("310 points", "308 points"),
        ("12", "1200"),
        ("318分", "308分"),
        ("三百二十一", "320"),
        ("百分之六", "5%"),
        ("5 miles", "5 km"),
        ("$5 million", "5 million yuan"),
        ("三个月", "三天"),
        ("seven", "six"),
        ("第七", "第六"),
        ("March 6, 2019", "2019年3月5日"),
        ("October 2017", "September 2017"),
        ("2018年9月", "September 2017"),
        ("民国107年", "2019年"),
        ("8点", "21:00"),
        ("2/5", "2 of 3"),
        ("version 4.0.8", "version 4.1.8, from 4.0"),
    ],
)
def test_other_numbers(sentence: str, source: str) -> None:
    """Another value, another unit, another day: not the same."""
    assert missing(sentence, source) != []


def test_a_table_names_its_scale_in_its_header() -> None:
    """Under "in thousands" or 单位：万元 the cells are that much larger; units that they leave out are not missed."""
    assert missing("Revenue was $1.2 million.", "(in thousands)\nRevenue | 1,200") == []
    assert missing("收入为1200万元", "单位：万元\n收入 | 1200") == []


def test_rounding_is_allowed_where_it_is_said() -> None:
    """ "About 300" stands for 308 and "1.2 million" for 1,234,567; a bare 300 does not."""
    assert missing("about 300 points", "308 points") == []
    assert missing("约300人", "308人") == []
    assert missing("1.2 million people", "1,234,567 people") == []
    assert missing("300 points", "308 points") == ["300"]


@pytest.mark.parametrize(
    "phrase", ["一定", "十分重要", "数百人", "几十个", "四川", "one of them", "the first", "hundreds of"]
)
def test_turns_of_phrase_are_no_claims(phrase: str) -> None:
    """What only looks like a number need not stand in a source."""
    assert missing(phrase, "") == []


def test_a_month_whose_year_the_source_leaves_open() -> None:
    """A source that tells no year at all leaves a sentence's year open; one that tells another contradicts it."""
    (found,) = missing_numbers(find_mentions("in March 2019"), read_numbers("in March it merged"))
    assert found.is_open
    (found,) = missing_numbers(find_mentions("in March 2019"), read_numbers("in March 2018 it merged"))
    assert not found.is_open


@given(st.integers(0, 10**13))
@example(19661201)
def test_every_number_is_found_in_itself(number: int) -> None:
    """A number in digits, with or without commas, is held by a source that writes it the other way."""
    assert missing(f"It was {number}.", f"It was {number:,} then.") == []


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    """Whatever stands in a text, reading its numbers ends, and a text holds its own."""
    text = unicodedata.normalize("NFKC", text)
    assert missing_numbers(find_mentions(text), read_numbers(text)) == []


def test_a_range_may_share_its_magnitude() -> None:
    """In "5 to 10 million" the 5 may be millions; 五六十 are fifty or sixty."""
    assert missing("500万到1000万", "5 to 10 million") == []
    assert missing("5 million to 10 million", "5 to 10 million") == []
    assert missing("50 people", "五六十人") == []
