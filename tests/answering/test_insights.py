"""Questions that ask for the same."""

from __future__ import annotations

from datetime import UTC, datetime

from app.answering.insights import group_questions

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_wordings_of_one_question_are_a_group() -> None:
    """In both languages, under the newest wording; the largest group first."""
    asked = [
        "Who repairs the telescope?",
        "圆顶什么时候关闭？",
        "When does the dome close?",
        "when does the dome close",
        "请问圆顶何时关闭",
        "The dome: when does it close?",
    ]
    groups = group_questions([(question, NOW) for question in asked])
    assert [(group.question, group.count) for group in groups] == [
        ("When does the dome close?", 3),
        ("圆顶什么时候关闭？", 2),
        ("Who repairs the telescope?", 1),
    ]
    assert groups[0].variants == [asked[2], asked[3], asked[5]]


def test_many_questions_are_grouped_in_time() -> None:
    """Thousands of different questions are no square of work: each is compared with those that share a word."""
    asked = [(f"What is the colour of item{n}?", NOW) for n in range(2000)]
    assert sum(group.count for group in group_questions(asked)) == 2000
