"""Questions with known answers, as they are written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import InvalidRequest
from app.evaluation.questions import read_questions


def test_what_a_line_may_say(tmp_path: Path) -> None:
    """`answerable` decides; without it, answers or documents make a question answerable. Blank lines are skipped."""
    file = tmp_path / "questions.jsonl"
    file.write_text(
        '{"question": "a", "answerable": false, "answers": ["x"]}\n\n'
        '{"question": "b", "answers": ["x"]}\n{"question": "c", "answers": []}\n'
        '{"question": "d", "documents": ["handbook.pdf"], "lang": "en"}\n',
        encoding="utf-8",
    )
    assert [(one.question, one.is_answerable) for one in read_questions(file)] == [
        ("a", False),
        ("b", True),
        ("c", False),
        ("d", True),
    ]


@pytest.mark.parametrize(
    "line", ["{", '{"answerable": true}', '{"question": "a", "answerable": "perhaps"}', '{"question": "a"}']
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    """What cannot be understood is refused with the number of its line."""
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "a", "answerable": true}\n' + line, encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"questions\.jsonl, line 2"):
        read_questions(file)
