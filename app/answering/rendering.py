"""An answer as HTML that a page may show as it is: Markdown without anything that would reach beyond the service.

The text is a model's, which may have obeyed a document. So HTML, images and links of it stay the characters that they
are; the only links are those of footnotes, to what the answer cites. It is made from the whole text, in which what was
split over tokens is whole again. At the end nh3 drops every tag, attribute and address that is not among these few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from app.answering.citations import MARKER
from app.types import Citation

_TAGS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "strong", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["table", "strikethrough"])
    # A definition of a link would vanish from the text, and turn a marker elsewhere in it into that link.
    .disable(["link", "image", "autolink", "reference", "html_block", "html_inline"])
)


def render(text: str, citations: Sequence[Citation]) -> str:
    """HTML of an answer's text. A marker links to `/documents/{id}/content#page=N`; one without a citation is text."""
    addresses = {citation.marker: _address(citation) for citation in reversed(citations)}  # of each the first
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        if token.type == "inline":
            token.children = [part for child in token.children or () for part in _linked(child, addresses)]
    return nh3.clean(
        _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}),
        tags=_TAGS,
        attributes={"ol": {"start"}},
        tag_attribute_values={"a": {"href": set(addresses.values())}},
        url_schemes=set(),
    )


def _linked(token: Token, addresses: Mapping[int, str]) -> Iterator[Token]:
    """A token, its markers taken out of its text."""
    if token.type != "text":
        yield token
        return
    at = 0
    for match in MARKER.finditer(token.content):
        numbers = [int(number) for number in re.findall(r"\d+", match[1])]
        links = [f'<a href="{addresses[number]}">[{number}]</a>' for number in numbers if number in addresses]
        if links:
            yield Token("text", "", 0, content=token.content[at : match.start()])
            yield Token("html_inline", "", 0, content=f"<sup>{''.join(links)}</sup>")
            at = match.end()
    yield Token("text", "", 0, content=token.content[at:])


def _address(citation: Citation) -> str:
    page = f"#page={citation.page}" if citation.page is not None else ""
    return f"/documents/{quote(citation.document_id, safe='')}/content{page}"
