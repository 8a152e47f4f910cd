"""What the demo asks, and what must come back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """`expected` stands in the answer and `filename` is cited; both None: the samples do not answer it."""

    text: str
    expected: str | None = None
    filename: str | None = None
    page: int | None = None


QUESTIONS = (
    Question(
        "At what wind speed must the dome of the telescope be closed?",
        expected="15 metres per second",
        filename="station-handbook.pdf",
        page=4,
    ),
    Question(
        "How long may a portable weather station be borrowed?",
        expected="90 days",
        filename="instrument-loans.docx",
    ),
    Question("柴油发电机什么时候试运行？", expected="每周三上午十点", filename="冬季值守手册.md"),
    Question("新光谱仪“羽毛”是哪一天首次观测的？", expected="2025 年 11 月 8 日", filename="观测站通讯.html"),
    Question("Who painted the ceiling of the Sistine Chapel?"),
)
