"""Plain text, Markdown and HTML."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import DocumentTooExpensive, EmptyDocument, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import Limits, Parsed, assemble

CHINESE = "每位员工每年享有十五天的带薪年假，未休的年假可以结转到次年三月底。"
TRADITIONAL = "每位員工每年享有十五天的帶薪年假，未休的年假可以結轉到次年三月底。"
JAPANESE = "従業員は毎年十五日の有給休暇を取ることができます。"
FRENCH = "Les employés ont droit à quinze jours de congé payé par année complète."


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def read(data: str | bytes, media_type: MediaType = MediaType.TEXT, limits: Limits | None = None) -> Parsed:
        path = tmp_path / "file"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return parse(path, media_type, limits)

    return read


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *[(CHINESE, name) for name in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "gbk", "gb18030")],
        (FRENCH, "utf-16-le"),
        (FRENCH, "utf-16-be"),
        (TRADITIONAL, "big5"),
        (JAPANESE, "shift_jis"),
        (FRENCH, "latin-1"),
        (FRENCH, "cp1252"),
    ],
)
@pytest.mark.parametrize("repeats", [1, 40])
def test_encodings(read, text: str, encoding: str, repeats: int) -> None:  # type: ignore[no-untyped-def]
    """A text is read in the encoding that it was written in, a short one too."""
    lines = "\n".join([text] * repeats)
    parsed = read(lines.encode(encoding))
    assert assemble(parsed.sections)[0] == lines
    assert parsed.warnings == ()


def test_encoding_is_told_far_into_the_file(read) -> None:  # type: ignore[no-untyped-def]
    """The first character beyond ASCII may come late."""
    text = "plain words\n" * 20_000 + CHINESE
    assert assemble(read(text.encode("gbk")).sections)[0] == text


def test_few_bad_bytes(read) -> None:  # type: ignore[no-untyped-def]
    """A few bad bytes, or a file that ends inside a character, do not make the whole text foreign."""
    parsed = read(CHINESE.encode() + b"\xff" + CHINESE.encode()[:-1])
    assert parsed.sections[0].text == f"{CHINESE}\ufffd{CHINESE[:-1]}\ufffd"
    assert "UTF-8" in parsed.warnings[0]


def test_invisible_characters_are_reported(read) -> None:  # type: ignore[no-untyped-def]
    """Characters that nobody sees are removed with a warning."""
    parsed = read("Shown\U000e0041\U000e0042\u200b text.")
    assert assemble(parsed.sections)[0] == "Shown text."
    assert parsed.warnings == ("Invisible characters were removed.",)


def test_no_text(read) -> None:  # type: ignore[no-untyped-def]
    """White space alone is no document, and binary rubbish is no text."""
    for data in ("", " \n\t \n", "\u200b\u200b"):
        with pytest.raises(EmptyDocument):
            read(data)
    with pytest.raises(UnreadableDocument, match="not text"):
        read(bytes(range(256)) * 20)


def test_too_much_text(read) -> None:  # type: ignore[no-untyped-def]
    """More text than is allowed is refused before it is read."""
    with pytest.raises(DocumentTooExpensive):
        read("x" * 1000, limits=Limits(max_characters=100))


MARKDOWN = """---
title: "Staff handbook"
---
Intro with **bold**, *stress*, `__code__`, a [link](http://x.y/z_(1)) and ![a picture](p.png).<!-- secret -->

# Leave #

Every employee has
fifteen days.

## 结转

未休的年假可以
结转。

- one
- two

| Years | Days |
|:-----:|------|
| 10    | `20` |

```python
# not a heading
leave["days"] = **kwargs
```

Pay
===
> Monthly.
<script>alert(1)</script>5 \\* 3 &lt; 20, snake_case_name, [text][ref]

[ref]: http://x.y
"""


def test_markdown(read) -> None:  # type: ignore[no-untyped-def]
    """Headings become the path, marks and links plain text; code, lists and tables stay; comments do not."""
    parsed = read(MARKDOWN, MediaType.MARKDOWN)
    assert parsed.title == "Staff handbook"
    assert [(section.headings, section.text) for section in parsed.sections] == [
        ((), "Intro with bold, stress, __code__, a link and a picture."),
        (("Leave",), "Leave\n\nEvery employee has fifteen days."),
        (
            ("Leave", "结转"),
            "结转\n\n未休的年假可以结转。\n\n- one\n- two\n\nYears | Days\n10 | 20\n\n"
            '# not a heading\nleave["days"] = **kwargs',
        ),
        (("Pay",), "Pay\n\nMonthly. 5 * 3 < 20, snake_case_name, text"),
    ]


def test_unclosed_fence(read) -> None:  # type: ignore[no-untyped-def]
    """A code block that is never closed runs to the end."""
    assert read("Text\n~~~\n# code\n", MediaType.MARKDOWN).sections[0].text == "Text\n\n# code"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    ["*", "**x ", "[", "![](", "`", "<a ", "<!--", "|", "> ", "# ", "---\n", "\\", "_a", "~~~\n", " ", "\n", "a\n1"],
)
def test_markdown_is_linear(read, unit: str) -> None:  # type: ignore[no-untyped-def]
    """No repetition of a mark takes quadratic time: that would be hours here."""
    assert read("x" + unit * (300_000 // len(unit)), MediaType.MARKDOWN).sections


PAGE = """<!doctype html><html><head><title>Leave
policy</title><style>p{}</style><script>var a = '<p>script</p>'</script></head><body>
<nav>Menu</nav><h1>Leave <em>policy</em></h1><p>Every employee<br>has <b>15</b>
days.</p><div style="DISPLAY: none">Hidden <br>1</div><p hidden>Hidden 2</p><!-- Hidden 3 -->
<template>Hidden 4</template><span style="font-size:0px">Hidden 5</span>
<h2>结转</h2>可以结转。<ul><li>one<li><p>two</p></ul>
<table><tr><th>Years<th>Days</tr><tr><td>10<td><p>20</p><p>more</p></td></tr></table><pre>a  b
 c</pre><p style="opacity:0.5">Pale</p>&copy; 2026</body></html>"""


def test_html(read) -> None:  # type: ignore[no-untyped-def]
    """What a browser shows is read, in order; scripts, hidden elements and comments are not."""
    parsed = read(PAGE, MediaType.HTML)
    assert parsed.title == "Leave policy"
    assert [(section.headings, section.text) for section in parsed.sections] == [
        (("Leave policy",), "Leave policy\n\nEvery employee\nhas 15 days."),
        (
            ("Leave policy", "结转"),
            "结转\n\n可以结转。\n\n- one\n- two\n\nYears | Days\n10 | 20 more\n\na  b\n c\n\nPale\n\n© 2026",
        ),
    ]


def test_html_tables(read) -> None:  # type: ignore[no-untyped-def]
    """A long table is a section with its header row, that of its head or one of `th`; a layout has no header."""
    rows = "".join(f"<tr><td>Office {number}<td>on the ground floor of the house" for number in range(20))
    page = (
        f"<h1>Offices</h1><p>Before.<table><thead><tr><td>Name<td>Place<tbody>{rows}</table>"
        f"<table><tr><th colspan=3>All offices<tr><th colspan=2>Town<th>Remark{rows}</table>"
        f"<table><tr><td>Home<td>About us{rows}</table>"
    )
    before, first, title, second, layout = read(page.encode(), MediaType.HTML).sections
    assert (before.text, title.text) == ("Offices\n\nBefore.", "All offices")
    assert (first.header, second.header, layout.header) == ("Name | Place", "Town |  | Remark", "")
    assert all(section.headings == ("Offices",) for section in (before, first, title, second, layout))
    assert first.text.startswith("Name | Place\nOffice 0 | on the")
    assert second.text.startswith("Town |  | Remark\nOffice 0 | on the")


@pytest.mark.parametrize(
    "hidden",
    [
        "<dialog>X</dialog>",
        "<noframes>X</noframes>",
        '<p style="position:absolute; left:-9999px">X</p>',
        '<p style="text-indent:-5000em">X</p>',
        '<p style="color:transparent">X</p>',
        '<p style="visibility: hidden">X</p>',
        '<div hidden="until-found"><p>X</div>',
        "<datalist><option>X</datalist>",
    ],
)
def test_html_hidden(hidden: str, read) -> None:  # type: ignore[no-untyped-def]
    """What a browser does not show is not read; what is hidden from screen readers only is."""
    page = f'<p>Before{hidden}<p aria-hidden="true">After</p><dialog open>Open</dialog>'
    assert read(page.encode(), MediaType.HTML).sections[0].text == "Before\n\nAfter\n\nOpen"


def test_seven_bit_encoding(read) -> None:  # type: ignore[no-untyped-def]
    """An encoding that looks like ASCII is told by the page's own word."""
    page = '<meta charset="iso-2022-jp"><p>休暇は十五日です。'.encode("iso-2022-jp")
    assert read(page, MediaType.HTML).sections[0].text == "休暇は十五日です。"


def test_html_encoding(read) -> None:  # type: ignore[no-untyped-def]
    """A page in a legacy encoding is read by what it declares."""
    page = f'<html><head><meta charset="gb2312"></head><body>{CHINESE}</body></html>'
    assert read(page.encode("gbk"), MediaType.HTML).sections[0].text == CHINESE


def test_deep_html(read) -> None:  # type: ignore[no-untyped-def]
    """Ten thousand nested elements are read as any others; where closing them would take for ever, they are refused."""
    page = "<div>" * 10_000 + "deep" + "</div>" * 10_000
    assert read(page, MediaType.HTML).sections[0].text == "deep"
    assert "deep" in read("<table><tr><td>" * 5_000 + "deep", MediaType.HTML).sections[0].text
    with pytest.raises(DocumentTooExpensive, match="lie within each other"):
        read("</b><table>x" * 40_000, MediaType.HTML)
