"""The normalised text that all offsets refer to."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ingest.sections import Limits, Section, SectionBuilder, assemble, hides_characters, is_blank, normalise

ODD = "a é\u3000\t\n\r\v\x85\u2028\x00\x1c\x9f\u00ad\u200b\u202e\ufeff\ud800\U000e0041"


def test_invisible_characters() -> None:
    """Controls, zero-width, bidirectional and tag characters go; what people see stays as it is."""
    assert normalise("a\x00b\u200bc\u202ed\U000e0041e\x9ff") == "abcdef"
    assert normalise("ﬁne Ａ① café 👍🏽") == "ﬁne Ａ① café 👍🏽"
    assert hides_characters("plain\u200b")
    assert not hides_characters("plain ①")


def test_line_ends_and_blank_lines() -> None:
    """Line ends become one kind; trailing spaces and runs of blank lines go."""
    assert normalise("\r\n a  \r\n\r\n \t\r\n\r\nb\rc\u2028d\n") == " a\n\nb\nc\nd"


def test_surrogates() -> None:
    """A lone surrogate, which no encoding can carry, becomes the replacement character."""
    assert normalise("a\ud800b").encode() == "a\ufffdb".encode()


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_is_no_exception(text: str) -> None:
    """Text that is all ASCII is normalised as any other."""
    assert normalise(text + "\n\né") == f"{normalise(text)}\n\né".lstrip("\n")


@given(st.text())
def test_normalise_is_idempotent(text: str) -> None:
    """Normalised text is normal."""
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet=ODD) | st.text())
def test_nothing_unseen_is_left(text: str) -> None:
    """Normalised text has no invisible or control character, no space at a line's end, and one blank line at most."""
    normal = normalise(text)
    assert not hides_characters(normal)
    assert all(line == line.rstrip() for line in normal.split("\n"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", normal)
    assert "\n\n\n" not in normal
    assert is_blank(text) == (not normal.strip())


@given(st.lists(st.builds(Section, st.text(max_size=50), st.none() | st.integers(1, 9))))
def test_spans(sections: list[Section]) -> None:
    """Spans are exact, in order, and leave out only joints; blank sections have none."""
    text, spans = assemble(sections)
    filled = [section for section in sections if normalise(section.text).strip()]
    assert [text[span.start : span.end] for span in spans] == [normalise(section.text) for section in filled]
    assert [span.page for span in spans] == [section.page for section in filled]
    assert "".join(text.split()) == "".join("".join(normalise(section.text) for section in filled).split())


def test_builder_headings() -> None:
    """A heading closes those of its level and below, and is the first line of its own section."""
    builder = SectionBuilder(Limits())
    builder.block("Before")
    for level, title in ((1, "A"), (2, "A.1"), (4, "A.1.x"), (2, "A.2"), (1, "B")):
        builder.heading(level, title)
        builder.block(f"Body of {title}")
    assert [section.headings for section in builder.sections()] == [
        (), ("A",), ("A", "A.1"), ("A", "A.1", "A.1.x"), ("A", "A.2"), ("B",),
    ]  # fmt: skip
    assert builder.sections()[1].text == "A\n\nBody of A"


def test_builder_tables() -> None:
    """A row is a line of its cells; a table inside a cell does not tear its row apart."""
    builder = SectionBuilder(Limits())
    for row in (("Plan", "Price"), ("Basic", "5\neuros")):
        builder.open_row()
        for cell in row:
            builder.open_cell()
            builder.block(cell)
        builder.close_row()
    builder.close_table()
    builder.block("After")
    assert builder.sections()[0].text == "Plan | Price\nBasic | 5 euros\n\nAfter"


def test_builder_wide_cells() -> None:
    """A cell that covers several columns leaves the others in their columns, however many it claims."""
    builder = SectionBuilder(Limits())
    builder.open_row()
    for columns, title in ((1, "Town"), (2, "Staff"), (0, "Note"), (10**9, "Far"), (1, "End")):
        builder.open_cell()
        builder.widen_cell(columns)
        builder.block(title)
    builder.close_row()
    text = builder.sections()[0].text
    assert text.startswith("Town | Staff |  | Note | Far |  |")
    assert len(text) < 200
