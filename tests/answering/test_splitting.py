"""Compound questions fall into parts that can be searched for alone; others stay whole."""

from __future__ import annotations

import pytest

from app.answering.splitting import MOST_PARTS, split


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        (
            "When did the harbour bridge open and how much did it cost?",
            ("When did the harbour bridge open?", "how much did the harbour bridge cost?"),
        ),
        (
            "Who built the harbour bridge, and when was it painted?",
            ("Who built the harbour bridge?", "when was the harbour bridge painted?"),
        ),
        (
            "Where is the night watch kept? When does it begin?",
            ("Where is the night watch kept?", "When does the night watch begin?"),
        ),
        (
            "Who is Ada Lovelace and what were her first programs?",
            ("Who is Ada Lovelace?", "what were Ada Lovelace's first programs?"),
        ),
        (
            "Who may borrow an instrument; which forms are needed; how long does a loan last?",
            ("Who may borrow an instrument?", "which forms are needed?", "how long does a loan last?"),
        ),
        (
            "Compare the old dome with the new dome in terms of weight.",
            ("the old dome in terms of weight", "the new dome in terms of weight"),
        ),
        ("What is the difference between a loan and a lease?", ("a loan", "a lease")),
        ("night watch versus day watch", ("night watch", "day watch")),
        (
            "What are the height and the width of the tower?",
            ("What are the height of the tower?", "What are the width of the tower?"),
        ),
        (
            "When were Ada Lovelace and Alan Turing born?",
            ("When were Ada Lovelace born?", "When were Alan Turing born?"),
        ),
        (
            "Ada Lovelace and Alan Turing lived where?",
            ("Ada Lovelace lived where?", "Alan Turing lived where?"),
        ),
        (
            "What are the populations of Paris, Lyon and Nice respectively?",
            (
                "What are the populations of Paris?",
                "What are the populations of Lyon?",
                "What are the populations of Nice?",
            ),
        ),
        ("大桥何时通车，花了多少钱？", ("大桥何时通车？", "大桥花了多少钱？")),
        ("圆顶什么时候关闭？夜班几点开始？", ("圆顶什么时候关闭？", "夜班几点开始？")),
        ("圆顶什么时候关闭，夜班几点开始？", ("圆顶什么时候关闭？", "夜班几点开始？")),
        ("观测站是谁建的，以及它的面积有多大？", ("观测站是谁建的？", "观测站的面积有多大？")),
        ("圆顶和塔楼分别高多少米？", ("圆顶高多少米？", "塔楼高多少米？")),
        ("塔的高度和宽度是多少？", ("塔的高度是多少？", "塔的宽度是多少？")),
        ("比较旧圆顶和新圆顶的重量", ("旧圆顶的重量", "新圆顶的重量")),
        ("旧圆顶与新圆顶有什么区别？", ("旧圆顶", "新圆顶")),
    ],
)
def test_parts(question: str, parts: tuple[str, ...]) -> None:
    """Each part says what it asks about, with the subject that it shared."""
    assert split(question) == parts


@pytest.mark.parametrize(
    "question",
    [
        "When did the harbour bridge open?",
        "What do the terms and conditions say about loans?",
        "Who founded Johnson and Johnson?",
        "Which instruments are lent, and to whom?",
        "How does the dome open and close?",
        "Is the dome closed in rain or snow?",
        "What flows between Bingen and Bonn?",
        "长时间的增长与什么有关？",
        "圆顶什么时候关闭？",
        "研究和开发部门有多少人？",
        "他和她是什么时候认识的？",
        "and",
        "？",
        "",
    ],
)
def test_a_simple_question_stays_whole(question: str) -> None:
    """Two words joined by "and" are not two questions."""
    assert split(question) == (question,)


def test_what_was_said_before_is_said_again() -> None:
    """A sentence before the questions belongs to each of them."""
    assert split("I work at the harbour. Who paints the bridge? Who lights the lamps?") == (
        "I work at the harbour. Who paints the bridge?",
        "I work at the harbour. Who lights the lamps?",
    )


def test_parts_have_a_limit() -> None:
    """A list of questions without end becomes a few searches."""
    assert len(split(" ".join(f"Who painted bridge number {number}?" for number in range(50)))) == MOST_PARTS


@pytest.mark.parametrize(
    "text", ["and " * 5000, "和" * 5000, "A and " * 4000 + "?", "比较" + "的" * 9000, "a b c " * 3000]
)
def test_long_nonsense_is_quick(text: str) -> None:
    """No input makes a rule search without end."""
    assert len(split(text[:20_000])) <= MOST_PARTS
