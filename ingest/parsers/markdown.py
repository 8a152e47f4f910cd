"""Markdown: headings become the path, marks of emphasis and links become plain text, code and tables stay.

Read by patterns over the whole text, not line by line: tens of megabytes a second. Each pattern is bounded, so that no
input makes it slow. What begins a line is looked for by the line break before it, which is found at once where `^` is
tried at every character; so every part of the text begins with one.
"""

from __future__ import annotations

import html
import re

from ingest.parsers.text import decode, read_bytes
from ingest.sections import HIDDEN_CHARACTERS, Limits, Parsed, SectionBuilder, Source, hides_characters, normalise

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.{0,20000}?\n)(?:---|\.\.\.)[ \t]*(?:\n|$)", re.S)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.{1,500}?)[\"']?[ \t]*$", re.M)
_FENCE = re.compile(r"\n[ ]{0,3}(`{3,}|~{3,})[^\n`]*(?=\n)")
_MARKED = r"[ ]{0,3}(?P<marks>#{1,6})[ \t]+(?P<title>[^\n]+)"
_UNDERLINED = r"(?P<underlined>(?![ \t]*(?:[-*+>|#]|\d+[.)]))[^\n|]{1,200})\n[ ]{0,3}(?P<line>=+|-{2,})[ \t]*$"
_LINE_BELOW = re.compile(r"\n[ ]{0,3}(?:=+|-{2,})[ \t]*$", re.M)
_HEADING = re.compile(rf"\n(?:{_MARKED}|{_UNDERLINED})", re.M)
_MARKED_HEADING = re.compile(rf"\n{_MARKED}")  # which do not need every line to be read
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_UNSEEN = re.compile(r"<(script|style)\b[^>]{0,1000}>.*?(?:</\1\s*>|\Z)", re.S | re.I)
_TABLE_RULE = re.compile(r"\n[ \t]*(?:\|[ \t]*)?:?-{2,}:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$", re.M)
_TABLE_ROW = re.compile(r"\n[ \t]*\|([^\n]*\|)[ \t]*$", re.M)
_CELL_BORDER = re.compile(r"[ \t]{0,50}(?<!\\)\|[ \t]{0,50}")
# What stands before a quotation, a line drawn across, the target of a link.
_LINE_MARK = re.compile(
    r"\n[ ]{0,3}(?:>[ \t]?|([-*_])(?:[ \t]{0,10}\1){2,}[ \t]*$|\[[^\]\n]{1,200}\]:[ \t]*\S[^\n]*)", re.M
)
# The first character is consumed before the alternatives, so that the search can skip to it.
_INLINE = re.compile(
    r"[\\`!\[<*_~](?:"
    r"(?<=\\)(?P<escaped>[!-/:-@\[-`{-~])"
    r"|(?<=`)(?P<tick>`?)(?P<code>[^`\n]{1,500})`(?P=tick)"
    r"|(?:(?<=\[)|(?<=!)\[)(?P<link>[^\[\]\n]{0,500})\]"
    r"(?:\([^()\n]{0,1000}(?:\([^()\n]{0,200}\)[^()\n]{0,200})?\)|\[[^\]\n]{0,200}\])"
    r"|(?<=<)(?:(?P<address>(?:https?://|mailto:)[^<>\s]{1,1000})>|(?P<tag>/?[A-Za-z][^<>\n]{0,300})>)"
    r"|(?P<mark>(?<=\*)\*|(?<=_)_|(?<=~)~)(?=\S)(?P<strong>[^\n]{1,300}?)(?<=\S)(?P=mark)(?P=mark)"
    r"|(?<=\*)(?<![\w*]\*)(?=[^\s*])(?P<stressed>[^*\n]{1,300})(?<=\S)\*(?![\w*])"
    r"|(?<=_)(?<!\w_)(?=[^\s_])(?P<slanted>[^_\n]{1,300})(?<=\S)_(?!\w)"
    r")"
)
# A single line break within a paragraph is a space; before a list item, a row, a quote or an indented block it stays.
_SOFT_BREAK = re.compile(r"\n(?<=[^\s|]\n)(?<!\\\n)(?=[^\s|>#=+*-])(?!\d{1,9}[.)][ \t])(?![^\n]{0,300}\|)")
_WIDE = re.compile(r" (?<=[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef] )(?=[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef])")


def parse_markdown(source: Source, limits: Limits) -> Parsed:
    """Sections under their `#` and underlined headings. Front matter only gives the title."""
    text, warnings = decode(read_bytes(source, limits))
    if hides_characters(text):
        warnings = (*warnings, HIDDEN_CHARACTERS)
    text = normalise(text)
    title = None
    front = _FRONT_MATTER.match(text)
    if front:
        found = _FRONT_TITLE.search(front[1])
        title = found[1].strip() if found else None
        text = text[front.end() :]
    text = "\n" + text
    builder = SectionBuilder(limits)
    at = 0
    while fence := _FENCE.search(text, at):
        _read_prose(text[at : fence.start()], builder)
        closing = re.compile(rf"\n[ ]{{0,3}}{re.escape(fence[1])}[`~]*[ \t]*$", re.M).search(text, fence.end())
        end = closing.start() if closing else len(text)
        builder.block(text[fence.end() : end].strip("\n"))
        at = closing.end() if closing else len(text)
    _read_prose(text[at:], builder)
    return Parsed(builder.sections(), title=title, warnings=warnings)


def _read_prose(text: str, builder: SectionBuilder) -> None:
    """Text without fenced code: split at headings, then made plain."""
    if "<" in text:
        text = _UNSEEN.sub("", _COMMENT.sub("", text))
    at = 0
    for match in (_HEADING if _LINE_BELOW.search(text) else _MARKED_HEADING).finditer(text):
        builder.block(_plain(text[at : match.start()]).strip("\n"))
        if match["marks"]:
            builder.heading(len(match["marks"]), _inline(_without_closing_marks(match["title"])))
        else:
            builder.heading(1 if match["line"].startswith("=") else 2, _inline(match["underlined"]))
        at = match.end()
    builder.block(_plain(text[at:]).strip("\n"))


def _without_closing_marks(title: str) -> str:
    title = title.rstrip()
    bare = title.rstrip("#")
    return bare if bare[-1:].isspace() else title


def _plain(text: str) -> str:
    """Paragraphs, lists and tables without their marks."""
    if not text or text.isspace():
        return ""
    text = _LINE_MARK.sub("\n", text)
    if "|" in text:
        text = _TABLE_ROW.sub(_read_row, _TABLE_RULE.sub("", text))
    text = _SOFT_BREAK.sub(" ", text)
    if not text.isascii():
        text = _WIDE.sub("", text)
    text = _inline(text)
    return html.unescape(text) if "&" in text else text


def _read_row(row: re.Match[str]) -> str:
    return "\n" + _CELL_BORDER.sub(" | ", row[1]).strip("| \t")


def _inline(text: str) -> str:
    return _INLINE.sub(_read_inline, text)


def _read_inline(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "tag":
        return "\n" if match["tag"].lower().startswith(("br", "/p", "/div", "/tr", "/li")) else ""
    if kind in ("escaped", "code", "address"):
        return match[kind]
    # Emphasis and links hold each other: what was unwrapped is shorter, so that this ends.
    return _inline(match[kind]) if kind else ""
