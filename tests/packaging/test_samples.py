"""The documents that `make demo` uploads are what they claim to be, and answer what the demo asks."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from app.media_types import HEAD_BYTES, MediaType, detect
from demo.questions import QUESTIONS, Question
from ingest.parsers import parse
from ingest.sections import Parsed

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
MEDIA_TYPES = {
    "station-handbook.pdf": MediaType.PDF,
    "instrument-loans.docx": MediaType.DOCX,
    "冬季值守手册.md": MediaType.MARKDOWN,
    "观测站通讯.html": MediaType.HTML,
}


def read(path: Path) -> Parsed:
    return parse(path, detect(path.name, path.read_bytes()[:HEAD_BYTES]))


def text_of(parsed: Parsed, page: int | None = None) -> str:
    sections = [section.text for section in parsed.sections if page is None or section.page == page]
    return " ".join(" ".join(sections).split())


@pytest.mark.parametrize(("name", "media_type"), MEDIA_TYPES.items())
def test_a_sample_is_what_its_name_says(name: str, media_type: MediaType) -> None:
    """Each sample is detected as its own format and has text under headings."""
    path = SAMPLES / name
    assert detect(name, path.read_bytes()[:HEAD_BYTES]) == media_type
    parsed = read(path)
    assert len(text_of(parsed)) > 1000
    if media_type != MediaType.PDF:
        assert any(section.headings for section in parsed.sections)


def test_the_handbook_has_several_pages() -> None:
    """The PDF has five pages, each with text."""
    parsed = read(SAMPLES / "station-handbook.pdf")
    assert parsed.pages == 5
    assert {section.page for section in parsed.sections} == {1, 2, 3, 4, 5}


def test_noise_of_the_web_page_is_not_read() -> None:
    """Scripts, styles, hidden elements and comments of the HTML sample are no text."""
    text = text_of(read(SAMPLES / "观测站通讯.html"))
    for noise in ("stationVisits", "广告位", "font-family", "Cookie", "冰芯钻探与夏季学校"):
        assert noise not in text


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.filename], ids=lambda question: question.filename)
def test_the_demo_expects_what_the_samples_say(question: Question) -> None:
    """Each expected answer stands in the document, and on the page, that the demo wants cited."""
    assert question.expected
    assert question.filename
    assert question.expected in text_of(read(SAMPLES / question.filename), question.page)


def test_the_samples_can_be_made_again(tmp_path: Path) -> None:
    """`samples/make.py` gives the committed PDF and DOCX, word for word."""
    runpy.run_path(str(SAMPLES / "make.py"))["main"](tmp_path)
    for name in ("station-handbook.pdf", "instrument-loans.docx"):
        assert text_of(read(tmp_path / name)) == text_of(read(SAMPLES / name))
